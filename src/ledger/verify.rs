//! Rebuilds every balance from its entries and compares what the ledger and the charges say of each other. Says what differs;
//! changes nothing. That the charges are those of the records is checked by pricing them again ([`crate::rating`]).

use std::collections::BTreeMap;

use crate::{
    store::{StoreError, Tx, ledger, rating, usage},
    time::Day,
};

/// Something that does not agree.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// A word to search for.
    pub check: &'static str,
    /// What differs, with the figures.
    pub detail: String,
}

/// What was checked.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct VerifyReport {
    /// How many charges were compared.
    pub charges: u64,
    /// Everything that does not agree; empty is well.
    pub findings: Vec<Finding>,
}

/// Checks everything.
pub async fn verify(tx: &mut Tx) -> Result<VerifyReport, StoreError> {
    let mut report = VerifyReport::default();
    let mut find = |check, detail| report.findings.push(Finding { check, detail });
    for (id, sum) in ledger::list_unbalanced(tx).await? {
        find("transfer-balance", format!("transfer {id} does not balance: its entries sum to {sum} millionths"));
    }
    for (name, derived, entries) in ledger::list_wrong_balances(tx).await? {
        find("balance", format!("{name}: the stored balance is {derived} millionths, its entries sum to {entries}"));
    }
    let by_ledger: BTreeMap<(i64, i64, i64), (i64, i64)> = ledger::list_posted(tx)
        .await?
        .into_iter()
        .map(|(account, day, usage_type, net, tax)| ((account, day, usage_type), (net, tax)))
        .collect();
    let by_rating: BTreeMap<(i64, i64, i64), (i64, i64)> = rating::list_posted_charges(tx)
        .await?
        .into_iter()
        .map(|(account, day, usage_type, net, tax)| ((account, day, usage_type), (net, tax)))
        .collect();
    for key in by_ledger.keys().chain(by_rating.keys()).collect::<std::collections::BTreeSet<_>>() {
        let (posted, remembered) = (by_ledger.get(key), by_rating.get(key));
        if posted != remembered {
            find(
                "posted",
                format!(
                    "account {}, {}, usage type {}: the ledger has {posted:?} (net, tax), the charge says {remembered:?}",
                    key.0,
                    Day::from_number(key.1),
                    key.2
                ),
            );
        }
    }
    let uncounted = usage::list_wrong_day_counts(tx).await?;
    for (day, counted, stored) in uncounted {
        find("day-count", format!("{}: {counted} raw rows counted, {stored} stored", Day::from_number(day)));
    }
    report.charges = by_ledger.len() as u64;
    Ok(report)
}
