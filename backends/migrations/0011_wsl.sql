-- Windows machines with WSL instances, and what they are told to do.

create table wsl_host (
    uid uuid primary key default gen_random_uuid(),
    account_id bigint not null references account,
    -- False while an administrator has not decided; nothing is ordered from it then.
    accepted boolean not null,
    hostname text not null,
    default_instance_id text,
    registered_at timestamptz not null default now(),
    -- Null until it came with the identity it was given.
    last_info_at timestamptz,
    -- Its stream, and the worker that holds it; null while it has none.
    stream uuid,
    worker text,
    connected_at timestamptz,
    disconnected_at timestamptz
);
create index wsl_host_by_name on wsl_host (account_id, hostname);

create table wsl_instance (
    host_uid uuid not null references wsl_host on delete cascade,
    id text not null,
    name text not null,
    version_id text not null,
    running boolean not null,
    -- Does the agent look after it?
    managed boolean not null,
    -- Since when all of this is so.
    since timestamptz not null default now(),
    primary key (host_uid, id)
);

create table wsl_command (
    request_id uuid primary key default gen_random_uuid(),
    host_uid uuid not null references wsl_host on delete cascade,
    -- In which order they were given.
    number bigint generated always as identity,
    kind text not null
        check (kind in ('start', 'stop', 'install', 'uninstall', 'set_default', 'shutdown_host')),
    -- Of the instance; empty for the host itself.
    instance_id text not null,
    cloudinit text,
    rootfs_url text,
    state text not null default 'waiting'
        check (state in ('waiting', 'sent', 'queued', 'in_progress', 'succeeded', 'failed')),
    error text not null default '',
    created_at timestamptz not null default now(),
    sent_at timestamptz,
    changed_at timestamptz not null default now()
);
create index wsl_command_of_host on wsl_command (host_uid, number desc);
-- An instance that registers names its host.
create index computer_of_host on computer (hostagent_uid) where hostagent_uid is not null;
create index wsl_command_waiting on wsl_command (host_uid, number) where state in ('waiting', 'sent');
