-- Signed links that take a request to delete an account back. SQLite can not change what a column may hold, so the table is
-- made anew with what it holds, and those that point to it.
create temp table link_kept as select * from signed_link;
create temp table token_kept as select * from signed_link_token;
create temp table place_kept as select * from mail_link;
drop table mail_link;
drop table signed_link_token;
drop table signed_link;

create table signed_link (
    id integer not null primary key,
    -- suspension: opens the page of a suspended account; address: confirms an address; user: tells who of an account it is;
    -- deletion: takes a request to delete the account back.
    purpose text not null check (purpose in ('suspension', 'address', 'user', 'deletion')),
    account_id bigint not null references account (id),
    cloud_user_id text not null,
    -- The notice that it stood in.
    notice_id bigint,
    -- The CloudStack session that asked for it, where it holds for that one only.
    proof_hash text not null,
    recipient text not null,
    made_ms bigint not null,
    expires_ms bigint not null,
    used_ms bigint,
    uses bigint not null,
    revoked_by text,
    revoked_ms bigint
);
insert into signed_link (id, purpose, account_id, cloud_user_id, notice_id, proof_hash, recipient, made_ms, expires_ms,
    used_ms, uses, revoked_by, revoked_ms)
    select id, purpose, account_id, cloud_user_id, notice_id, proof_hash, recipient, made_ms, expires_ms,
        used_ms, uses, revoked_by, revoked_ms from link_kept;
create index signed_link_by_account on signed_link (account_id);
-- The request that it takes back.
alter table signed_link add column delete_request_id bigint;

create table signed_link_token (
    hash text not null primary key,
    link_id bigint not null references signed_link (id),
    made_ms bigint not null
);
insert into signed_link_token (hash, link_id, made_ms) select hash, link_id, made_ms from token_kept;
create index signed_link_token_by_link on signed_link_token (link_id);

create table mail_link (
    mail_id bigint not null references mail (id),
    link_id bigint not null references signed_link (id),
    marker text not null,
    primary key (mail_id, link_id)
);
insert into mail_link (mail_id, link_id, marker) select mail_id, link_id, marker from place_kept;

drop table link_kept;
drop table token_kept;
drop table place_kept;
