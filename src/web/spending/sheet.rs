//! Figures as a file for spreadsheets: exact amounts, and names that no spreadsheet takes for formulas.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use csv::{Terminator, WriterBuilder};

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

/// The file as an answer.
pub(in crate::web) fn answer(name: &[&str], head: &[&str], rows: &[Vec<String>]) -> Result<Response, Failure> {
    let mut csv = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(Vec::new());
    csv.write_record(head).map_err(|error| Failure::unexpected(&error))?;
    for row in rows {
        csv.write_record(row).map_err(|error| Failure::unexpected(&error))?;
    }
    let body = csv.into_inner().map_err(|error| Failure::unexpected(&error))?;
    let disposition = format!("attachment; filename=\"{}\"", file_name(name));
    let mut response = body.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    let disposition = HeaderValue::from_str(&disposition).map_err(|error| Failure::unexpected(&error))?;
    headers.insert(header::CONTENT_DISPOSITION, disposition);
    Ok(response)
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
