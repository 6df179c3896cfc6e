-- Repositories of packages: what was uploaded, and where it is offered.

-- What an upload goes into; apt knows it as the suite `series-name`.
create table repository_pocket (
    id bigint generated always as identity primary key,
    account_id bigint not null references account,
    distribution text not null,
    series text not null,
    name text not null,
    architectures text[] not null check (cardinality(architectures) > 0),
    -- Without a key that could have signed it, may an upload come in?
    unsigned_uploads boolean not null default false,
    -- Grows with every change; the folder of the suite tells which one it shows.
    revision bigint not null default 0,
    unique (account_id, distribution, series, name)
);

-- Two pockets of one suite would write over each other.
create unique index repository_pocket_suite on repository_pocket (account_id, distribution, (series || '-' || name));

-- Who may sign uploads.
create table repository_uploader (
    pocket_id bigint not null references repository_pocket on delete cascade,
    fingerprint text not null,
    -- The certificate, ASCII-armored.
    certificate text not null,
    primary key (pocket_id, fingerprint)
);

-- A package in the pool of a distribution, which its pockets share. Never changed: another content needs another version.
create table repository_file (
    id bigint generated always as identity primary key,
    account_id bigint not null references account,
    distribution text not null,
    -- Below the distribution's folder: pool/main/h/hello/hello_1_all.deb
    path text not null,
    name text not null,
    size bigint not null,
    md5 bytea not null,
    sha1 bytea not null,
    sha256 bytea not null,
    package text not null,
    version text not null,
    architecture text not null,
    component text not null,
    -- The fields of its control file, as an index of packages shows them.
    control text not null,
    unique (account_id, distribution, path)
);
create index repository_file_by_name on repository_file (account_id, distribution, name);

create table repository_upload (
    id bigint generated always as identity primary key,
    pocket_id bigint not null references repository_pocket on delete cascade,
    changes text not null,
    sha256 bytea not null,
    -- The fingerprint of the key that signed it.
    signer text,
    imported_at timestamptz not null default now(),
    unique (pocket_id, sha256)
);

-- Which packages a pocket offers.
create table repository_content (
    pocket_id bigint not null references repository_pocket on delete cascade,
    file_id bigint not null references repository_file,
    upload_id bigint not null references repository_upload,
    primary key (pocket_id, file_id)
);
