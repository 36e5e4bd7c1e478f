//! CloudStack's release and those of its settings that bursar stumbles over.

use super::{Area, CheckReport, Line, cloud::Found, way_out};
use crate::cloudstack::{Account, Error};

const AREA: Area = Area::Cloudstack;
/// The releases whose answers bursar knows.
const KNOWN_MINORS: std::ops::RangeInclusive<u32> = 18..=23;
/// The first release with several key pairs a user (facts 5).
const FIRST_KEY_PAIRS: (u32, u32, u32) = (4, 23, 0);
/// What lets every address in.
const ANYWHERE: [&str; 2] = ["0.0.0.0/0", "::/0"];

pub(super) async fn version(found: &Found<'_>, report: &mut CheckReport) {
    let Some(capabilities) = &found.capabilities else {
        report.add(Line::not_checked(AREA, "version", "the role does not allow listCapabilities"));
        return;
    };
    let version = &capabilities.version;
    report.add(match capabilities.release() {
        Some((4, minor, _)) if KNOWN_MINORS.contains(&minor) => Line::good(AREA, "version", version),
        _ => {
            Line::warning(AREA, "version", format!("{version} is not among those bursar is tried with (4.18 to 4.23)"))
                .with_way_out("try it on a copy first; bursar goes by what CloudStack says it can, not by its number")
        }
    });
    if capabilities.dynamic_roles == Some(false) {
        let text = "roles are fixed (dynamic.apichecker.enabled is false): service accounts can not be narrowed";
        report.add(Line::warning(AREA, "roles", text).with_way_out("turn dynamic roles on in CloudStack"));
    }
    if let Some(client) = &found.keys
        && let Ok(api) = client.api("deleteUserKeys").await
    {
        report.add(if api.is_some() {
            let text = if found.config.access.native_pairs {
                "a user may have several, and they are used; their APIs are known from CloudStack's source and were not tried"
            } else {
                "a user may have several; each key gets a user of its own all the same ([access] native_pairs)"
            };
            Line::good(AREA, "key pairs", text)
        } else if found.release() < FIRST_KEY_PAIRS {
            Line::good(AREA, "key pairs", "one a user: registering again replaces it")
        } else {
            let text = "this release has several a user, and the keys account's role does not allow deleteUserKeys";
            Line::warning(AREA, "key pairs", text).with_way_out("allow listUserKeys and deleteUserKeys in its role")
        });
    }
}

/// What one of CloudStack's settings says. Unset and unknown to the release are both None.
async fn setting(found: &Found<'_>, name: &str) -> Option<String> {
    found.reader.configuration(name).await.ok().flatten().map(|value| value.trim().to_owned())
}

async fn is_on(found: &Found<'_>, name: &str) -> bool {
    setting(found, name).await.is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// Looks at the settings; false where they can not be read.
pub(super) async fn look(found: &Found<'_>, report: &mut CheckReport) -> bool {
    servers(found, report).await;
    match found.reader.configuration("encode.api.response").await {
        Ok(Some(value)) if value.trim().eq_ignore_ascii_case("true") => report.add(
            Line::bad(AREA, "encode.api.response", "is true: names come encoded, and bursar can not match them")
                .with_way_out("set it to false in CloudStack's global settings"),
        ),
        Ok(_) => {}
        Err(error) => {
            unreadable(&error, report);
            return false;
        }
    }
    if is_on(found, "api.throttling.enabled").await {
        let max = setting(found, "api.throttling.max").await.unwrap_or_else(|| "25".to_owned());
        let text = format!("on ({max} calls an interval); accounts of type Admin are exempt, others make bursar wait");
        report.add(Line::good(AREA, "throttling", text));
    }
    if is_on(found, "enforce.post.requests.and.timestamps").await {
        report.add(Line::good(
            AREA,
            "signed times",
            "CloudStack insists on POST and expiry, which bursar always sends",
        ));
    }
    if setting(found, "api.key.access").await.is_some_and(|value| value.eq_ignore_ascii_case("false")) {
        let text = "is false: keys work only for users whose own API key access is enabled";
        report.add(
            Line::warning(AREA, "api.key.access", text)
                .with_way_out("keep each service account's user at enabled; keys handed to tenants need it too"),
        );
    }
    addresses(found, report).await;
    quota(found, report).await;
    true
}

fn unreadable(error: &Error, report: &mut CheckReport) {
    let way_out = if matches!(error, Error::NotAllowed { .. }) {
        "allow listConfigurations in the role for a fuller check".to_owned()
    } else {
        way_out(error)
    };
    report.add(Line::not_checked(AREA, "settings", format!("can not be read: {error}")).with_way_out(way_out));
    let text = "CloudStack's settings can not be read, so nobody knows whether it locks accounts too";
    report.add(
        Line::not_checked(Area::Enforcement, "quota plugin", text)
            .with_way_out("look at quota.enable.enforcement in CloudStack before you arm enforcement"),
    );
}

async fn servers(found: &Found<'_>, report: &mut CheckReport) {
    let name = "management servers";
    match found.reader.management_servers().await {
        Ok(Some(count)) if count > 1 => {
            let line = if found.config.web.trusted_affinity_cookies.is_empty() {
                let text = format!("{count}: a person's session lives on one of them, so signing in works by chance");
                Line::warning(AREA, name, text)
                    .with_way_out("name the load balancer's cookie in [web] trusted_affinity_cookies")
            } else {
                let text = format!("{count}, and sessions follow the load balancer's cookie");
                Line::good(AREA, name, text)
            };
            report.add(line);
        }
        Ok(Some(_)) => report.add(Line::good(AREA, name, "one")),
        Ok(None) => report.add(Line::not_checked(AREA, name, "the role does not allow listManagementServers")),
        Err(error) => report.add(Line::not_checked(AREA, name, error.to_string())),
    }
}

/// From which addresses the service accounts may call. That they may from here is known by now.
async fn addresses(found: &Found<'_>, report: &mut CheckReport) {
    let name = "api.allowed.source.cidr.list";
    let own: Option<&Account> = found.user_of(&found.reader_key).and_then(|user| found.account_of(user));
    let of_account = match own {
        Some(account) => found.reader.account_configuration(name, account.id).await.ok().flatten(),
        None => None,
    };
    let value = match of_account {
        Some(value) => value,
        None => match setting(found, name).await {
            Some(value) => value,
            None => return,
        },
    };
    let listed: Vec<&str> = value.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
    // Nothing listed is no limit (facts 2.2).
    if listed.is_empty() || ANYWHERE.iter().any(|anywhere| listed.contains(anywhere)) {
        report.add(Line::good(AREA, "allowed addresses", "any"));
    } else {
        let text = format!("{} only ({name}); this machine is among them", listed.join(", "));
        report.add(
            Line::warning(AREA, "allowed addresses", text)
                .with_way_out("before bursar moves to another address, add that one to the list"),
        );
    }
}

async fn quota(found: &Found<'_>, report: &mut CheckReport) {
    let name = "quota plugin";
    let area = Area::Enforcement;
    let state = (found.reader.quota_is_enabled().await, found.reader.quota_enforcing().await);
    report.add(match state {
        (Ok(true), Ok(true)) => {
            let text = "it locks accounts by itself, so `bursar enforce arm` is refused: two would lock and unlock against \
                        each other, and its credits would lift bursar's locks";
            Line::bad(area, name, text)
                .with_way_out("set quota.enable.enforcement = false in CloudStack and restart its usage server")
        }
        (Ok(true), Ok(false)) => Line::good(area, name, "on, and locks nobody: bursar may"),
        (Ok(false), Ok(true)) => {
            let text = "off, but set to lock accounts as soon as somebody turns it on";
            Line::warning(area, name, text).with_way_out("set quota.enable.enforcement = false in CloudStack")
        }
        (Ok(false), Ok(false)) => Line::good(area, name, "off"),
        (Err(error), _) | (_, Err(error)) => Line::not_checked(area, name, error.to_string()).with_way_out(way_out(&error)),
    });
}
