-- Why an account is treated as it is, and what was done about it.

-- What is known of a payer between two runs of enforcement.
create table watch (
    payer_id bigint not null primary key references payer (id),
    over_since_ms bigint,
    changed_ms bigint not null
);

create table decision (
    id integer not null primary key,
    run_id bigint not null,
    payer_id bigint not null references payer (id),
    account_id bigint not null references account (id),
    -- keep, warn, lock, restore, wait
    outcome text not null,
    rung text not null,
    reason text not null,
    sentence text not null,
    figures text not null,
    dry_run bigint not null,
    decided_ms bigint not null
);
create index decision_by_account on decision (account_id, id);
create index decision_by_run on decision (run_id);

create table notice (
    id integer not null primary key,
    payer_id bigint not null references payer (id),
    account_id bigint not null references account (id),
    epoch_id bigint not null,
    event text not null,
    sentence text not null,
    -- The date a warning names, if it names one.
    acts_at_ms bigint,
    dry_run bigint not null,
    recorded_ms bigint not null,
    seen_ms bigint,
    unique (account_id, epoch_id, event, dry_run)
);

create table hold (
    id integer not null primary key,
    account_id bigint not null references account (id),
    -- billing, abuse, admin, tenant, before
    owner text not null,
    rung text not null,
    reason text not null,
    intent_id text,
    placed_by text not null,
    placed_ms bigint not null,
    lifted_by text,
    lifted_ms bigint
);
create index hold_by_account on hold (account_id);
-- An account has one standing hold of each owner.
create unique index hold_one_of_each on hold (account_id, owner) where lifted_ms is null;

create table intent (
    -- A UUID: the job id that CloudStack is given is made from it and the attempt.
    id text not null primary key,
    decision_id bigint not null references decision (id),
    run_id bigint not null,
    account_id bigint not null references account (id),
    -- lock, enable
    action text not null,
    -- open, done, failed, abandoned
    state text not null,
    attempt bigint not null,
    fence bigint not null,
    job_id text,
    state_before text,
    state_after text,
    outcome text,
    created_ms bigint not null,
    claimed_ms bigint,
    finished_ms bigint
);
-- One open intent an account: two actions never race.
create unique index intent_one_open on intent (account_id) where state = 'open';
create index intent_by_run on intent (run_id);
create index intent_by_time on intent (created_ms);
