-- What tenants say about themselves: which notices they want, how they pay, and that an account is to be deleted.

-- How a person of an account is written to. The person is the id of the CloudStack user.
create table notice_person (
    account_id bigint not null references account (id),
    person text not null,
    -- A language tag, such as en.
    language text not null,
    changed_ms bigint not null,
    primary key (account_id, person)
);

-- What a person said about a topic; where there is no row, the topic's default holds.
create table notice_choice (
    account_id bigint not null references account (id),
    person text not null,
    -- maintenance, invoice, overdue, credit
    topic text not null,
    -- mail
    channel text not null,
    wanted bigint not null check (wanted in (0, 1)),
    primary key (account_id, person, topic, channel)
);

-- Percent used at which a person wants to hear of it, instead of the thresholds of the cloud.
create table notice_threshold (
    account_id bigint not null references account (id),
    person text not null,
    percent bigint not null check (percent between 1 and 100),
    primary key (account_id, person, percent)
);

-- Payment gateways: proposed by a tenant, approved or refused by an administrator.
create table gateway (
    id integer not null primary key,
    -- Made by the caller; proposing the same twice gives one.
    key text not null unique,
    name text not null,
    country text not null,
    website text not null,
    details text not null,
    -- For this payer alone; null: for everybody.
    payer_id bigint references payer (id),
    -- The account from which it was proposed; null: by an administrator.
    account_id bigint references account (id),
    -- proposed, approved, refused, retired
    state text not null,
    proposed_by text not null,
    proposed_ms bigint not null,
    decided_by text,
    decided_ms bigint,
    message text
);
create index gateway_by_state on gateway (state, id);
create index gateway_by_payer on gateway (payer_id);

-- Which gateway a payer chose; no row: bank transfer.
create table gateway_choice (
    payer_id bigint not null primary key references payer (id),
    gateway_id bigint not null references gateway (id),
    chosen_by text not null,
    chosen_ms bigint not null
);

-- Requests of tenants that their account be deleted.
create table delete_request (
    id integer not null primary key,
    -- Made by the caller; asking twice gives one.
    key text not null unique,
    account_id bigint not null references account (id),
    -- waiting, withdrawn, refused, done. One that waits is due from due_ms on.
    state text not null,
    reason text not null,
    requested_by text not null,
    requested_ms bigint not null,
    due_ms bigint not null,
    -- Administrators were told that it is due.
    told_ms bigint,
    ended_by text,
    ended_ms bigint,
    message text
);
-- One open request an account.
create unique index delete_request_open on delete_request (account_id) where state = 'waiting';
create index delete_request_by_state on delete_request (state, id);
