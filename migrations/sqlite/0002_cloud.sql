-- The mirror of CloudStack's domains, accounts, users and projects, and the payers that accounts belong to.

create table payer (
    id integer not null primary key,
    name text not null,
    kind text not null check (kind in ('account', 'customer')),
    class text,
    billing_start_day bigint,
    tax_percent text,
    created_ms bigint not null
);

create table domain (
    cloud_id text not null primary key,
    parent_id text,
    name text not null,
    path text not null,
    seen_ms bigint not null,
    gone_ms bigint
);

create table account (
    id integer not null primary key,
    cloud_id text not null unique,
    payer_id bigint not null references payer (id),
    name text not null,
    domain_id text not null,
    domain_path text not null,
    account_type bigint not null,
    role_type text not null,
    state text not null,
    first_state text not null,
    first_seen_ms bigint not null,
    seen_ms bigint not null,
    gone_ms bigint
);
create index account_by_name on account (name);
create index account_by_payer on account (payer_id);

create table cloud_user (
    cloud_id text not null primary key,
    account_id bigint not null references account (id),
    username text not null,
    first_name text not null,
    last_name text not null,
    email text,
    state text not null,
    source text,
    seen_ms bigint not null,
    gone_ms bigint
);
create index cloud_user_by_account on cloud_user (account_id);

-- Usage of a project counts to the account that owns it.
create table project (
    id integer not null primary key,
    cloud_id text not null unique,
    owner_account_id bigint references account (id),
    name text not null,
    domain_id text not null,
    state text not null,
    seen_ms bigint not null,
    gone_ms bigint
);
create index project_by_owner on project (owner_account_id);
