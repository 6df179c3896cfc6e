-- To clients of the API a WSL host is a computer as well: it has a number that no computer has, of the same sequence.
alter table wsl_host add column number bigint not null default nextval('computer_id_seq');
alter table wsl_host add constraint wsl_host_number unique (number);
