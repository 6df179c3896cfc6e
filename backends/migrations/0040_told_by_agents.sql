-- What an agent told of itself is replaced by what it tells next; what people note stays. Of what there is nobody knows who said
-- it; agents replaced all of it before.
alter table computer_annotation add column told_by_agent boolean not null default false;
update computer_annotation set told_by_agent = true;
