-- Who approved is told apart by who it is (src/approver.rs), and the name is shown only. What was approved under a name alone and
-- still waits has to be approved again: a name does not tell who it was.
alter table key_approval rename to key_approval_by_name;
create table key_approval (
    request_id bigint not null references key_request (id),
    identity text not null,
    admin text not null,
    days bigint not null,
    purpose text not null,
    at_ms bigint not null,
    primary key (request_id, identity)
);
insert into key_approval (request_id, identity, admin, days, purpose, at_ms)
    select a.request_id, 'name:' || a.admin, a.admin, a.days, a.purpose, a.at_ms
    from key_approval_by_name a join key_request r on r.id = a.request_id where r.state <> 'requested';
drop table key_approval_by_name;

alter table enforce_plan_approval rename to enforce_plan_approval_by_name;
create table enforce_plan_approval (
    plan_id bigint not null references enforce_plan (id),
    identity text not null,
    author text not null,
    at_ms bigint not null,
    primary key (plan_id, identity)
);
insert into enforce_plan_approval (plan_id, identity, author, at_ms)
    select a.plan_id, 'name:' || a.author, a.author, a.at_ms
    from enforce_plan_approval_by_name a join enforce_plan p on p.id = a.plan_id where p.state <> 'waiting';
drop table enforce_plan_approval_by_name;
