-- What usage costs: price books as loaded, days to rate, rated lines, and the charge of each billing day.

create table price_book (
    id integer not null primary key,
    digest text not null unique,
    currency text not null,
    body text not null,
    loaded_ms bigint not null
);

-- The arrow from usage to rating: days of an account whose records changed.
create table day_to_rate (
    account_id bigint not null,
    day bigint not null,
    mark bigint not null,
    primary key (account_id, day)
);

create table rated (
    account_id bigint not null,
    day bigint not null,
    record_key blob not null,
    part bigint not null,
    usage_type bigint not null,
    -- charged, free, unpriced, before-start, failed
    outcome text not null,
    tariff bigint,
    amount_nanos bigint not null,
    note text,
    primary key (account_id, day, record_key, part)
);

-- One row a billing day, account and usage type. What is posted follows what is rated by numbered corrections.
create table charge_day (
    account_id bigint not null,
    day bigint not null,
    usage_type bigint not null,
    book_id bigint not null references price_book (id),
    records bigint not null,
    unpriced bigint not null,
    net_nanos bigint not null,
    posted_net_micros bigint not null default 0,
    posted_tax_micros bigint not null default 0,
    postings bigint not null default 0,
    -- 1 while what is rated differs from what is posted: only those rows are accrued.
    unsettled bigint not null default 1,
    primary key (account_id, day, usage_type)
);
create index charge_day_by_day on charge_day (day);
create index charge_day_unsettled on charge_day (account_id, day) where unsettled = 1;
