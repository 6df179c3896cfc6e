-- To clients of the API a WSL host is a computer as well: it has a number that no computer has.
alter table wsl_host
    add column number bigint not null default nextval(pg_get_serial_sequence('computer', 'id')::regclass);
alter table wsl_host add constraint wsl_host_number unique (number);
