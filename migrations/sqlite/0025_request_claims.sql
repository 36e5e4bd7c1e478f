-- Who carries a request out at this moment, and when it last showed a sign of life: of two replicas one does it.
alter table request add column claimed_by text;
alter table request add column claimed_ms bigint;
