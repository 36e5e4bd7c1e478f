-- Usage beyond the time for which its records are kept: daily sums in their place, how far they reach, and what says over
-- which records.

create table usage_daily (
    account_id bigint not null references account (id),
    -- The billing day.
    day bigint not null,
    -- The place within the day, in a fixed order.
    line bigint not null,
    project_id bigint,
    usage_type bigint not null,
    resource_id bigint not null,
    offering_id bigint,
    attributes_id bigint,
    size_bytes bigint,
    -- Charged records that touch the day.
    records bigint not null,
    -- Of them, those that end on it: they are gone.
    ended bigint not null,
    -- As charged. Of a record across midnight its share in time, so that the days of a record sum up to it.
    quantity bigint not null,
    primary key (account_id, day, line)
);
create index usage_daily_by_day on usage_daily (day);

create table compaction (
    account_id bigint not null references account (id),
    usage_type bigint not null,
    -- The first billing day that is not summed up, and the instant at which it begins.
    closed_until_day bigint not null,
    closed_until_ms bigint not null,
    -- Charged records that are gone, and a hash chained over their keys in order.
    records bigint not null,
    digest bytea not null,
    primary key (account_id, usage_type)
);

-- Raw rows of the day that are gone: they still count where late records are looked for.
alter table usage_day add column compacted bigint not null default 0;
