-- What computers tell about themselves.

create table network_interface (
    computer_id bigint not null references computer on delete cascade,
    name text not null,
    ip_address inet,
    mac_address text not null,
    broadcast_address inet,
    netmask inet,
    -- The kernel's interface flags.
    flags integer not null,
    -- Mbit/s; null: not known.
    speed integer,
    full_duplex boolean,
    -- Since when all of this is so.
    since timestamptz not null,
    primary key (computer_id, name)
);

-- What an interface was before it changed or went away.
create table network_interface_history (
    id bigint generated always as identity primary key,
    computer_id bigint not null references computer on delete cascade,
    name text not null,
    ip_address inet,
    mac_address text not null,
    broadcast_address inet,
    netmask inet,
    flags integer not null,
    speed integer,
    full_duplex boolean,
    since timestamptz not null,
    until timestamptz not null,
    gone boolean not null
);
create index network_interface_history_of on network_interface_history (computer_id, until desc);

-- Bytes of one step of five minutes, which ends at `at`.
create table network_traffic (
    computer_id bigint not null references computer on delete cascade,
    interface text not null,
    at timestamptz not null,
    received bigint not null,
    sent bigint not null,
    primary key (computer_id, interface, at)
);

create table memory_sample (
    computer_id bigint not null references computer on delete cascade,
    at timestamptz not null,
    free_mib bigint not null,
    free_swap_mib bigint not null,
    primary key (computer_id, at)
);

create table load_sample (
    computer_id bigint not null references computer on delete cascade,
    at timestamptz not null,
    load double precision not null,
    primary key (computer_id, at)
);

create table processor (
    computer_id bigint not null references computer on delete cascade,
    number bigint not null,
    model text not null,
    vendor text,
    cache_kib bigint,
    primary key (computer_id, number)
);

create table mount (
    computer_id bigint not null references computer on delete cascade,
    mount_point text not null,
    device text not null,
    filesystem text not null,
    total_mib bigint not null,
    reported_at timestamptz not null,
    primary key (computer_id, mount_point)
);

create table free_space_sample (
    computer_id bigint not null references computer on delete cascade,
    mount_point text not null,
    at timestamptz not null,
    free_mib bigint not null,
    primary key (computer_id, mount_point, at)
);

create table process (
    computer_id bigint not null references computer on delete cascade,
    pid bigint not null,
    name text not null,
    state text not null,
    uid bigint not null,
    gid bigint not null,
    started_at timestamptz not null,
    vm_kib bigint,
    percent_cpu double precision,
    primary key (computer_id, pid)
);

create table system_user (
    computer_id bigint not null references computer on delete cascade,
    username text not null,
    uid bigint not null,
    name text,
    enabled boolean not null,
    location text,
    home_phone text,
    work_phone text,
    primary_group text,
    primary key (computer_id, username)
);

create table system_group (
    computer_id bigint not null references computer on delete cascade,
    name text not null,
    gid bigint not null,
    primary key (computer_id, name)
);

create table system_group_member (
    computer_id bigint not null references computer on delete cascade,
    group_name text not null,
    username text not null,
    primary key (computer_id, group_name, username)
);

create table reboot_package (
    computer_id bigint not null references computer on delete cascade,
    name text not null,
    primary key (computer_id, name)
);
