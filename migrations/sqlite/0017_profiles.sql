-- What bursar keeps of a person, who is one CloudStack user: what CloudStack has no field for, a picture, a new address that
-- waits for its confirmation, and what was tried wrongly.

create table profile (
    cloud_user_id text not null primary key,
    account_id bigint not null references account (id),
    phone text not null,
    company text not null,
    location text not null,
    address text not null,
    updated_ms bigint not null
);

create table profile_picture (
    cloud_user_id text not null primary key,
    account_id bigint not null references account (id),
    -- A square PNG, made by bursar from what was uploaded.
    png blob not null,
    hash text not null,
    -- Whether CloudStack has it as the user's icon: waiting, set, refused, unknown
    icon text not null,
    updated_ms bigint not null
);

create table email_change (
    id integer not null primary key,
    cloud_user_id text not null,
    account_id bigint not null references account (id),
    old_email text not null,
    new_email text not null,
    -- The token itself stands in the mail only.
    token_hash text not null unique,
    -- waiting, confirmed, applying, applied, dropped
    state text not null,
    requested_ms bigint not null,
    expires_ms bigint not null,
    confirmed_ms bigint,
    ended_ms bigint
);
create unique index email_change_open on email_change (cloud_user_id)
    where state in ('waiting', 'confirmed', 'applying');
create index email_change_by_person on email_change (cloud_user_id, requested_ms);

-- Wrong passwords and codes since the last right one.
create table own_try (
    cloud_user_id text not null,
    -- password, code
    what text not null,
    wrong bigint not null,
    first_ms bigint not null,
    last_ms bigint not null,
    primary key (cloud_user_id, what)
);

-- A second factor that was begun here and has not had its first code. Its secret is kept nowhere.
create table second_factor_set_up (
    cloud_user_id text not null primary key,
    account_id bigint not null references account (id),
    -- Which set-up it is: the form of another one must not confirm it.
    mark text not null,
    provider text not null,
    begun_ms bigint not null
);
