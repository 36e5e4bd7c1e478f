//! Addresses of the pages: what was asked for, kept and changed.

use crate::{
    jobs::work::slug_of,
    time::Day,
    web::{
        WebState,
        error::Failure,
        pages::Page,
        spending::{
            Ask, Line,
            groups::Key,
            period::{self, Span},
        },
    },
};

/// Where the records of a resource are, below the page.
pub(super) const RECORDS: &str = "/usage/records";

/// An address's query that asks for the same, changed by `set`; an empty value takes a key away.
pub(super) fn query(ask: &Ask, set: &[(&str, &str)]) -> String {
    let mut text = url::form_urlencoded::Serializer::new(String::new());
    for (key, value) in asked(ask).into_iter().filter(|(key, _)| !set.iter().any(|(changed, _)| changed == key)) {
        text.append_pair(key, &value);
    }
    for (key, value) in set.iter().filter(|(key, value)| !value.is_empty() || *key == "value") {
        text.append_pair(key, value);
    }
    text.finish()
}

/// What was asked for, without the page of a list.
pub(super) fn asked(ask: &Ask) -> Vec<(&'static str, String)> {
    let texts = [
        ("period", &ask.period),
        ("from", &ask.from),
        ("to", &ask.to),
        ("by", &ask.by),
        ("tag", &ask.tag),
        ("type", &ask.kind),
        ("machine", &ask.machine),
        ("project", &ask.project),
    ];
    let mut pairs: Vec<_> =
        texts.into_iter().filter(|(_, value)| !value.is_empty()).map(|(key, value)| (key, value.clone())).collect();
    pairs.extend(ask.value.as_ref().map(|value| ("value", value.clone())));
    pairs
}

/// The same time, and nothing else of what was asked.
pub(super) fn only_time(ask: &Ask) -> Ask {
    Ask { period: ask.period.clone(), from: ask.from.clone(), to: ask.to.clone(), ..Ask::default() }
}

pub(super) fn today(state: &WebState) -> Result<Day, Failure> {
    let now = state.app.clock.now();
    Day::of(now, state.app.config.billing.zone)
        .ok_or_else(|| Failure::unexpected(&format!("the clock says {now}, which is in no calendar")))
}

pub(super) fn strict_span(state: &WebState, ask: &Ask) -> Result<Span, Failure> {
    period::choose(ask, today(state)?).map_err(|mistake| Failure::bad(mistake.text))
}

/// One level down: what a line is made of.
pub(super) fn link(ask: &Ask, line: &Line, tag: &str) -> Option<String> {
    let lines = |set: &[(&str, &str)]| Some(format!("{}?{}#lines", Page::Usage.path(), query(ask, set)));
    let resources = |key: &str, value: &str| lines(&[("by", "resource"), (key, value)]);
    match &line.key {
        Key::Service(_) => resources("type", &line.id),
        Key::Machine(id) => resources("machine", id),
        Key::Project(_) | Key::NoProject => resources("project", &line.id),
        Key::Tag(_) | Key::NoTag if tag.is_empty() => None,
        Key::Tag(_) | Key::NoTag => lines(&[("by", "resource"), ("tag", tag), ("value", &line.id)]),
        Key::Resource(_, kind) => {
            let slug = slug_of(*kind);
            let records = query(&only_time(ask), &[("resource", &line.id), ("type", &slug)]);
            Some(format!("{RECORDS}?{records}"))
        }
        Key::NoMachine | Key::SummedUp(_) | Key::TooMany | Key::Other => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_what_was_asked_and_changes_what_is_set() {
        let ask = Ask {
            period: "2026-11".to_owned(),
            by: "tag".to_owned(),
            tag: "a&b".to_owned(),
            page: "3".to_owned(),
            value: Some(String::new()),
            ..Ask::default()
        };
        assert_eq!(query(&ask, &[("by", "resource")]), "period=2026-11&tag=a%26b&value=&by=resource");
        assert_eq!(query(&ask, &[("tag", ""), ("value", "=x")]), "period=2026-11&by=tag&value=%3Dx");
        assert_eq!(query(&Ask::default(), &[]), "");
    }
}
