-- What there is right now, and what the figures made of it were worth.

-- How the last reading of each of CloudStack's lists went: machines, volumes, addresses.
create table live_list (
    list text not null primary key,
    -- When it was last tried, and when it was last read to its end.
    tried_ms bigint not null,
    complete_ms bigint,
    things bigint not null,
    -- In words, where it was not read or not read to its end.
    note text
);

-- A thing from when to when in one shape: what its price depends on. Open while it is there; ended ones are kept until
-- the usage records of their time have come.
create table live_span (
    id integer not null primary key,
    usage_type bigint not null,
    cloud_id text not null,
    account_id bigint not null references account (id),
    project_id bigint,
    name text not null,
    state text not null,
    offering text,
    zone text,
    template text,
    os_type text,
    cpu_number bigint,
    memory_mib bigint,
    size_bytes bigint,
    -- JSON: a list of [key, value], in order.
    tags text not null,
    created_ms bigint,
    first_seen_ms bigint not null,
    since_ms bigint not null,
    until_ms bigint
);
create unique index live_span_one_open on live_span (usage_type, cloud_id) where until_ms is null;
create index live_span_by_account on live_span (account_id);

-- Resources that have records and were not in the last complete list: gone when the next one lacks them too.
create table live_absence (
    resource_id bigint not null,
    usage_type bigint not null,
    absent_ms bigint not null,
    primary key (resource_id, usage_type)
);

-- What was estimated for a span before its usage came, and what the records then cost.
create table estimate_window (
    account_id bigint not null references account (id),
    from_ms bigint not null,
    until_ms bigint not null,
    net_nanos bigint not null,
    rated_nanos bigint not null,
    made_ms bigint not null,
    primary key (from_ms, account_id)
);
