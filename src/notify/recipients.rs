//! Who is written to for an account: its users in CloudStack, and whoever the configuration adds.

use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry};

use super::settings::MailSettings;
use crate::{
    email::EmailAddress,
    ids::AccountId,
    policy::Wishes,
    store::{StoreError, Tx, cloud, notice_wishes, notify as rows},
};

/// Somebody who is written to.
#[derive(Debug, Clone)]
pub(super) struct Recipient {
    pub(super) address: EmailAddress,
    /// What each user behind the address said; several may share one. Empty: nobody could say anything.
    wishes: Vec<Wishes>,
    /// CloudStack's ids of the users behind the address; empty: the configuration names it alone.
    users: Vec<String>,
}

impl Recipient {
    /// Whether an event goes to this address: whoever behind it wants it decides.
    pub(super) fn wants(&self, event: &str, noticed: &BTreeSet<String>) -> bool {
        if self.wishes.is_empty() {
            return Wishes::default().wants(event, noticed);
        }
        self.wishes.iter().any(|wishes| wishes.wants(event, noticed))
    }

    /// Whether one of the users behind the address is none of `others`.
    pub(super) fn is_more_than(&self, others: &BTreeSet<String>) -> bool {
        self.users.iter().any(|user| !others.contains(user))
    }
}

/// Addresses of accounts, asked for once a pass.
#[derive(Debug, Default)]
pub(super) struct Recipients {
    known: HashMap<AccountId, (String, BTreeMap<String, Recipient>)>,
}

impl Recipients {
    /// The account's full name, and its addresses by person. Users without a usable address are left out, and users that
    /// only hold a key pair: nobody reads their mail.
    pub(super) async fn of(
        &mut self,
        tx: &mut Tx,
        account: AccountId,
        settings: &MailSettings,
    ) -> Result<&(String, BTreeMap<String, Recipient>), StoreError> {
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
) -> Result<(String, BTreeMap<String, Recipient>), StoreError> {
    let account = cloud::get_account(tx, id).await?;
    let mut addresses = BTreeMap::new();
    for (domain_path, name, address) in &settings.recipients {
        if *domain_path == account.domain_path && *name == account.name {
            let recipient = Recipient { address: address.clone(), wishes: Vec::new(), users: Vec::new() };
            addresses.insert(address.person(), recipient);
        }
    }
    let mut said = notice_wishes::list_wishes(tx, id).await?;
    let prefix = settings.key_user_prefix.as_str();
    for person in rows::list_people(tx, id).await? {
        if !prefix.is_empty() && person.username.starts_with(prefix) {
            continue;
        }
        if let Ok(address) = EmailAddress::parse(&person.email)
            && address.looks_deliverable()
        {
            let wishes = said.remove(&person.cloud_id).unwrap_or_default();
            let recipient = addresses.entry(address.person()).or_insert_with(|| Recipient {
                address,
                wishes: Vec::new(),
                users: Vec::new(),
            });
            recipient.wishes.push(wishes);
            recipient.users.push(person.cloud_id);
        }
    }
    Ok((account.full_name(), addresses))
}
