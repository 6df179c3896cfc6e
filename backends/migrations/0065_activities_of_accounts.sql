-- Activities are listed by account, and there are many of them. What an order says is kept once.

alter table activity add column account_id bigint;
-- Nobody changed these activities.
alter table activity disable trigger activity_modified;
update activity set account_id = computer.account_id from computer where computer.id = computer_id;
-- A group is its orderer's.
update activity set account_id = person.account_id from person where person.id = creator_id and activity.account_id is null;
update activity set account_id = child.account_id from activity child
where child.parent_id = activity.id and activity.account_id is null;
-- Of nobody who is known, for nobody who is left: no account could see it.
delete from activity where account_id is null;
alter table activity enable trigger activity_modified;
alter table activity alter column account_id set not null;
alter table activity add constraint activity_account_id_fkey foreign key (account_id) references account;

-- An order that is written by hand may leave the account out: it is its computer's, or that of who orders.
create function activity_account() returns trigger language plpgsql as $$
begin
    new.account_id := coalesce(
        (select account_id from computer where id = new.computer_id),
        (select account_id from person where id = new.creator_id));
    return new;
end $$;
create trigger activity_account before insert on activity
    for each row when (new.account_id is null) execute function activity_account();

create index activity_of_account on activity (account_id, id desc);
-- In a state; groups are one.
create index activity_of_account_in on activity (account_id, status, id desc);
-- What was ever said: few things, many times. No more of it than a row of an index takes.
create index activity_of_account_said on activity (account_id, left(summary, 200), id desc);
drop index activity_parent;
create index activity_of_group on activity (parent_id, id desc) where parent_id is not null;
create index activity_of_group_in on activity (parent_id, status) where parent_id is not null;

-- Null: its group's. A script may be long, and its computers many.
alter table activity alter column fields drop not null;
alter table activity add constraint activity_fields_check check (fields is not null or parent_id is not null);
