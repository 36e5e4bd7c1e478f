-- What bursar itself did and was told: settings, runs of jobs, requests to the running server, the audit trail.

create table setting (
    key text not null primary key,
    value text not null,
    updated_ms bigint not null
);

create table run (
    id integer not null primary key,
    job text not null,
    cause text not null,
    holder text not null,
    started_ms bigint not null,
    alive_ms bigint not null,
    ended_ms bigint,
    outcome text,
    detail text not null default '{}'
);
-- A job never overlaps itself.
create unique index run_one_at_a_time on run (job) where ended_ms is null;
create index run_by_job on run (job, started_ms);

-- Commands that act leave a row here while a server runs on the same data (design 7.14).
create table request (
    id integer not null primary key,
    kind text not null,
    body text not null,
    requested_by text not null,
    created_ms bigint not null,
    finished_ms bigint,
    succeeded bigint,
    result text
);
create index request_open on request (id) where finished_ms is null;

create table audit (
    id integer not null primary key,
    at_ms bigint not null,
    actor text not null,
    action text not null,
    subject text not null,
    before_state text,
    after_state text,
    request_id text,
    answer text
);
create index audit_by_subject on audit (subject, at_ms);
create trigger audit_is_append_only_update before update on audit begin
    select raise(abort, 'the audit trail is append only');
end;
create trigger audit_is_append_only_delete before delete on audit begin
    select raise(abort, 'the audit trail is append only');
end;

-- One enforcer at a time: the fence only ever grows.
create table lease (
    name text not null primary key,
    holder text not null,
    fence bigint not null,
    expires_ms bigint not null
);
