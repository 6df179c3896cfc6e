-- More accounts than one, guesses at anybody's password, and deliveries that are spread.

-- Wrong passwords by e-mail address, whether somebody has it or not, so that no answer tells which. Of the address only the
-- SHA-256 of its lower case is kept, and that not for long.
create table sign_in_try (
    address bytea primary key check (octet_length(address) = 32),
    wrong integer not null,
    wrong_at timestamptz not null default now()
);
create index sign_in_try_at on sign_in_try (wrong_at);
alter table person drop column wrong_passwords, drop column wrong_at;

-- Of a group: minutes over which the deliveries of its children are spread.
alter table activity add column deliver_delay_window integer not null default 0 check (deliver_delay_window >= 0);
