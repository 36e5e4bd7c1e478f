-- Signed links that take a request to delete an account back.
alter table signed_link drop constraint signed_link_purpose_check;
-- suspension: opens the page of a suspended account; address: confirms an address; user: tells who of an account it is;
-- deletion: takes a request to delete the account back.
alter table signed_link add constraint signed_link_purpose_check
    check (purpose in ('suspension', 'address', 'user', 'deletion'));
-- The request that it takes back.
alter table signed_link add column delete_request_id bigint;
