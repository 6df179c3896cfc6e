-- Who is registered, and what has been said to whom.

-- The identity of this database: agents notice when it changes.
create table server_identity (
    only_one boolean primary key default true check (only_one),
    uuid uuid not null default gen_random_uuid()
);
insert into server_identity default values;

create table account (
    id bigint generated always as identity primary key,
    name text not null unique,
    title text not null,
    -- Without a key every registration waits for an administrator.
    registration_key text check (registration_key <> ''),
    auto_accept boolean not null default true,
    pending_max integer not null default 1000 check (pending_max > 0)
);
insert into account (name, title) values ('standalone', 'Standalone');

create table computer (
    id bigint generated always as identity primary key,
    account_id bigint not null references account,
    accepted boolean not null,
    -- The secret of the exchange.
    secure_id uuid not null unique default gen_random_uuid(),
    -- Travels in the clear in pings: random, and good for nothing else. 48 bits.
    insecure_id bigint not null unique default ('x' || right(gen_random_uuid()::text, 12))::bit(48)::bigint,
    title text not null,
    hostname text not null,
    machine_id text,
    access_group text not null default '',
    vm_info text not null default '',
    container_info text not null default '',
    ubuntu_pro_info text,
    -- bpickle, as it came.
    juju_info bytea,
    hostagent_uid text,
    installation_request_id text,
    clone_of bigint references computer on delete set null,
    registered_at timestamptz not null default now(),
    accepted_at timestamptz,
    total_memory_mib bigint,
    total_swap_mib bigint,
    distributor text,
    distribution text,
    release text,
    code_name text,
    reboot_required boolean,
    hardware_info text
);
-- A registration that is repeated is found by what it says.
create index computer_fingerprint on computer (account_id, title, hostname);
create index computer_pending on computer (account_id) where not accepted;

create table computer_tag (
    computer_id bigint not null references computer on delete cascade,
    tag text not null,
    primary key (computer_id, tag)
);
create index computer_tag_by_tag on computer_tag (tag);

create table computer_annotation (
    computer_id bigint not null references computer on delete cascade,
    name text not null,
    value text not null,
    primary key (computer_id, name)
);

-- Apart from the computer: written by other workers, and often.
create table computer_ping (
    computer_id bigint primary key references computer on delete cascade,
    last_at timestamptz not null
);

-- Both ends of the two streams of messages.
create table exchange (
    computer_id bigint primary key references computer on delete cascade,
    -- The number of the agent's next message; null until the agent has said where it stands.
    expected bigint,
    -- The number of our next message that was not handed out yet.
    next_out bigint not null default 0,
    token uuid,
    previous_token uuid,
    -- What the agent understands; null until it was told.
    client_types text[],
    client_types_digest bytea,
    client_api text,
    last_at timestamptz,
    refused_messages bigint not null default 0
);

create table activity (
    id bigint generated always as identity primary key,
    computer_id bigint not null references computer on delete cascade,
    -- The type of the message that carries it out.
    type text not null,
    summary text not null,
    -- The message in bpickle, without its type and operation id.
    fields bytea not null,
    status text not null default 'undelivered'
        check (status in ('undelivered', 'delivered', 'succeeded', 'failed', 'canceled')),
    created_at timestamptz not null default now(),
    deliver_after timestamptz not null default now(),
    delivered_at timestamptz,
    completed_at timestamptz,
    result_code bigint,
    result_text text
);
create index activity_undelivered on activity (computer_id, id) where status = 'undelivered';
create index activity_of_computer on activity (computer_id, id desc);

-- What was handed out and not acknowledged yet, under its number.
create table outgoing_message (
    computer_id bigint not null references computer on delete cascade,
    number bigint not null,
    type text not null,
    -- The whole message in bpickle.
    body bytea not null,
    activity_id bigint references activity on delete set null,
    primary key (computer_id, number)
);

create table attachment (
    id bigint generated always as identity primary key,
    name text not null,
    content bytea not null
);
create table activity_attachment (
    activity_id bigint not null references activity on delete cascade,
    attachment_id bigint not null references attachment on delete cascade,
    primary key (attachment_id, activity_id)
);
