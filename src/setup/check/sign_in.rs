//! Whether each OpenID issuer can sign people in: it answers, with keys that are taken, and knows bursar as its client.

use super::{Area, CheckReport, Line, some_of};
use crate::{
    config::Config,
    people::oidc::{self, ClientWord, Issuers},
    random::RandomSource,
};
use std::sync::Arc;

const AREA: Area = Area::SignIn;

pub(super) async fn look(
    config: &Config,
    clock: Arc<dyn crate::time::Clock>,
    random: &dyn RandomSource,
    report: &mut CheckReport,
) {
    let Some(address) = config.web.address() else { return };
    let issuers = Issuers::new(&config.oidc, clock);
    for issuer in issuers.list() {
        let redirect = format!("{address}/sign-in/{}/callback", issuer.name);
        match issuers.look(&issuer.name, &redirect, random).await {
            Ok(outlook) => tell(&issuer.name, &issuer.issuer, &redirect, &outlook, report),
            Err(error) => {
                let line = Line::bad(AREA, &issuer.name, format!("{}: {error}", issuer.issuer));
                report.add(line.with_way_out(match error {
                    oidc::Error::Silent(_) => {
                        "does a firewall let this machine through to it, and is ca_file needed? Nobody can sign in by it until it answers"
                    }
                    _ => "[oidc.NAME] issuer is the issuer exactly as its discovery document names it, without that document's path",
                }));
            }
        }
    }
}

fn tell(name: &str, issuer: &str, redirect: &str, outlook: &oidc::Outlook, report: &mut CheckReport) {
    let mut fine = true;
    let mut add = |line: Line| {
        fine = false;
        report.add(line);
    };
    if outlook.keys == 0 {
        let text = format!("{issuer} has no key of a kind that is taken: nobody can be signed in");
        add(Line::bad(AREA, name, text)
            .with_way_out("let it sign identity tokens by RS256, ES256, ES384, PS256 or EdDSA with a key of its own"));
    }
    if !outlook.unknown_scopes.is_empty() {
        let text = format!("{issuer} does not offer the scopes {}", some_of(&outlook.unknown_scopes));
        add(Line::warning(AREA, name, text)
            .with_way_out("correct [oidc.NAME] scopes; without email no address is told"));
    }
    match &outlook.client {
        ClientWord::Refused(why) => {
            let text = format!("{issuer} does not know the client, or not by this secret ({why})");
            add(Line::bad(AREA, name, text).with_way_out(format!(
                "compare client_id and client_secret with what is registered there, with the redirect address {redirect}"
            )));
        }
        ClientWord::Untold(why) => {
            let text = format!("{issuer} answers, but did not tell whether it knows the client ({why})");
            add(Line::not_checked(AREA, name, text).with_way_out("sign in once"));
        }
        ClientWord::Known => {}
    }
    if fine {
        let text = format!("{issuer} answers, its keys are taken ({}), and it knows the client", outlook.keys);
        report.add(Line::good(AREA, name, text));
    }
}
