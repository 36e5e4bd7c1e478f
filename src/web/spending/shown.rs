//! Records as a page and as a file show them.

use chrono_tz::Tz;

use super::{records::Page, service, sheet};
use crate::{
    jobs::work::slug_of,
    time::Day,
    web::{tariffs, words},
};

/// The first line of a file of records.
pub(in crate::web) const HEAD: [&str; 10] =
    ["start", "end", "type", "resource", "name", "quantity", "bytes", "net", "price_line", "currency"];

/// A piece of a record on a page.
pub(in crate::web) struct RecordLine {
    pub(in crate::web) start: String,
    pub(in crate::web) end: String,
    pub(in crate::web) resource: String,
    pub(in crate::web) service: String,
    pub(in crate::web) quantity: String,
    pub(in crate::web) net: Option<String>,
    pub(in crate::web) why: String,
}

/// A day of which only the sum is kept.
pub(in crate::web) struct SumLine {
    pub(in crate::web) day: String,
    pub(in crate::web) resource: String,
    pub(in crate::web) service: String,
    pub(in crate::web) quantity: String,
    pub(in crate::web) records: i64,
}

/// The pieces of a page.
pub(in crate::web) fn records(found: &Page, zone: Tz) -> Vec<RecordLine> {
    let line = |piece: &super::records::Piece| RecordLine {
        start: piece.period.start().display_in(zone),
        end: piece.period.end().display_in(zone),
        resource: found.resource(piece.resource).1.to_owned(),
        service: service(piece.usage_type),
        quantity: tariffs::quantity(piece.usage_type, piece.quantity, piece.size_bytes),
        net: piece.net_nanos.map(tariffs::nanos),
        why: piece.why.clone(),
    };
    found.pieces.iter().map(line).collect()
}

/// The days of a page of which only the sum is kept.
pub(in crate::web) fn sums(found: &Page) -> Vec<SumLine> {
    let line = |row: &crate::store::spending::SumRow| SumLine {
        day: Day::from_number(row.day).to_string(),
        resource: if row.sum.name.is_empty() { row.sum.resource.clone() } else { row.sum.name.clone() },
        service: service(row.sum.usage_type),
        quantity: tariffs::quantity(row.sum.usage_type, row.sum.quantity, row.sum.size_bytes),
        records: row.sum.records,
    };
    found.sums.iter().map(line).collect()
}

/// A quantity as a plain number: hours with their decimals.
pub(in crate::web) fn plain(usage_type: i64, quantity: i64) -> String {
    crate::rating::shown_quantity(i32::try_from(usage_type).unwrap_or_default(), quantity).to_string()
}

/// The lines of a file, below [`HEAD`].
pub(in crate::web) fn rows(found: &Page, code: &str) -> Vec<Vec<String>> {
    let row = |(start, end): (String, String), kind: i64, (id, name): (&str, &str), (quantity, size), net, why| {
        let size = Option::map_or_else(size, String::new, |bytes: i64| bytes.to_string());
        let (id, name) = (sheet::text(id), sheet::text(name));
        vec![start, end, slug_of(kind), id, name, plain(kind, quantity), size, net, why, code.to_owned()]
    };
    let sums = found.sums.iter().map(|line| {
        let (day, sum) = (Day::from_number(line.day).to_string(), &line.sum);
        let thing = (sum.resource.as_str(), sum.name.as_str());
        let why = words::usage::SUMS.to_owned();
        row((day.clone(), day), sum.usage_type, thing, (sum.quantity, sum.size_bytes), String::new(), why)
    });
    let pieces = found.pieces.iter().map(|piece| {
        let time = (piece.period.start().to_string(), piece.period.end().to_string());
        let net = piece.net_nanos.map_or_else(String::new, tariffs::nanos);
        let (quantity, why) = ((piece.quantity, piece.size_bytes), sheet::text(&piece.why));
        row(time, piece.usage_type, found.resource(piece.resource), quantity, net, why)
    });
    sums.chain(pieces).collect()
}
