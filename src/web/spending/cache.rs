//! What is kept in memory between two looks: price books as parsed, and what each thing of a closed day cost. A restart
//! forgets it without harm.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    ids::{AccountId, PriceBookId},
    rating::{PriceBook, spending::ThingCost},
    store::rating::ChargeDay,
};

/// Things kept at most, over all days: some ten megabytes.
const MAX_THINGS: usize = 200_000;
/// Books kept at most.
const MAX_BOOKS: usize = 20;

/// What a day was charged by: it changes when the day is rated to something else.
type Print = blake3::Hash;

/// What things cost on a day that was charged so.
type KnownDay = (Print, Arc<Vec<ThingCost>>);

#[derive(Debug, Default)]
struct Days {
    things: usize,
    days: HashMap<(AccountId, i64), KnownDay>,
}

/// The memory.
#[derive(Debug, Default)]
pub(in crate::web) struct Cache {
    days: Mutex<Days>,
    books: Mutex<HashMap<PriceBookId, Arc<PriceBook>>>,
    /// The file that the operator writes: digest of its text, and what it says.
    file: Mutex<Option<(blake3::Hash, Arc<PriceBook>)>>,
}

/// Only closed days stay as they are; of others nothing is kept.
fn print_of(charges: &[ChargeDay]) -> Option<Print> {
    let mut hasher = blake3::Hasher::new();
    for charge in charges {
        if charge.closed != 1 {
            return None;
        }
        for number in [
            charge.usage_type,
            charge.book_id,
            charge.records,
            charge.unpriced,
            charge.failed,
            charge.net_nanos,
            charge.postings,
            charge.terms_id.unwrap_or(-1),
        ] {
            hasher.update(&number.to_be_bytes());
        }
    }
    (!charges.is_empty()).then(|| hasher.finalize())
}

impl Cache {
    /// What the things of a day cost, if it is known for these charges.
    pub(super) fn day(&self, account: AccountId, day: i64, charges: &[ChargeDay]) -> Option<Arc<Vec<ThingCost>>> {
        let print = print_of(charges)?;
        let days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        days.days.get(&(account, day)).filter(|known| known.0 == print).map(|known| Arc::clone(&known.1))
    }

    /// Keeps it.
    pub(super) fn keep_day(
        &self,
        account: AccountId,
        day: i64,
        charges: &[ChargeDay],
        things: Vec<ThingCost>,
    ) -> Arc<Vec<ThingCost>> {
        let things = Arc::new(things);
        let Some(print) = print_of(charges) else { return things };
        let mut days = self.days.lock().unwrap_or_else(PoisonError::into_inner);
        if days.things + things.len() > MAX_THINGS {
            *days = Days::default();
        }
        days.things += things.len();
        if let Some((_, old)) = days.days.insert((account, day), (print, Arc::clone(&things))) {
            days.things = days.things.saturating_sub(old.len());
        }
        things
    }

    /// A book of the store, if it was parsed before.
    pub(in crate::web) fn book(&self, id: PriceBookId) -> Option<Arc<PriceBook>> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned()
    }

    /// Keeps it.
    pub(in crate::web) fn keep_book(&self, id: PriceBookId, book: &Arc<PriceBook>) {
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        if books.len() >= MAX_BOOKS {
            books.clear();
        }
        books.insert(id, Arc::clone(book));
    }

    /// The operator's file, if its text was parsed before.
    pub(in crate::web) fn file(&self, digest: blake3::Hash) -> Option<Arc<PriceBook>> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.as_ref().filter(|known| known.0 == digest).map(|known| Arc::clone(&known.1))
    }

    /// Keeps it.
    pub(in crate::web) fn keep_file(&self, digest: blake3::Hash, book: &Arc<PriceBook>) {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = Some((digest, Arc::clone(book)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(net_nanos: i64, closed: i64) -> ChargeDay {
        ChargeDay { net_nanos, closed, ..ChargeDay::empty(1, 7, 1, 1) }
    }

    fn thing() -> ThingCost {
        ThingCost {
            usage_type: 1,
            resource_id: 1,
            project_id: None,
            attributes_id: None,
            records: 1,
            quantity: 1,
            net_nanos: 1,
        }
    }

    #[test]
    fn a_day_is_known_as_long_as_it_is_charged_the_same() {
        let (cache, account) = (Cache::default(), AccountId::new(1));
        cache.keep_day(account, 7, &[charge(5, 1)], vec![thing()]);
        assert!(cache.day(account, 7, &[charge(5, 1)]).is_some());
        assert!(cache.day(account, 7, &[charge(6, 1)]).is_none());
        assert!(cache.day(AccountId::new(2), 7, &[charge(5, 1)]).is_none());
        assert!(cache.day(account, 8, &[charge(5, 1)]).is_none());
    }

    #[test]
    fn a_day_that_goes_on_is_never_kept() {
        let (cache, account) = (Cache::default(), AccountId::new(1));
        cache.keep_day(account, 7, &[charge(5, 0)], vec![thing()]);
        assert!(cache.day(account, 7, &[charge(5, 0)]).is_none());
        cache.keep_day(account, 7, &[], vec![thing()]);
        assert!(cache.day(account, 7, &[]).is_none());
    }

    #[test]
    fn what_is_kept_has_an_end() {
        let (cache, account) = (Cache::default(), AccountId::new(1));
        for day in 0..3 {
            cache.keep_day(account, day, &[charge(5, 1)], vec![thing(); MAX_THINGS / 2]);
        }
        let kept = (0..3).filter(|day| cache.day(account, *day, &[charge(5, 1)]).is_some()).count();
        assert_eq!(kept, 1);
    }
}
