-- Which packages are there, and what computers have of them.

create table package (
    id bigint generated always as identity primary key,
    -- What agents know it by: SHA-1 over kind, name, version and relations.
    hash bytea not null unique check (octet_length(hash) = 20),
    kind bigint not null,
    name text not null,
    version text not null,
    section text not null,
    summary text not null,
    description text not null,
    -- Bytes; null: not known.
    size bigint,
    installed_size bigint,
    -- Who wrote this row: an index in memory learns by it what is new.
    written_by xid8 not null default pg_current_xact_id()
);
create index package_name on package (name collate "C", version collate "C");
create index package_written on package (written_by);

-- What a package provides, needs, replaces or stands against, in the agents' numbers.
create table package_relation (
    package_id bigint not null references package on delete cascade,
    kind bigint not null,
    expression text not null
);
create index package_relation_of on package_relation (package_id);

-- The packages of a computer as sets of their numbers. Agents tell spans of numbers, and computers of one release have
-- nearly the same: a row per computer and package would be a thousand times as much.
create table computer_packages (
    computer_id bigint primary key references computer on delete cascade,
    installed int8multirange not null default '{}',
    available int8multirange not null default '{}',
    -- Available and newer than what is installed.
    upgrades int8multirange not null default '{}',
    held int8multirange not null default '{}',
    autoremovable int8multirange not null default '{}',
    security int8multirange not null default '{}',
    reported_at timestamptz not null,
    written_by xid8 not null default pg_current_xact_id()
);
create index computer_packages_written on computer_packages (written_by);

-- How the agent's own look at its packages ended, last time.
create table package_report (
    computer_id bigint primary key references computer on delete cascade,
    code bigint not null,
    error text not null,
    reported_at timestamptz not null
);

-- What an order to change packages would have needed beyond what it allowed.
create table change_packages_result (
    activity_id bigint primary key references activity on delete cascade,
    must_install bigint[] not null,
    must_remove bigint[] not null
);
