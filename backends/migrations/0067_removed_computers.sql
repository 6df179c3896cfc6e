-- A computer measures half a million rows a year, which nothing prunes. To delete them with it is more than one statement may take,
-- so they stay behind when it goes, and are deleted by and by. Whoever writes them holds the row of their computer.
alter table network_interface_history drop constraint network_interface_history_computer_id_fkey;
alter table network_traffic drop constraint network_traffic_computer_id_fkey;
alter table memory_sample drop constraint memory_sample_computer_id_fkey;
alter table load_sample drop constraint load_sample_computer_id_fkey;
alter table free_space_sample drop constraint free_space_sample_computer_id_fkey;

-- Of whom such rows may be left. No computer gets a number that another had.
create table removed_computer (
    id bigint primary key,
    removed_at timestamptz not null default now()
);

-- However a computer is deleted: also by hand, and by a program of before.
create function computer_removed() returns trigger language plpgsql as $$
begin
    insert into removed_computer (id) select id from gone;
    return null;
end $$;
create trigger computer_removed after delete on computer
    referencing old table as gone for each statement execute function computer_removed();
