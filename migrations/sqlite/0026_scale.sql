-- Indexes for clouds with many accounts, so that a run and a page do not walk what has piled up over the years.

-- Whether the newest decision of an account led to an act that was done.
create index intent_done_by_decision on intent (decision_id) where state = 'done';

-- The newest acts on an account.
create index intent_by_account on intent (account_id, created_ms);

-- What is left of a grant.
create index ledger_account_by_grant on ledger_account (grant_id) where grant_id is not null;

-- Old mails, and the newest that was sent.
create index mail_by_end on mail (state, ended_ms);
-- The next mail: with the state in front SQLite takes it before an index of every mail, also where it never counted what is there.
create index mail_due on mail (state, next_ms, id) where state = 'open';

-- What the digest tells of.
create index decision_to_tell on decision (decided_ms) where outcome <> 'keep' and outcome <> 'warn';
create index notice_by_time on notice (recorded_ms);

-- What a payer's accounts were told in its present epoch, and of which weeks they were ever told that a payment is overdue.
create index notice_by_epoch on notice (payer_id, epoch_id);
create index notice_overdue on notice (event) where event like 'overdue-%';
