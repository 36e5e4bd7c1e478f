//! Figures as a file for spreadsheets: exact amounts, and names that no spreadsheet takes for formulas.

use axum::{
    body::Body,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use csv::{Terminator, WriterBuilder};
use futures_util::{
    StreamExt as _,
    stream::{self, Stream},
};

use crate::web::error::Failure;

/// A cell that somebody else named. A spreadsheet takes what begins like a formula for one, so it gets an apostrophe.
pub(in crate::web) fn text(name: &str) -> String {
    let begins = name.trim_start_matches([' ', '\u{a0}', '\u{feff}']).chars().next();
    let is_formula =
        begins.is_some_and(|first| matches!(first, '=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '|' | '%'));
    if is_formula { format!("'{name}") } else { name.to_owned() }
}

/// A file name of what is safe in a header and on every system.
fn file_name(parts: &[&str]) -> String {
    let clean = |part: &&str| {
        let kept: String = part
            .chars()
            .map(|sign| if sign.is_ascii_alphanumeric() || sign == '-' { sign } else { '-' })
            .take(40)
            .collect();
        kept.trim_matches('-').to_owned()
    };
    let parts: Vec<String> = parts.iter().map(clean).filter(|part| !part.is_empty()).collect();
    format!("{}.csv", parts.join("_"))
}

fn lines<'r>(rows: impl IntoIterator<Item = &'r [String]>) -> Result<Vec<u8>, Failure> {
    let mut csv = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    for row in rows {
        csv.write_record(row).map_err(|error| Failure::unexpected(&error))?;
    }
    csv.into_inner().map_err(|error| Failure::unexpected(&error))
}

fn begun(head: &[&str], rows: &[Vec<String>]) -> Result<Vec<u8>, Failure> {
    let head: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
    lines(std::iter::once(head.as_slice()).chain(rows.iter().map(Vec::as_slice)))
}

fn named(name: &[&str], body: Body) -> Result<Response, Failure> {
    let disposition = format!("attachment; filename=\"{}\"", file_name(name));
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    let disposition = HeaderValue::from_str(&disposition).map_err(|error| Failure::unexpected(&error))?;
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    Ok(response)
}

/// The file as an answer.
pub(in crate::web) fn answer(name: &[&str], head: &[&str], rows: &[Vec<String>]) -> Result<Response, Failure> {
    named(name, Body::from(begun(head, rows)?))
}

/// A file whose end is not there yet: what follows is sent as it comes. Where that fails the answer breaks off, so that nobody
/// takes half of it for the whole.
pub(in crate::web) fn answer_on(
    name: &[&str],
    head: &[&str],
    rows: &[Vec<String>],
    rest: impl Stream<Item = Result<Vec<Vec<String>>, Failure>> + Send + 'static,
) -> Result<Response, Failure> {
    let first = stream::iter([begun(head, rows)]);
    let rest = rest.map(|rows| rows.and_then(|rows| lines(rows.iter().map(Vec::as_slice))));
    let all = first.chain(rest).map(|part| {
        part.map_err(|failure| {
            tracing::error!(?failure, "a file broke off");
            std::io::Error::other("the file broke off")
        })
    });
    named(name, Body::from_stream(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_never_a_formula() {
        for (name, cell) in [
            ("web-1", "web-1"),
            ("=HYPERLINK(\"https://evil.example.com\")", "'=HYPERLINK(\"https://evil.example.com\")"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@sum", "'@sum"),
            ("\t=1", "'\t=1"),
            (" =1", "' =1"),
            ("|cmd", "'|cmd"),
            ("", ""),
            ("ünïcode", "ünïcode"),
        ] {
            assert_eq!(text(name), cell);
        }
    }

    #[test]
    fn a_file_name_holds_letters_digits_and_hyphens() {
        assert_eq!(file_name(&["usage", "alice", "2026-11-01"]), "usage_alice_2026-11-01.csv");
        assert_eq!(file_name(&["usage", "a\"; x=\r\nSet-Cookie: y", "ü/../.."]), "usage_a---x---Set-Cookie--y.csv");
        assert_eq!(file_name(&[&"x".repeat(300)]).len(), 44);
    }
}
