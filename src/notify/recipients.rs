//! Who is written to for an account: its users in CloudStack, and whoever the configuration adds.

use std::collections::{BTreeMap, HashMap, hash_map::Entry};

use super::settings::MailSettings;
use crate::{
    email::EmailAddress,
    ids::AccountId,
    store::{StoreError, Tx, cloud, notify as rows},
};

/// Addresses of accounts, asked for once a pass.
#[derive(Debug, Default)]
pub(super) struct Recipients {
    known: HashMap<AccountId, (String, BTreeMap<String, EmailAddress>)>,
}

impl Recipients {
    /// The account's full name, and its addresses by person. Users without a usable address are left out, and users that
    /// only hold a key pair: nobody reads their mail.
    pub(super) async fn of(
        &mut self,
        tx: &mut Tx,
        account: AccountId,
        settings: &MailSettings,
    ) -> Result<&(String, BTreeMap<String, EmailAddress>), StoreError> {
        Ok(match self.known.entry(account) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(empty) => empty.insert(look_up(tx, account, settings).await?),
        })
    }
}

async fn look_up(
    tx: &mut Tx,
    id: AccountId,
    settings: &MailSettings,
) -> Result<(String, BTreeMap<String, EmailAddress>), StoreError> {
    let account = cloud::get_account(tx, id).await?;
    let mut addresses = BTreeMap::new();
    for (domain_path, name, address) in &settings.recipients {
        if *domain_path == account.domain_path && *name == account.name {
            addresses.insert(address.person(), address.clone());
        }
    }
    let prefix = settings.key_user_prefix.as_str();
    for person in rows::list_people(tx, id).await? {
        if !prefix.is_empty() && person.username.starts_with(prefix) {
            continue;
        }
        if let Ok(address) = EmailAddress::parse(&person.email)
            && address.looks_deliverable()
        {
            addresses.entry(address.person()).or_insert(address);
        }
    }
    Ok((account.full_name(), addresses))
}
