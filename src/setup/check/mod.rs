//! Looks at everything that bursar stands on: configuration, data, prices, CloudStack, rights, usage, people.
//!
//! Promises: never ends early (what can still be looked at is), changes nothing, shows no secret. Each line that is not
//! in order says what to do.

mod cloud;
mod data;
mod mail;
mod people;
mod roles;
mod service;
mod settings;
mod sign_in;
#[cfg(test)]
mod tests;
mod usage;

use std::{fmt::Write as _, sync::Arc};

pub use super::{
    mounts::{Mount, local_file_system},
    report::{Area, CheckReport, Line, Verdict},
};
use crate::{cloudstack::Error, config::Config, random::SystemRandom, rating::PriceBook, time::Clock};

/// Most names in one line; the count says the rest.
const NAMES_SHOWN: usize = 8;

/// Looks at everything. Takes as long as CloudStack does for some sixty small calls.
pub async fn check(config: &Config, clock: Arc<dyn Clock>) -> CheckReport {
    let mut report = CheckReport::default();
    configuration(config, &mut report);
    data::look(config, &mut report).await;
    prices(config, &mut report);
    let by_issuers = Arc::clone(&clock);
    cloud::look(config, clock, &mut report).await;
    mail::look(config, &mut report).await;
    sign_in::look(config, by_issuers, &SystemRandom, &mut report).await;
    report
}

fn configuration(config: &Config, report: &mut CheckReport) {
    let area = Area::Configuration;
    report.add(Line::good(area, "configuration", "read, and every value is possible"));
    for warning in config.warnings() {
        report.add(
            Line::warning(area, "unwise", warning).with_way_out("`bursar config print` shows where a value comes from"),
        );
    }
}

fn prices(config: &Config, report: &mut CheckReport) {
    let (area, name) = (Area::Prices, "price book");
    let path = &config.billing.price_book;
    let shown = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let line = Line::bad(area, name, format!("there is none at {shown}, so nothing can be priced"));
            report.add(
                line.with_way_out("`bursar price init` writes one with the usage types this cloud has; set its prices"),
            );
            return;
        }
        Err(error) => {
            let line = Line::bad(area, name, format!("{shown} can not be read ({error})"));
            report.add(line.with_way_out("let bursar's user read it, or set [billing] price_book"));
            return;
        }
    };
    match PriceBook::parse(&text, config.billing.zone) {
        Ok(book) => {
            if let Some(problem) = book.currency_problem(&config.billing.currency) {
                let line = Line::bad(area, name, format!("{shown}: {problem}"));
                report.add(
                    line.with_way_out("set [billing] currency or the book's currency; one cloud has one currency"),
                );
                return;
            }
            let (count, currency) = (book.tariffs().len(), book.currency().code());
            let blank = book.tariffs().iter().filter(|tariff| tariff.price().is_none()).count();
            if blank == count {
                let line = Line::warning(area, name, format!("{shown} holds no price: nothing is charged"));
                report.add(line.with_way_out("set prices in it; `bursar preview` shows what they lead to"));
            } else if blank > 0 {
                let text = format!("{shown}, in {currency}: {blank} of {count} tariffs have no price yet");
                let line = Line::warning(area, name, text);
                report.add(line.with_way_out("set a price (\"0\" is one), or what they are for stays unpriced"));
            } else {
                report.add(Line::good(area, name, format!("{shown}, in {currency}, tariffs: {count}")));
            }
        }
        Err(problems) => {
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            let line = Line::bad(area, name, format!("{shown} has {} problems; {first}", problems.len()));
            report.add(line.with_way_out("correct them; the prices in effect stay as they are until then"));
        }
    }
}

/// Some names, and how many more there are.
fn some_of<T: AsRef<str>>(names: &[T]) -> String {
    let mut text = names.iter().take(NAMES_SHOWN).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    if names.len() > NAMES_SHOWN {
        let _ = write!(text, " and {} more", names.len() - NAMES_SHOWN);
    }
    text
}

/// What to do about a call that failed.
pub(crate) fn way_out(error: &Error) -> String {
    match error {
        Error::Retry { code: Some(429), .. } => "wait, or raise api.throttling.max in CloudStack".to_owned(),
        Error::Retry { code: Some(_), .. } => {
            "look at the management server and at what stands in front of it, then check again".to_owned()
        }
        Error::Retry { code: None, text, .. } | Error::Configuration { text } if text.contains("certificate") => {
            "name the authority's file in [cloudstack] ca_file".to_owned()
        }
        Error::Retry { code: None, .. } => {
            "is [cloudstack] url right, is CloudStack running, and does a firewall let this machine through?".to_owned()
        }
        Error::Malformed { .. } => {
            "set [cloudstack] url to the API itself, such as https://cloud.example.com/client/api".to_owned()
        }
        Error::Configuration { .. } => "correct it in [cloudstack], url or ca_file".to_owned(),
        Error::NotAllowed { .. } => {
            "give the service account's role a rule that allows it; see docs/install.md".to_owned()
        }
        // The client has measured it and says so.
        Error::Unauthorized { text, .. } if text.contains(" s apart") => {
            "set the clocks right first: run a time service (chrony, systemd-timesyncd) on both machines".to_owned()
        }
        Error::Unauthorized { .. } => {
            "sign in to CloudStack as administrator and look at the account, its user, its keys and api.key.access; \
             `bursar init --renew` makes new pairs"
                .to_owned()
        }
        Error::Refused { .. }
        | Error::Gone { .. }
        | Error::LimitReached { .. }
        | Error::SecondFactor { .. }
        | Error::Uncertain { .. } => "the management server's log has more".to_owned(),
    }
}
