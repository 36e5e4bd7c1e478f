//! A stand-in for CloudStack with usage in it, and a client of it.

use std::sync::Arc;

use anyhow::Context as _;
use serde_json::Value;

use super::{
    place::{Place, hour},
    rows::{Shape, row},
};
use crate::{
    cloudstack::{Client, ClientSettings, Credentials},
    ids::CloudId,
    random::SeededRandom,
    secrets::Secret,
    standin::{AccountKind, Options, RoleKind, StandIn, World},
    time::Timestamp,
};

/// What the sync asks for.
const COMMANDS: [&str; 4] = ["listUsageRecords", "listUsageServerMetrics", "listConfigurations", "listZones"];

/// Starts a stand-in with so many records of an hourly usage job; `rows_per_second` slows it to the speed of a real one.
pub(super) async fn start(
    place: &Place,
    shape: Shape,
    rows_per_second: Option<u32>,
    reads_at_once: usize,
) -> anyhow::Result<(StandIn, Client)> {
    let mut world = World::new(hour(0));
    world.set_configuration("usage.stats.job.aggregation.range", "60");
    let rules: Vec<(&str, bool)> = COMMANDS.iter().map(|api| (*api, true)).chain([("*", false)]).collect();
    let role = world.add_role("bench", RoleKind::Admin, &rules);
    let (api_key, secret_key) = world.add_service_account("bench", role);
    let root = world.find_domain("ROOT").context("no domain")?;
    let accounts: Vec<CloudId> = (0..shape.accounts)
        .map(|number| world.add_account(root, &format!("bench-{number}"), AccountKind::User))
        .collect();
    for (at, account, machine) in shape.all() {
        let owner = accounts.get(usize::try_from(account)?).copied().context("no account")?;
        let Value::Object(mut fields) = serde_json::to_value(row((at, account, machine)))? else { continue };
        // The stand-in says these itself.
        for own in ["account", "accountid", "domainid", "domain", "domainpath", "usage", "startdate", "enddate"] {
            fields.remove(own);
        }
        fields.retain(|_, value| !value.is_null());
        let end = Timestamp::from_ms(hour(at + 1).as_ms() - 1);
        world.push_usage_record(owner, 1, (hour(at), end), "1", fields);
    }
    world.close_usage_until(shape.end());
    let options = Options {
        clock: Arc::new(place.clock.clone()),
        random: Arc::new(SeededRandom::new(7)),
        usage_rows_per_second: rows_per_second,
        keep_usage_answers: rows_per_second.is_none(),
        ..Options::default()
    };
    let standin = StandIn::start(world, options).await?;
    let mut settings = ClientSettings::new(standin.url());
    settings.reads_at_once = reads_at_once;
    let credentials = Credentials { api_key: Secret::new(api_key), secret_key };
    let client = Client::new(settings, credentials, Arc::new(place.clock.clone()))?;
    Ok((standin, client))
}
