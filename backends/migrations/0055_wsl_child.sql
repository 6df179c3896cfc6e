-- The WSL instance of its host that a computer is: the one that was installed by the order it named when it registered, else
-- the one whose name was its title then. Kept, because people may give it another title.
alter table computer add column wsl_instance_id text;
-- Hosts are named in one way, however an agent wrote it.
update computer set hostagent_uid = lower(hostagent_uid), wsl_instance_id = title where hostagent_uid is not null;
update computer set wsl_instance_id = instance_id from wsl_command
where kind = 'install' and host_uid::text = hostagent_uid and request_id::text = installation_request_id;
