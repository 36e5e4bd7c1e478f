//! From usage to charges: the price book, and the one function that prices records, estimates and quotes.
//!
//! Promises: the same book, zone and record give the same charges, always; no binary floats; one rounding per part, half
//! to even at a billionth of the currency unit; a record across midnights or price changes is cut exactly there;
//! what nobody priced is reported as unpriced, never silently zero. An amount that does not fit is an error.
//!
//! Pure: no database, HTTP, async runtime, clock or random source. It does not decide whether a record counts (that
//! is [`crate::usage`]), who pays, or how amounts are rounded to money and taxed on posting (the ledger).

mod amount;
pub mod book;
mod canonical;
pub mod changes;
pub mod check;
pub mod desk;
mod diff;
pub mod discount;
pub mod estimate;
mod exact;
pub mod explain;
pub mod init;
pub mod machine;
pub mod narrowing;
mod overlap;
pub mod own;
mod parse;
mod problem;
mod quote;
mod rater;
pub mod spending;
pub mod stage;
pub mod tax;
#[cfg(test)]
mod tests;
pub mod tiers;
mod timeline;

pub use book::{Candidate, PriceBook, Pricing, Tariff, TariffRef};
pub use diff::{Change, ChangeKind, FirstDifference};
pub use discount::{Discount, DiscountRef};
pub use narrowing::{Customer, Features, Narrowing};
pub use problem::Problem;
pub use quote::{Quote, quote, quote_for};
pub use rater::{Charge, Part, Prices, RateError, Rated, Rater, Unpriced, Usage, shown_quantity};
pub use tax::{Tax, TaxRate};
pub use tiers::{Tier, TierKey, TierUse};
