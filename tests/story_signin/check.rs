//! What `bursar check` finds out about OpenID issuers before anybody signs in.

use bursar::setup::check::{self, Area, Line, Verdict};

use super::*;
use crate::harness::oidc::Fault;

impl Place {
    /// The lines about one issuer.
    async fn told_of(&self, name: &str) -> Vec<Line> {
        let report = check::check(&self.cloud.app.config, Arc::new(self.cloud.clock.clone())).await;
        report.lines.into_iter().filter(|line| line.area == Area::SignIn && line.name == name).collect()
    }

    async fn one_of(&self, name: &str) -> (Verdict, String) {
        let lines = self.told_of(name).await;
        assert_eq!(lines.len(), 1, "{lines:?}");
        (lines[0].verdict, format!("{} {}", lines[0].text, lines[0].way_out.clone().unwrap_or_default()))
    }
}

#[tokio::test]
async fn an_issuer_that_answers_and_knows_the_client_is_in_order() {
    for signs in [Signs::Rs256, Signs::Es256] {
        let place = Place::open_signing(Database::sqlite(), signs, &[], people_of_the_cloud).await;
        for name in ["corp", "public"] {
            let (verdict, text) = place.one_of(name).await;
            assert!(verdict == Verdict::Good && text.contains("its keys are taken (1)"), "{signs:?} {name}: {text}");
        }
        assert!(!place.corp.exchanges().contains(&true), "nobody was signed in");
    }
}

#[tokio::test]
async fn what_would_keep_people_out_is_told_with_a_way_out() {
    let settings = [("OIDC_CORP_CLIENT_SECRET", "an-old-secret"), ("OIDC_PUBLIC_SCOPES", "email,groups")];
    let place = Place::open_with(Database::sqlite(), &settings, people_of_the_cloud).await;
    let (verdict, text) = place.one_of("corp").await;
    assert!(verdict == Verdict::Bad && text.contains("invalid_client"), "{text}");
    assert!(text.contains(&place.at("/sign-in/corp/callback")), "the address to register: {text}");
    assert!(!text.contains("an-old-secret"), "{text}");
    let (verdict, text) = place.one_of("public").await;
    assert!(verdict == Verdict::Warning && text.contains("the scopes groups"), "{text}");

    for (fault, verdict, says) in [
        (Fault::ServerError, Verdict::Bad, "did not answer"),
        (Fault::NoSense, Verdict::Bad, "can not be believed"),
        (Fault::DiscoveryOfAnother, Verdict::Bad, "can not be believed"),
        (Fault::TooLong, Verdict::Bad, "too long"),
    ] {
        place.public.fault(fault);
        let (found, text) = place.one_of("public").await;
        assert!(found == verdict && text.contains(says), "{fault:?}: {text}");
    }
    place.public.fault(Fault::NoKeys);
    let lines = place.told_of("public").await;
    assert!(lines[0].verdict == Verdict::Bad && lines[0].text.contains("no key"), "{lines:?}");
}
