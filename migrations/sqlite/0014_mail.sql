-- Mail: what is to be sent to whom, what came of it, and what administrators have to be told.

-- Mails were made of the notice, or it was decided that none are.
alter table notice add column queued_ms bigint;
-- A mail server took the first mail about it: from then on a warning counts.
alter table notice add column arrived_ms bigint;
-- Nobody could be written to; cleared once somebody can.
alter table notice add column no_address_ms bigint;
-- What was recorded before there was mail is never mailed.
update notice set queued_ms = recorded_ms;
create index notice_to_mail on notice (id) where queued_ms is null and dry_run = 0;

create table admin_notice (
    id integer not null primary key,
    -- One event is told once.
    key text not null unique,
    kind text not null,
    subject text not null,
    body text not null,
    created_ms bigint not null,
    queued_ms bigint
);
create index admin_notice_to_mail on admin_notice (id) where queued_ms is null;

-- The outbox: one row a mail and person.
create table mail (
    id integer not null primary key,
    -- One event goes once to a person, however often the row is made.
    key text not null unique,
    kind text not null,
    recipient text not null,
    subject text not null,
    text_body text not null,
    html_body text not null,
    -- The same at every attempt, so that a mail that came twice can be recognised.
    message_id text not null unique,
    -- open, sent, dead, dropped
    state text not null,
    attempts bigint not null,
    next_ms bigint not null,
    claimed_by text,
    claim_ends_ms bigint,
    last_error text,
    created_ms bigint not null,
    -- From here on the time is counted after which it is given up.
    opened_ms bigint not null,
    ended_ms bigint
);
create index mail_open on mail (next_ms, id) where state = 'open';
create index mail_by_state on mail (state, id);

-- Which notices a mail is about: several, where a person has several accounts of one payer.
create table mail_notice (
    mail_id bigint not null references mail (id),
    notice_id bigint not null references notice (id),
    primary key (mail_id, notice_id)
);
create index mail_notice_by_notice on mail_notice (notice_id);
