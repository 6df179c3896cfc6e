-- Who may ask and change what, the scripts they run, and where secrets are kept that no Vault keeps.

create table person (
    id bigint generated always as identity primary key,
    account_id bigint not null references account,
    email text not null check (email <> ''),
    name text not null,
    -- Argon2id, in the form of password hashes; null: no password opens.
    password_hash text,
    role text not null check (role in ('administrator', 'operator', 'viewer')),
    disabled boolean not null default false,
    created_at timestamptz not null default now(),
    last_login_at timestamptz,
    -- Tokens made before this are void.
    tokens_after timestamptz not null default '-infinity',
    -- Wrong passwords since the last right one, and when the last of them was.
    wrong_passwords integer not null default 0,
    wrong_at timestamptz
);
create unique index person_email on person (lower(email));

alter table account add column tokens_after timestamptz not null default '-infinity';
alter table server_identity add column tokens_after timestamptz not null default '-infinity';

-- The secret half is kept with the other secrets.
create table api_credential (
    access_key text primary key,
    person_id bigint not null references person on delete cascade,
    title text not null default '',
    created_at timestamptz not null default now()
);
create index api_credential_of on api_credential (person_id);

-- Signed calls of the last minutes: each counts once.
create table api_call_seen (
    signature bytea primary key,
    until timestamptz not null
);
create index api_call_seen_until on api_call_seen (until);

-- Of browsers. The cookie is kept as its SHA-256 alone.
create table web_session (
    digest bytea primary key,
    person_id bigint not null references person on delete cascade,
    form_token text not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);
create index web_session_of on web_session (person_id);
create index web_session_expires on web_session (expires_at);

-- AES-256-GCM under a key that is not in the database.
create table stored_secret (
    name text primary key,
    sealed bytea not null,
    changed_at timestamptz not null default now()
);

create table script (
    id bigint generated always as identity primary key,
    account_id bigint not null references account,
    title text not null check (title <> ''),
    interpreter text not null check (interpreter <> ''),
    code text not null,
    username text not null,
    -- Seconds.
    time_limit integer not null check (time_limit > 0),
    access_group text not null default '',
    creator_id bigint references person on delete set null,
    created_at timestamptz not null default now(),
    modified_at timestamptz not null default now(),
    unique (account_id, title)
);
create table script_attachment (
    script_id bigint not null references script on delete cascade,
    name text not null,
    attachment_id bigint not null references attachment,
    primary key (script_id, name)
);

alter table computer add column comment text not null default '';

-- An order for several computers is a parent without a computer, and a child for each.
alter table activity alter column computer_id drop not null;
alter table activity add column parent_id bigint references activity on delete cascade;
alter table activity add column creator_id bigint references person on delete set null;
alter table activity add column modified_at timestamptz not null default now();
alter table activity drop constraint activity_status_check;
alter table activity add constraint activity_status_check check (
    status in ('group', 'undelivered', 'delivered', 'succeeded', 'failed', 'canceled'));
alter table activity add constraint activity_group_check
    check ((status = 'group') = (computer_id is null));
create index activity_parent on activity (parent_id) where parent_id is not null;

create function activity_modified() returns trigger language plpgsql as $$
begin
    new.modified_at := now();
    return new;
end $$;
create trigger activity_modified before update on activity
    for each row execute function activity_modified();
