-- What acting takes: each call to CloudStack, and everything that a suspension changed and a restore has to bring back.

-- restrict, lock, stop: what the intent leads to. Null for what restores.
alter table intent add column rung text;
-- Why, where it is not the decision: an administrator's undo, leave.
alter table intent add column cause text;

-- One row a call that changes something in CloudStack, written before the call under the fence.
create table intent_call (
    id integer not null primary key,
    intent_id text not null references intent (id),
    -- From 1 within the intent; the job id that CloudStack is given is made from both.
    number bigint not null,
    command text not null,
    target text not null,
    job_id text not null,
    fence bigint not null,
    -- open, done, failed, lost
    state text not null,
    before_state text,
    answer text,
    claimed_ms bigint not null,
    ended_ms bigint,
    unique (intent_id, number)
);
create index intent_call_open on intent_call (intent_id) where state = 'open';

-- A resource limit that a restriction lowers. Row by row it is set and put back, or left where somebody else changed it.
create table limit_change (
    id integer not null primary key,
    account_id bigint not null references account (id),
    -- The project's id in CloudStack; empty for the account's own limit.
    project_id text not null,
    resource_type bigint not null,
    type_name text not null,
    before_max bigint not null,
    set_max bigint not null,
    intent_id text not null references intent (id),
    -- noted, set, restored, left, gone
    state text not null,
    outcome text,
    noted_ms bigint not null,
    settled_ms bigint
);
create unique index limit_change_standing on limit_change (account_id, project_id, resource_type) where settled_ms is null;

-- A machine that ran when its account was stopped.
create table machine_note (
    id integer not null primary key,
    account_id bigint not null references account (id),
    project_id text not null,
    vm_id text not null,
    name text not null,
    -- The order in which machines are started again.
    position bigint not null,
    intent_id text not null references intent (id),
    -- noted, stopped, running, gone, moved, left, failed
    state text not null,
    starts bigint not null default 0,
    outcome text,
    noted_ms bigint not null,
    settled_ms bigint
);
create unique index machine_note_standing on machine_note (account_id, vm_id) where settled_ms is null;

-- A project that was suspended with its account.
create table project_note (
    id integer not null primary key,
    account_id bigint not null references account (id),
    project_id text not null,
    name text not null,
    intent_id text not null references intent (id),
    -- noted, suspended, activated, left, gone
    state text not null,
    outcome text,
    noted_ms bigint not null,
    settled_ms bigint
);
create unique index project_note_standing on project_note (account_id, project_id) where settled_ms is null;

-- What a former release began and did not end goes on as a call of its intent.
insert into intent_call (intent_id, number, command, target, job_id, fence, state, before_state, claimed_ms)
    select intent.id, intent.attempt, case intent.action when 'lock' then 'disableAccount' else 'enableAccount' end,
        account.cloud_id, intent.job_id, intent.fence, 'open', intent.state_before, coalesce(intent.claimed_ms, intent.created_ms)
    from intent join account on account.id = intent.account_id
    where intent.state = 'open' and intent.attempt > 0 and intent.job_id is not null;
update intent set action = 'restore' where action = 'enable';
update intent set rung = 'lock' where action = 'lock';
