-- Agents tell a user's primary group by its number; those of before told its name.
alter table system_user add column primary_gid bigint;
