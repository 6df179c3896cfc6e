-- What happened and is not told over the broker yet, stored with what happened, in its transaction.
create table outbox (
    id bigint generated always as identity primary key,
    topic text not null,
    -- About whom: the number of a computer, the name of a host; empty where nobody is named.
    subject text not null,
    created_at timestamptz not null default now()
);

-- When a relay last had both the database and the broker. Without one nothing is put into the outbox, which
-- nobody would empty.
create table outbox_relay (
    only_one boolean primary key default true check (only_one),
    seen_at timestamptz not null
);
insert into outbox_relay (seen_at) values ('-infinity');
