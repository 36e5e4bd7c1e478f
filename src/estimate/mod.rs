//! Live figures: what is running now costs since the last usage record, and where the month is going.
//!
//! Everything here is an **estimate** and is called so wherever it is shown. It is never part of Available or Used, and
//! enforcement does not know it: money moves by usage records alone. When the records of a span arrive they replace what
//! was estimated for it, and the difference is kept, so that everybody can see how good the estimates are.
//!
//! [`live`], [`price`] and [`forecast`] are pure. [`poll`] reads CloudStack's lists and stores what there is;
//! [`windows`] prices it by the very function that prices records.

pub mod forecast;
pub mod live;
pub mod poll;
pub mod price;
pub mod windows;
