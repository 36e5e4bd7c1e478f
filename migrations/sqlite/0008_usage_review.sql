-- Emissions, corrections and quarantine as things that a person can settle, and what a price may be narrowed by.

-- What records share besides their offering: each distinct set once, so that the record rows stay small.
create table usage_attributes (
    id integer not null primary key,
    -- Sixteen bytes of a hash over all of it.
    digest blob not null unique,
    zone_id text,
    template_id text,
    os_type_id text,
    cpu_number bigint,
    cpu_speed bigint,
    memory_mib bigint,
    -- JSON: a list of [key, value], in order.
    tags text
);

alter table usage_record add column attributes_id bigint;
-- Null: charged as reported. Else what a person decided to charge instead.
alter table usage_record add column charged_quantity bigint;
-- Part windows: what they report beyond what is charged already (rule 7.3).
alter table usage_record add column estimate bigint;
-- The review item that it belongs to. Standing 4 is: rejected by a person, never charged.
alter table usage_record add column item_id bigint;
create index usage_record_by_item on usage_record (item_id) where item_id is not null;
create index usage_record_waiting on usage_record (account_id) where standing = 3;

-- When a resource was seen to be gone; null while it is there or nobody knows.
alter table resource add column gone_ms bigint;

alter table quarantine add column item_id bigint;
alter table quarantine add column kind text not null default 'unreadable';
alter table quarantine add column start_ms bigint;
-- What it waits for: the project whose owner is not known.
alter table quarantine add column subject text;
-- 0 waits, 1 rejected, 2 a record was made of it by a person, 3 no longer so: taken up by itself or gone.
alter table quarantine add column state bigint not null default 0;
-- The record made of it.
alter table quarantine add column record_key blob;
update quarantine set start_ms = day * 86400000;
create index quarantine_by_item on quarantine (item_id);
create index quarantine_waiting on quarantine (start_ms) where state = 0;

-- What waits for a person or is worth one's knowing: one of a kind and reason from one run of the sync.
create table review_item (
    id integer not null primary key,
    -- What it is about, so that the same is told once.
    key text not null unique,
    kind text not null,
    reason text not null,
    run_id bigint not null,
    first_day bigint,
    last_day bigint,
    -- Rows in it, those that still wait, and the accounts that they belong to.
    row_count bigint not null default 0,
    waiting bigint not null default 0,
    accounts bigint not null default 0,
    -- Millionths of an hour, bytes or operations that releasing it would add; null where its rows count different things.
    estimate bigint,
    -- open, settled
    state text not null default 'open',
    -- release, reject, correct, rule, mixed, or cured: it settled itself
    verdict text,
    author text,
    words text,
    created_ms bigint not null,
    settled_ms bigint
);
create index review_item_open on review_item (kind) where state = 'open';

-- What a person decided about a record, kept when its span is fetched again.
create table record_verdict (
    key blob not null primary key,
    start_ms bigint not null,
    -- release, reject, correct
    verdict text not null,
    charged_quantity bigint,
    author text not null,
    reason text not null,
    at_ms bigint not null
);
create index record_verdict_by_start on record_verdict (start_ms);

create table review_rule (
    id integer not null primary key,
    kind text not null,
    usage_type bigint,
    account_id bigint,
    -- release, reject
    verdict text not null,
    author text not null,
    why text not null,
    created_ms bigint not null,
    removed_ms bigint
);
