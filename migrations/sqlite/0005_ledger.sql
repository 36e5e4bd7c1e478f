-- Double entry, append only. Every transfer balances; a mistake is corrected by another transfer.

create table ledger_account (
    id integer not null primary key,
    -- payer: what a payer has (negative: owes); grant: what is left of one grant; the rest are the cloud's own.
    kind text not null,
    payer_id bigint references payer (id),
    grant_id bigint,
    name text not null unique
);

create table transfer (
    id integer not null primary key,
    -- Made by the caller before the call: the idempotency key.
    key text not null unique,
    kind text not null,
    payer_id bigint not null references payer (id),
    at_ms bigint not null,
    posted_ms bigint not null,
    author text not null,
    reason text not null,
    -- Digest of what was asked for: the same key with another content is refused.
    content text not null,
    account_id bigint,
    day bigint,
    usage_type bigint,
    number bigint
);
create index transfer_by_payer on transfer (payer_id, at_ms);

create table entry (
    transfer_id bigint not null references transfer (id),
    line bigint not null,
    ledger_account_id bigint not null references ledger_account (id),
    amount_micros bigint not null,
    primary key (transfer_id, line)
);
create index entry_by_account on entry (ledger_account_id);

-- Derived; `bursar verify` rebuilds it from the entries.
create table balance (
    ledger_account_id bigint not null primary key references ledger_account (id),
    amount_micros bigint not null
);

create table credit_grant (
    id integer not null primary key,
    payer_id bigint not null references payer (id),
    amount_micros bigint not null check (amount_micros > 0),
    starts_ms bigint not null,
    ends_ms bigint,
    priority bigint not null,
    scope_usage_type bigint,
    reason text not null,
    author text not null,
    created_ms bigint not null
);
create index credit_grant_by_payer on credit_grant (payer_id);

-- The newest row of a payer is its credit limit; a null amount takes the payer out of management.
create table credit_limit (
    id integer not null primary key,
    key text not null unique,
    payer_id bigint not null references payer (id),
    amount_micros bigint,
    author text not null,
    reason text not null,
    set_ms bigint not null
);
create index credit_limit_by_payer on credit_limit (payer_id, id);

-- Opened by each payment, grant or change of limit: Total is measured from what was available right after it.
create table epoch (
    id integer not null primary key,
    payer_id bigint not null references payer (id),
    opened_ms bigint not null,
    cause text not null,
    available_micros bigint not null
);
create index epoch_by_payer on epoch (payer_id, id);

create trigger transfer_is_append_only_update before update on transfer begin
    select raise(abort, 'the ledger is append only');
end;
create trigger transfer_is_append_only_delete before delete on transfer begin
    select raise(abort, 'the ledger is append only');
end;
create trigger entry_is_append_only_update before update on entry begin
    select raise(abort, 'the ledger is append only');
end;
create trigger entry_is_append_only_delete before delete on entry begin
    select raise(abort, 'the ledger is append only');
end;
