-- The WSL instance of its host that a computer is: the one that was installed by the order it named when it registered, else
-- the one whose name was its title then. Kept, because people may give it another title.
alter table computer add column wsl_instance_id text;
update computer set wsl_instance_id = coalesce(
    (select instance_id from wsl_command
     where host_uid::text = hostagent_uid and request_id::text = installation_request_id
         and kind = 'install'),
    title)
where hostagent_uid is not null;
