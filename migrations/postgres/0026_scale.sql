-- Indexes for clouds with many accounts, so that a run and a page do not walk what has piled up over the years.

-- Whether the newest decision of an account led to an act that was done.
create index intent_done_by_decision on intent (decision_id) where state = 'done';

-- The newest acts on an account.
create index intent_by_account on intent (account_id, created_ms);

-- What is left of a grant.
create index ledger_account_by_grant on ledger_account (grant_id) where grant_id is not null;
