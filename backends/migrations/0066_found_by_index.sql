-- What was looked for among all rows there are.

-- With each computer that is removed: its clones, and what names its activities.
create index computer_clones on computer (clone_of) where clone_of is not null;
create index outgoing_message_of on outgoing_message (activity_id) where activity_id is not null;
create index activity_attachment_of on activity_attachment (activity_id);
-- Every page says how many computers there are.
create index computer_accepted on computer (account_id, accepted);
