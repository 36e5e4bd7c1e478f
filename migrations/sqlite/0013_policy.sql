-- The ladder with its rungs, classes, overrides and exemptions.

-- Since when each rule of the ladder has been reached by a payer: what "days overdue" counts from.
create table rung_watch (
    payer_id bigint not null references payer (id),
    -- restrict, lock, stop
    rung text not null,
    since_ms bigint not null,
    primary key (payer_id, rung)
);
-- Until now there was one rule, 100 percent, and it is the default of all three.
insert into rung_watch (payer_id, rung, since_ms)
    select payer_id, 'restrict', over_since_ms from watch where over_since_ms is not null;
insert into rung_watch (payer_id, rung, since_ms)
    select payer_id, 'lock', over_since_ms from watch where over_since_ms is not null;
insert into rung_watch (payer_id, rung, since_ms)
    select payer_id, 'stop', over_since_ms from watch where over_since_ms is not null;
drop table watch;
update notice set event = 'warning-lock-' || substr(event, 14) where event like 'lock-warning-%';

-- Which rungs are armed where. The empty path is the whole cloud; a domain covers everything below it.
create table arming (
    -- notify, restrict, lock, stop
    rung text not null,
    domain_path text not null,
    armed_by text not null,
    armed_ms bigint not null,
    primary key (rung, domain_path)
);
-- The one switch there was meant notices and locks.
insert into arming (rung, domain_path, armed_by, armed_ms)
    select 'notify', '', 'the former switch', updated_ms from setting where key = 'enforce.armed' and value = '1';
insert into arming (rung, domain_path, armed_by, armed_ms)
    select 'lock', '', 'the former switch', updated_ms from setting where key = 'enforce.armed' and value = '1';
delete from setting where key = 'enforce.armed';

-- What differs from the policy for one payer. A later word replaces an earlier one; the audit trail remembers.
create table policy_override (
    payer_id bigint not null references payer (id),
    key text not null,
    value text not null,
    author text not null,
    reason text not null,
    -- Null: until it is taken back.
    until_ms bigint,
    set_ms bigint not null,
    primary key (payer_id, key)
);

-- "Leave it alone until Friday": of a payer with all its accounts, or of one account.
create table exemption (
    id integer not null primary key,
    payer_id bigint not null references payer (id),
    -- Null: every account of the payer.
    account_id bigint references account (id),
    until_ms bigint not null,
    -- 1: notices are held back too.
    no_notices bigint not null,
    author text not null,
    reason text not null,
    made_ms bigint not null,
    ended_by text,
    ended_ms bigint
);
create index exemption_standing on exemption (payer_id) where ended_ms is null;

-- Since when the hold has stood on its present rung. Null: since it was placed.
alter table hold add column rung_ms bigint;
create index hold_lifted on hold (account_id, lifted_ms) where owner = 'billing' and lifted_ms is not null;
create index notice_by_payer on notice (payer_id, event);

-- Warnings that stand: the rule they warn of has been reached since then without a break, and no suspension was lifted meanwhile.
create view standing_warning as
    select n.id as notice_id, n.account_id
    from notice n
    join rung_watch w on w.payer_id = n.payer_id
    left join (
        select account_id, max(lifted_ms) as lifted_ms from hold where owner = 'billing' group by account_id
    ) l on l.account_id = n.account_id
    where n.event = 'warning-' || w.rung || '-'
        || cast((case when l.lifted_ms > w.since_ms then l.lifted_ms else w.since_ms end) / 1000 as text);
