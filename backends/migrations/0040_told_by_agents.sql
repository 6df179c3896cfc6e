-- What an agent told of itself is replaced by what it tells next; what people noted stays.
alter table computer_annotation add column told_by_agent boolean not null default false;
