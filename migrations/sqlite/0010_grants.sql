-- Grants that begin later, end early or lapse, refunds that name their payment, joined payers, promo codes.

-- When an epoch was opened for the begin of the grant and for its end. Null: not yet.
alter table credit_grant add column begun_ms bigint;
alter table credit_grant add column ended_ms bigint;
-- Revoked, moved to another payer, or booked as lapsed: from then on nothing goes back to it.
alter table credit_grant add column closed_ms bigint;
update credit_grant set begun_ms = starts_ms;

-- The payment that a refund is of.
alter table transfer add column of_transfer_id bigint references transfer (id);
create index transfer_by_origin on transfer (of_transfer_id) where of_transfer_id is not null;

-- The customer that this payer's account, money and grants went to.
alter table payer add column joined_into bigint references payer (id);

create table promo_code (
    id integer not null primary key,
    -- Upper case, without blanks: two spellings of one code are one code.
    code text not null unique,
    -- One of the two: an amount, or percent of a payment.
    amount_micros bigint check (amount_micros > 0),
    percent text,
    max_amount_micros bigint check (max_amount_micros > 0),
    valid_from_ms bigint not null,
    valid_until_ms bigint,
    -- Null: any number of times.
    total_uses bigint check (total_uses > 0),
    uses_per_account bigint not null check (uses_per_account > 0),
    -- Above zero: the code waits for a payment of at least so much.
    min_payment_micros bigint not null check (min_payment_micros >= 0),
    -- 1: shown as an offer to whom it is for.
    public bigint not null,
    -- The grant it gives.
    grant_days bigint check (grant_days > 0),
    grant_scope bigint,
    grant_priority bigint not null,
    uses bigint not null default 0,
    note text not null,
    author text not null,
    created_ms bigint not null,
    closed_ms bigint,
    closed_by text,
    check ((amount_micros is null) <> (percent is null)),
    check (total_uses is null or uses <= total_uses)
);

-- Domains that a code is for, with their children. None: every domain.
create table promo_domain (
    promo_id bigint not null references promo_code (id),
    domain_id text not null,
    primary key (promo_id, domain_id)
);

create table promo_redemption (
    id integer not null primary key,
    -- Made by the caller: redeeming twice with one key is one redemption.
    key text not null unique,
    promo_id bigint not null references promo_code (id),
    account_id bigint not null references account (id),
    author text not null,
    redeemed_ms bigint not null,
    -- Null while it waits for a payment.
    grant_id bigint references credit_grant (id),
    payment_id bigint references transfer (id),
    granted_ms bigint
);
create index promo_redemption_by_code on promo_redemption (promo_id, account_id);
create index promo_redemption_waiting on promo_redemption (account_id) where grant_id is null;
