-- API access on approved requests, service tokens for machines, and people.

create table key_request (
    id integer not null primary key,
    -- Made by the caller; filing the same request twice gives one.
    key text not null unique,
    account_id bigint not null references account (id),
    requested_by text not null,
    purpose text not null,
    days bigint not null,
    -- requested, approved, denied, issued, shown, revoking, revoked, failed
    state text not null,
    decided_by text,
    message text,
    user_id text,
    username text,
    api_key text,
    secret_box blob,
    requested_ms bigint not null,
    decided_ms bigint,
    issued_ms bigint,
    shown_ms bigint,
    expires_ms bigint,
    revoked_ms bigint,
    last_error text
);
create index key_request_by_account on key_request (account_id);
create index key_request_by_state on key_request (state);

create table portal_user (
    id integer not null primary key,
    issuer text not null,
    subject text not null,
    cloud_user_id text,
    account_id bigint references account (id),
    role text not null check (role in ('owner', 'finance', 'viewer', 'cloud-admin')),
    mapped_by text not null,
    mapped_ms bigint not null,
    unique (issuer, subject, account_id)
);

create table service_token (
    id integer not null primary key,
    name text not null unique,
    hash text not null unique,
    scopes text not null,
    created_by text not null,
    created_ms bigint not null,
    last_used_ms bigint,
    revoked_ms bigint
);

create table web_session (
    hash text not null primary key,
    cloud_user_id text not null,
    account_id bigint not null references account (id),
    role text not null,
    username text not null,
    -- Hash of the CloudStack cookies that proved it: a change or absence ends the session.
    proof_hash text not null,
    csrf text not null,
    proven_ms bigint not null,
    expires_ms bigint not null
);
