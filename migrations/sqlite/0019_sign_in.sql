-- Who signs in, by which way, for which account; and signed links, for those whom CloudStack no longer lets in.

-- Sessions end with the update: whoever is signed in to CloudStack is let in again without noticing.
drop table web_session;
create table web_session (
    hash text not null primary key,
    -- cloudstack: proven by CloudStack's cookies; openid: by an OpenID issuer; link: by a signed link, for one page.
    kind text not null check (kind in ('cloudstack', 'openid', 'link')),
    -- The CloudStack user; empty where it is one of several, or none.
    cloud_user_id text not null,
    -- Who vouches for whom, where there is a person: 'cloudstack' and the user, or an issuer and its subject.
    issuer text not null,
    subject text not null,
    link_id bigint,
    -- The account that it looks at, and the one that CloudStack named, or that the person was mapped to at sign-in.
    account_id bigint not null references account (id),
    home_account_id bigint not null references account (id),
    role text not null,
    username text not null,
    -- Hash of the CloudStack cookies that were there: others end the session.
    proof_hash text not null,
    -- The token that forms must carry.
    csrf text not null,
    proven_ms bigint not null,
    expires_ms bigint not null
);
create index web_session_by_person on web_session (issuer, subject);
create index web_session_by_link on web_session (link_id) where link_id is not null;

-- What a binding rests on besides an administrator's word: an e-mail rule, or a confirmed address of the CloudStack user.
alter table portal_user add column rule_id bigint;
alter table portal_user add column address_id bigint;
-- As the issuer last told them.
alter table portal_user add column name text;
alter table portal_user add column email text;
alter table portal_user add column seen_ms bigint;
create index portal_user_by_account on portal_user (account_id);
-- An address stands for the first person who came with it, and nobody after.
create unique index portal_user_one_an_address on portal_user (issuer, address_id) where address_id is not null;

-- "Whoever has this verified address at that issuer is of this account." Never an administrator of the cloud.
create table email_rule (
    id integer not null primary key,
    issuer text not null,
    email text not null,
    account_id bigint not null references account (id),
    role text not null check (role in ('owner', 'finance', 'viewer')),
    -- The first who came with the address; from then on only this one.
    bound_subject text,
    made_by text not null,
    made_ms bigint not null,
    unique (issuer, email, account_id)
);
create index email_rule_by_address on email_rule (issuer, email);

-- Addresses of which an administrator said so, or of which a mail came back: CloudStack's own field is the tenant's to edit.
create table confirmed_address (
    id integer not null primary key,
    account_id bigint not null references account (id),
    -- Whose it is; empty: of the account, of nobody in particular.
    cloud_user_id text not null,
    email text not null,
    -- admin: somebody said so; mail: a link that was sent there came back.
    how text not null check (how in ('admin', 'mail')),
    confirmed_by text not null,
    confirmed_ms bigint not null,
    ended_by text,
    ended_ms bigint
);
create unique index confirmed_address_once on confirmed_address (account_id, cloud_user_id, email) where ended_ms is null;
create index confirmed_address_by_email on confirmed_address (email) where ended_ms is null;

-- People whom an issuer vouches for and nobody has mapped.
create table unmatched_person (
    id integer not null primary key,
    issuer text not null,
    subject text not null,
    name text not null,
    email text not null,
    email_verified bigint not null,
    -- Why no rule took the person in, as a word.
    why text not null,
    times bigint not null,
    -- waiting, mapped, refused
    state text not null check (state in ('waiting', 'mapped', 'refused')),
    decided_by text,
    decided_ms bigint,
    first_ms bigint not null,
    last_ms bigint not null,
    unique (issuer, subject)
);
create index unmatched_person_waiting on unmatched_person (id) where state = 'waiting';

-- Which of several accounts a person last looked at.
create table account_choice (
    issuer text not null,
    subject text not null,
    account_id bigint not null references account (id),
    chosen_ms bigint not null,
    primary key (issuer, subject)
);

-- A sign-in that was sent to an issuer and has not come back.
create table openid_attempt (
    -- Hashes: neither the state nor the cookie can be read from here.
    state_hash text not null primary key,
    browser_hash text not null,
    issuer_name text not null,
    return_to text not null,
    begun_ms bigint not null,
    expires_ms bigint not null
);
create index openid_attempt_by_end on openid_attempt (expires_ms);

-- Which user of an account with several is behind a CloudStack session, for as long as that session lives.
create table known_user (
    proof_hash text not null primary key,
    account_id bigint not null references account (id),
    cloud_user_id text not null,
    -- openid, mail
    how text not null,
    known_ms bigint not null,
    expires_ms bigint not null
);

create table signed_link (
    id integer not null primary key,
    -- suspension: opens the page of a suspended account; address: confirms an address; user: tells who of an account it is.
    purpose text not null check (purpose in ('suspension', 'address', 'user')),
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
create index signed_link_by_account on signed_link (account_id);

-- A link's token is made when its mail leaves, at each try anew, and only its hash is kept.
create table signed_link_token (
    hash text not null primary key,
    link_id bigint not null references signed_link (id),
    made_ms bigint not null
);
create index signed_link_token_by_link on signed_link_token (link_id);

-- Where in a mail the token of a link goes.
create table mail_link (
    mail_id bigint not null references mail (id),
    link_id bigint not null references signed_link (id),
    marker text not null,
    primary key (mail_id, link_id)
);

-- "Send me a new link": written down for every address alike, and answered by mail where there is something to answer.
create table link_wish (
    id integer not null primary key,
    address text not null,
    asked_ms bigint not null,
    answered_ms bigint
);
create index link_wish_open on link_wish (id) where answered_ms is null;

-- "Ask for more time."
create table more_time (
    id integer not null primary key,
    account_id bigint not null references account (id),
    asked_by text not null,
    reason text not null,
    -- The day that was wished for, if one was.
    wished_day bigint,
    -- Where the answer is sent besides the account's people; may be empty.
    address text not null,
    state text not null check (state in ('open', 'granted', 'refused')),
    until_ms bigint,
    message text,
    answered_by text,
    asked_ms bigint not null,
    answered_ms bigint
);
create unique index more_time_one_open on more_time (account_id) where state = 'open';
create index more_time_by_account on more_time (account_id);
