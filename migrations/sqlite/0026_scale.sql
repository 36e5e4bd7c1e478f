-- Indexes for clouds with many accounts, so that a run and a page do not walk what has piled up over the years.

-- Whether the newest decision of an account led to an act that was done.
create index intent_done_by_decision on intent (decision_id) where state = 'done';
