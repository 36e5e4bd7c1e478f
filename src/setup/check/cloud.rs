//! CloudStack: whether it answers, whose clock is right, and which service accounts it accepts. The rest is looked at with
//! the first account that it accepts.

use std::sync::Arc;

use super::{Area, CheckReport, Line, people, service, settings, usage, way_out};
use crate::{
    cloudstack::{self, Account, Capabilities, Client, Credentials, Domain, Error, User},
    config::{Config, KeyPair},
    jobs::app::{self, Role},
    secrets::Secret,
    time::{Clock, Timestamp},
};

/// A check is read by a waiting person: one more try, not a row of pauses.
const READ_RETRIES: u32 = 1;
/// From here on the clocks are told of.
const SKEW_WARNING_S: u64 = 60;
/// From here on signatures are in danger: they expire ten minutes ahead, and CloudStack may take fifteen at most.
const SKEW_BAD_S: u64 = 300;

const AREA: Area = Area::Cloudstack;
/// All service accounts, the one that reads best first.
pub(super) const ROLES: [Role; 3] = [Role::Reader, Role::Enforcer, Role::Keys];

/// A service account as CloudStack took it.
pub(super) struct Service {
    pub(super) role: Role,
    pub(super) client: Client,
    pub(super) api_key: Secret,
    /// Whether its key is accepted; the error otherwise.
    pub(super) accepted: Result<(), Error>,
}

/// What was found out with an accepted account.
pub(super) struct Found<'a> {
    pub(super) config: &'a Config,
    pub(super) now: Timestamp,
    /// The account that reads.
    pub(super) reader: Client,
    /// Its API key.
    pub(super) reader_key: Secret,
    /// The account behind API access, if its key is accepted.
    pub(super) keys: Option<Client>,
    pub(super) capabilities: Option<Capabilities>,
    pub(super) accounts: Vec<Account>,
    pub(super) users: Vec<User>,
    pub(super) domains: Vec<Domain>,
}

impl Found<'_> {
    /// A user of this API key. Releases that keep keys apart do not show it.
    pub(super) fn user_of(&self, api_key: &Secret) -> Option<&User> {
        self.users.iter().find(|user| user.api_key.as_ref().is_some_and(|key| key.matches(api_key.expose())))
    }

    pub(super) fn account_of(&self, user: &User) -> Option<&Account> {
        self.accounts.iter().find(|account| {
            Some(account.id) == user.account_id
                || (user.account_id.is_none()
                    && user.account.as_deref() == Some(account.name.as_str())
                    && user.domain_id == Some(account.domain_id))
        })
    }

    /// Major, minor, patch; zeros where it is not known.
    pub(super) fn release(&self) -> (u32, u32, u32) {
        self.capabilities.as_ref().and_then(Capabilities::release).unwrap_or_default()
    }
}

/// As people name an account.
pub(super) fn full_name(account: &Account) -> String {
    format!("{}/{}", account.domain_path.as_deref().or(account.domain.as_deref()).unwrap_or("?"), account.name)
}

pub(super) async fn look(config: &Config, clock: Arc<dyn Clock>, report: &mut CheckReport) {
    let Some(services) = reach(config, &clock, report).await else {
        let why = "CloudStack does not answer, see above";
        for (area, name) in [
            (Area::ServiceAccounts, "keys and rights"),
            (Area::Usage, "usage job"),
            (Area::Enforcement, "quota plugin"),
            (Area::People, "accounts and people"),
        ] {
            report.add(Line::not_checked(area, name, why));
        }
        return;
    };
    let reader = services.iter().find(|service| service.accepted.is_ok());
    let Some(reader) = reader else {
        service::look(config, &services, None, report).await;
        let why = "no key pair works, see above";
        for (area, name) in
            [(Area::Usage, "usage job"), (Area::Enforcement, "quota plugin"), (Area::People, "accounts and people")]
        {
            report.add(Line::not_checked(area, name, why));
        }
        return;
    };
    let keys = services.iter().find(|service| service.role == Role::Keys && service.accepted.is_ok());
    let found = find_out(config, clock.now(), reader, keys, report).await;
    settings::version(&found, report).await;
    service::look(config, &services, Some(&found), report).await;
    let listed = settings::look(&found, report).await;
    usage::look(&found, listed, report).await;
    people::look(&found, &services, report).await;
}

/// Whether CloudStack answers at all. None: it does not, and nothing further can be asked.
async fn reach(config: &Config, clock: &Arc<dyn Clock>, report: &mut CheckReport) -> Option<Vec<Service>> {
    let name = "reached";
    // Without any pair one that nobody has will do: CloudStack itself refuses it.
    let unset = KeyPair { api_key: Secret::new("not-set"), secret_key: Secret::new("not-set") };
    let pair = ROLES.iter().find_map(|role| pair_of(config, *role)).unwrap_or(&unset);
    let made = client(config, pair, clock);
    let (probe, url) = match (made, &config.cloudstack.url) {
        (Ok(probe), Some(url)) => (probe, url),
        (Err(Unusable::NoUrl(text)), _) => {
            report.add(
                Line::bad(AREA, name, text)
                    .with_way_out("`bursar init https://cloud.example.com` makes accounts and configuration"),
            );
            return None;
        }
        (Err(Unusable::Client(error)), _) => {
            report.add(Line::bad(AREA, name, error.to_string()).with_way_out(way_out(&error)));
            return None;
        }
        (Ok(_), None) => return None,
    };
    let skew = probe.measure_clock_skew().await;
    let skew = match skew {
        Ok(skew) => skew,
        Err(error) => {
            report.add(Line::bad(AREA, name, format!("{url}: {error}")).with_way_out(way_out(&error)));
            return None;
        }
    };
    // A refused key is a sign of CloudStack, too.
    match probe.capabilities().await {
        Ok(_) | Err(Error::Unauthorized { .. } | Error::NotAllowed { .. }) => {
            report.add(Line::good(AREA, name, format!("{url} answers")));
        }
        Err(error) => {
            report.add(Line::bad(AREA, name, format!("{url}: {error}")).with_way_out(way_out(&error)));
            return None;
        }
    }
    report.add(clocks(skew));
    let mut services = Vec::new();
    for role in ROLES {
        let pair = pair_of(config, role);
        let Some((pair, Ok(client))) = pair.map(|pair| (pair, client(config, pair, clock))) else { continue };
        let accepted = match client.capabilities().await {
            // Denied by the role: the key itself is good.
            Ok(_) | Err(Error::NotAllowed { .. }) => Ok(()),
            Err(error) => Err(error),
        };
        services.push(Service { role, client, api_key: pair.api_key.clone(), accepted });
    }
    Some(services)
}

fn pair_of(config: &Config, role: Role) -> Option<&KeyPair> {
    match role {
        Role::Reader => config.cloudstack.reader.as_ref(),
        Role::Enforcer => config.cloudstack.enforcer.as_ref(),
        Role::Keys => config.cloudstack.keys.as_ref(),
    }
}

enum Unusable {
    NoUrl(String),
    Client(Error),
}

fn client(config: &Config, pair: &KeyPair, clock: &Arc<dyn Clock>) -> Result<Client, Unusable> {
    let mut settings = app::client_settings(config).map_err(|error| Unusable::NoUrl(error.to_string()))?;
    settings.read_retries = settings.read_retries.min(READ_RETRIES);
    let credentials = Credentials { api_key: pair.api_key.clone(), secret_key: pair.secret_key.clone() };
    Client::new(settings, credentials, Arc::clone(clock)).map_err(Unusable::Client)
}

/// What the difference of the clocks means; positive: CloudStack is ahead.
fn clocks(skew_s: Option<i64>) -> Line {
    let name = "clocks";
    let Some(skew) = skew_s else {
        return Line::not_checked(
            AREA,
            name,
            "CloudStack takes the key by no clock of three weeks, or by each of them",
        );
    };
    let apart = skew.unsigned_abs();
    let ahead = if skew > 0 { "CloudStack's clock is ahead" } else { "this machine's clock is ahead" };
    let way_out = "run a time service (chrony, systemd-timesyncd) on both machines";
    if apart > SKEW_BAD_S {
        let text = format!(
            "{apart} s apart ({ahead}): signatures last 10 minutes, and CloudStack takes them for expired or too far ahead"
        );
        Line::bad(AREA, name, text).with_way_out(way_out)
    } else if apart > SKEW_WARNING_S {
        Line::warning(AREA, name, format!("{apart} s apart ({ahead})")).with_way_out(way_out)
    } else {
        Line::good(AREA, name, "less than a minute apart")
    }
}

/// Lists what several checks need. A list that fails is told once and stays empty.
async fn find_out<'a>(
    config: &'a Config,
    now: Timestamp,
    reader: &Service,
    keys: Option<&Service>,
    report: &mut CheckReport,
) -> Found<'a> {
    let client = reader.client.clone();
    Found {
        config,
        now,
        reader_key: reader.api_key.clone(),
        keys: keys.map(|service| service.client.clone()),
        capabilities: client.capabilities().await.ok(),
        accounts: listed("accounts", client.list_accounts().await, report),
        users: listed("users", client.list_users().await, report),
        domains: listed("domains", client.list_domains().await, report),
        reader: client,
    }
}

fn listed<T>(what: &str, listing: Result<cloudstack::Listing<T>, Error>, report: &mut CheckReport) -> Vec<T> {
    match listing {
        Ok(listing) => {
            if listing.unreadable > 0 {
                let text =
                    format!("{} {what} in CloudStack's answer can not be read and are left out", listing.unreadable);
                report.add(Line::warning(Area::People, what, text).with_way_out("please report it with the release"));
            }
            listing.items
        }
        Err(error) => {
            let line = Line::bad(Area::People, what, format!("can not be listed: {error}"));
            report.add(line.with_way_out(way_out(&error)));
            Vec::new()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::report::Verdict;

    #[test]
    fn clocks_may_differ_a_minute_and_must_not_differ_five() {
        for (skew, verdict) in [
            (Some(0), Verdict::Good),
            (Some(-60), Verdict::Good),
            (Some(61), Verdict::Warning),
            (Some(-300), Verdict::Warning),
            (Some(301), Verdict::Bad),
            (Some(i64::MIN), Verdict::Bad),
            (None, Verdict::NotChecked),
        ] {
            assert_eq!(clocks(skew).verdict, verdict, "{skew:?}");
        }
        assert!(clocks(Some(3600)).text.contains("CloudStack's clock is ahead"));
        assert!(clocks(Some(-3600)).text.contains("this machine's clock is ahead"));
    }
}
