-- Enforcement as administrators run it: plans that wait for an approval, what the fuse counts, proposals to delete.

create table enforce_plan (
    id integer not null primary key,
    -- command, fuse
    cause text not null,
    author text not null,
    why text not null,
    -- waiting, approved, done, dropped, expired, overtaken
    state text not null,
    -- Accounts, percent of all, machines, and what the fuse allows, as JSON.
    figures text not null,
    -- The run that made it, and the one that carried it out.
    run_id bigint not null,
    carried_run_id bigint,
    created_ms bigint not null,
    expires_ms bigint not null,
    ended_by text,
    ended_ms bigint
);
create index enforce_plan_open on enforce_plan (id) where state in ('waiting', 'approved');

create table enforce_plan_line (
    plan_id bigint not null references enforce_plan (id),
    account_id bigint not null references account (id),
    rung text not null,
    reason text not null,
    sentence text not null,
    -- The figures, the machines and what else is to be known, as JSON.
    figures text not null,
    machines text not null,
    notes text not null,
    to_avoid text not null,
    -- waiting, done, started, skipped, failed
    state text not null,
    answer text,
    primary key (plan_id, account_id)
);

create table enforce_plan_approval (
    plan_id bigint not null references enforce_plan (id),
    author text not null,
    at_ms bigint not null,
    primary key (plan_id, author)
);

-- What a run took a step down, written before the first call: what the fuse counts for a day.
create table fuse_use (
    run_id bigint not null,
    account_id bigint not null references account (id),
    rung text not null,
    -- Running machines of a lock or stop.
    machines bigint not null,
    -- begun, done, not
    state text not null,
    at_ms bigint not null,
    primary key (run_id, account_id)
);
create index fuse_use_by_time on fuse_use (at_ms);

-- What the ladder proposes at its end. bursar deletes nothing: a person says yes or no, and does it in CloudStack.
create table deletion_proposal (
    id integer not null primary key,
    account_id bigint not null references account (id),
    payer_id bigint not null references payer (id),
    sentence text not null,
    figures text not null,
    -- Since when the payer has been over its credit: the same time over it is proposed once.
    over_since_ms bigint not null,
    -- open, confirmed, refused, lapsed
    state text not null,
    proposed_ms bigint not null,
    decided_by text,
    words text,
    decided_ms bigint,
    unique (account_id, over_since_ms)
);
create index deletion_proposal_open on deletion_proposal (account_id) where state = 'open';
