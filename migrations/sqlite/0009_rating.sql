-- Rated lines are worked out again from records and price book when somebody asks, instead of being stored: the same function
-- gives the same lines. What is kept is what a day costs, under which book and tax rate, and what could not be priced.

drop table rated;

-- Records of the day that could not be priced, and the first reason in words.
alter table charge_day add column failed bigint not null default 0;
alter table charge_day add column issue text;
-- Tax in percent, as resolved on rating; null: rated by a release that took it on posting.
alter table charge_day add column tax_percent text;
-- Who the account was for the price book when the day was rated; null: as it is now.
alter table charge_day add column terms_id bigint;
-- Of "unsettled": 0 posted as rated, 1 to be posted, 2 a correction that waits for a person, 3 one that a person refused.
-- 1 once the day was closed: what was charged then is changed only by corrections and on a person's word.
alter table charge_day add column closed bigint not null default 0;
update charge_day set closed = 1 where postings > 0 or unsettled = 0;
-- The net at which a person gave a verdict: another one is judged anew.
alter table charge_day add column verdict_nanos bigint;
-- The approved change of prices by which the whole day is reversed and posted anew.
alter table charge_day add column repost_item bigint;

-- Who an account was for the price book: its names, domains, first billing day. An account that moves or is renamed later
-- does not change what closed days cost.
create table rating_terms (
    id integer not null primary key,
    digest text not null unique,
    body text not null
);

-- How much of each tiered tariff an account used on a day, in billionths of the tariff's unit.
create table tier_use (
    account_id bigint not null,
    day bigint not null,
    tier_key bigint not null,
    used_nanos bigint not null,
    primary key (account_id, day, tier_key)
);

-- Days that a person ordered to be rated with another book than the one they were posted with.
create table day_book (
    account_id bigint not null,
    day bigint not null,
    book_id bigint not null references price_book (id),
    item_id bigint not null,
    primary key (account_id, day)
);

-- The charges that an item waiting for a person is about: corrections beyond the limit, and changes of past prices.
create table review_charge (
    item_id bigint not null,
    account_id bigint not null,
    day bigint not null,
    usage_type bigint not null,
    old_net_nanos bigint not null,
    new_net_nanos bigint not null,
    old_tax_percent text,
    new_tax_percent text,
    -- Who the account would be for the price book; null: as kept.
    new_terms_id bigint,
    -- open, released, rejected, overtaken: the day costs something else by now
    state text not null,
    primary key (item_id, account_id, day, usage_type)
);
create index review_charge_by_day on review_charge (account_id, day);

-- What a reversal reverses, and the item that ordered it and the posting anew. Append only, as the transfers are.
create table transfer_link (
    transfer_id bigint not null primary key references transfer (id),
    item_id bigint not null,
    reverses bigint references transfer (id)
);
create trigger transfer_link_is_append_only_update before update on transfer_link begin
    select raise(abort, 'the ledger is append only');
end;
create trigger transfer_link_is_append_only_delete before delete on transfer_link begin
    select raise(abort, 'the ledger is append only');
end;

-- What was rated before is rated once more, with the book it was posted with, so that the new columns are filled.
insert into day_to_rate (account_id, day, mark) select distinct account_id, day, cast(1 as bigint) from charge_day where true
    on conflict (account_id, day) do update set mark = day_to_rate.mark + 1;
