//! The fuse: how much one run and one rolling day may do downwards before a person is asked.
//!
//! Promises: counted before the first step of a run; what was begun and has no known end counts. Restores never wait for it.

use std::collections::BTreeMap;

use rust_decimal::{Decimal, prelude::ToPrimitive};

use crate::ids::AccountId;

/// What it allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Accounts.
    pub accounts: u32,
    /// Percent of all accounts; at least one account.
    pub percent: Decimal,
    /// Running machines of accounts that are locked or stopped.
    pub machines: u32,
}

/// A step downwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The account.
    pub account: AccountId,
    /// Its running machines; 0 for a restriction, which leaves them alone.
    pub machines: u64,
}

/// What a run wants, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Weighed {
    /// Accounts of this run.
    pub accounts: u64,
    /// Those and the ones of the last day.
    pub accounts_of_day: u64,
    /// How many of them are allowed.
    pub accounts_allowed: u64,
    /// All accounts.
    pub accounts_in_all: u64,
    /// Running machines of this run.
    pub machines: u64,
    /// Those and the ones of the last day.
    pub machines_of_day: u64,
    /// How many of them are allowed.
    pub machines_allowed: u64,
}

impl Weighed {
    /// Why nothing may be done downwards; None: it may.
    pub fn blown(&self) -> Option<String> {
        let mut why = Vec::new();
        if self.accounts_of_day > self.accounts_allowed {
            why.push(format!(
                "{} accounts are due to be restricted, locked or stopped, with those of the last day {}, and the fuse allows {} of {}",
                self.accounts, self.accounts_of_day, self.accounts_allowed, self.accounts_in_all
            ));
        }
        if self.machines_of_day > self.machines_allowed {
            why.push(format!(
                "the accounts that are due run {} machines, with those of the last day {}, and the fuse allows {}",
                self.machines, self.machines_of_day, self.machines_allowed
            ));
        }
        (!why.is_empty()).then(|| why.join("; "))
    }
}

/// Weighs the steps of a run with what the last day saw: accounts with the machines that ran in them.
pub fn weigh(limits: Limits, accounts_in_all: usize, steps: &[Step], day: &[(AccountId, i64)]) -> Weighed {
    let by_percent = limits.percent * Decimal::from(accounts_in_all) / Decimal::ONE_HUNDRED;
    let by_percent = by_percent.floor().to_u64().unwrap_or(0).max(1);
    // An account that goes down two steps in a day counts once, with the larger of its machines.
    let mut together: BTreeMap<AccountId, u64> = BTreeMap::new();
    let seen = day.iter().map(|(account, machines)| (*account, u64::try_from(*machines).unwrap_or(0)));
    for (account, machines) in seen.chain(steps.iter().map(|step| (step.account, step.machines))) {
        let most = together.entry(account).or_default();
        *most = (*most).max(machines);
    }
    Weighed {
        accounts: steps.len() as u64,
        accounts_of_day: together.len() as u64,
        accounts_allowed: u64::from(limits.accounts).min(by_percent),
        accounts_in_all: accounts_in_all as u64,
        machines: steps.iter().map(|step| step.machines).fold(0, u64::saturating_add),
        machines_of_day: together.values().fold(0, |sum, machines| sum.saturating_add(*machines)),
        machines_allowed: u64::from(limits.machines),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(accounts: u32, percent: i64, machines: u32) -> Limits {
        Limits { accounts, percent: Decimal::from(percent), machines }
    }

    fn step(account: i64, machines: u64) -> Step {
        Step { account: AccountId::new(account), machines }
    }

    #[test]
    fn the_smaller_of_accounts_and_percent_is_allowed_and_at_least_one_account() {
        for (accounts, percent, all, allowed) in [(5, 2, 1_000, 5), (5, 2, 100, 2), (5, 2, 3, 1), (1, 100, 50, 1)] {
            assert_eq!(weigh(limits(accounts, percent, 50), all, &[], &[]).accounts_allowed, allowed, "{all}");
        }
    }

    #[test]
    fn a_step_more_than_allowed_blows_it_and_exactly_as_many_do_not() {
        let two = [step(1, 0), step(2, 0)];
        assert_eq!(weigh(limits(2, 100, 50), 10, &two, &[]).blown(), None);
        let why = weigh(limits(1, 100, 50), 10, &two, &[]).blown().unwrap();
        assert!(why.contains("2 accounts are due") && why.contains("allows 1 of 10"), "{why}");
    }

    #[test]
    fn the_last_day_counts_and_an_account_that_goes_on_counts_once() {
        let day = [(AccountId::new(1), 30)];
        assert_eq!(weigh(limits(1, 100, 50), 10, &[step(1, 20)], &day).blown(), None);
        let why = weigh(limits(1, 100, 50), 10, &[step(2, 20)], &day).blown().unwrap();
        assert!(why.contains("with those of the last day 2"), "{why}");
        let why = weigh(limits(5, 100, 49), 10, &[step(2, 20)], &day).blown().unwrap();
        assert!(why.contains("run 20 machines, with those of the last day 50"), "{why}");
    }
}
