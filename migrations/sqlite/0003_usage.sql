-- Usage as CloudStack reported it: each distinct row once, with how often it came and what became of it.

-- Resources and offerings are numbered, which keeps the record rows small.
create table resource (
    id integer not null primary key,
    cloud_id text not null unique,
    name text not null
);

create table usage_record (
    -- Four bytes of the hour, twelve of the hash: inserts stay local (storage notes).
    key blob not null primary key,
    account_id bigint not null,
    project_id bigint,
    usage_type bigint not null,
    resource_id bigint not null,
    offering_id bigint,
    start_ms bigint not null,
    end_ms bigint not null,
    -- Millionths of an hour where CloudStack reports hours; whole bytes or operations otherwise.
    quantity bigint not null,
    size_bytes bigint,
    -- How many raw rows of CloudStack this one stands for.
    seen bigint not null,
    -- 0 current, 1 superseded by a newer emission, 2 part window inside a charged span, 3 quarantined.
    standing bigint not null,
    run_id bigint not null
);
create index usage_record_by_account on usage_record (account_id, start_ms);
create index usage_record_by_start on usage_record (start_ms);

-- Rows that could not be charged as they are, with what CloudStack said and why they wait.
create table quarantine (
    id integer not null primary key,
    key blob not null unique,
    account_id bigint,
    usage_type bigint,
    day bigint not null,
    reason text not null,
    raw text not null,
    seen bigint not null,
    run_id bigint not null,
    created_ms bigint not null
);
create index quarantine_by_day on quarantine (day);

-- How many raw rows of each start day are stored: late records are found by counting.
create table usage_day (
    day bigint not null primary key,
    raw_count bigint not null,
    checked_ms bigint not null
);
