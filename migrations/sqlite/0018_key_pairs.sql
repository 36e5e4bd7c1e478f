-- Key pairs: rotation, approvals by two, native pairs, adopted pairs, warnings, and closing CloudStack's own self-service.

-- dedicated: a user made for the pair. person: a native pair of the person's own user. adopted: a pair that was there before.
alter table key_request add column kind text not null default 'dedicated';
-- The CloudStack user who asks, where it is known.
alter table key_request add column for_user text;
-- The pair that this one takes over from.
alter table key_request add column replaces bigint references key_request (id);
-- The pair ends then at the latest, however many days were approved.
alter table key_request add column ends_ms bigint;
-- The pair's own id, where CloudStack gives it one.
alter table key_request add column pair_id text;
-- The least number of days left that was warned of.
alter table key_request add column warned_days bigint;
-- What the last look at the user found changed by hand, so that it is told once.
alter table key_request add column watched text;
-- Until then one pass works on it; another leaves it alone.
alter table key_request add column claim_ends_ms bigint;
create index key_request_by_replaced on key_request (replaces) where replaces is not null;

-- Who agreed to what. Only approvals of the same terms count together.
create table key_approval (
    request_id bigint not null references key_request (id),
    admin text not null,
    days bigint not null,
    purpose text not null,
    at_ms bigint not null,
    primary key (request_id, admin)
);

-- Accounts in which CloudStack's own key self-service is closed.
create table key_closing (
    id integer not null primary key,
    account_id bigint not null references account (id),
    -- closed, opening, opened
    state text not null,
    closed_by text not null,
    closed_ms bigint not null,
    opened_by text,
    opened_ms bigint
);
-- One at a time.
create unique index key_closing_standing on key_closing (account_id) where state <> 'opened';

-- What each user's apikeyaccess was, is to be, and whether it is.
create table key_closing_user (
    closing_id bigint not null references key_closing (id),
    user_id text not null,
    username text not null,
    -- enabled, disabled, inherit
    before_access text not null,
    -- enabled: marked to be kept. disabled: closed
    set_access text not null,
    done_ms bigint,
    undone_ms bigint,
    primary key (closing_id, user_id)
);
