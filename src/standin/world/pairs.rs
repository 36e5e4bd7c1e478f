//! Several key pairs of one user, as releases from 4.23 on have them. Read in CloudStack's source, not recorded.

use super::World;
use crate::{ids::CloudId, secrets::Secret, time::Timestamp};

/// One of a user's pairs.
#[derive(Debug, Clone)]
pub(crate) struct NamedPair {
    pub id: CloudId,
    pub user: CloudId,
    pub name: String,
    pub description: Option<String>,
    pub api_key: String,
    pub secret_key: Secret,
    pub end: Option<Timestamp>,
    pub created: Timestamp,
}

impl World {
    /// Makes this a release on which a user has several pairs. Pairs that users have already become the first of each.
    pub fn set_several_pairs(&mut self) {
        self.several_pairs = true;
        let old: Vec<(CloudId, String, String, Secret)> = self
            .users
            .iter()
            .filter(|user| user.removed.is_none())
            .filter_map(|user| Some((user.id, user.username.clone(), user.api_key.clone()?, user.secret_key.clone()?)))
            .collect();
        for (user, username, api_key, secret_key) in old {
            let (id, created) = (self.ids.id(), self.now);
            let name = format!("{username} - API Keypair");
            self.named_pairs.push(NamedPair {
                id,
                user,
                name,
                description: None,
                api_key,
                secret_key,
                end: None,
                created,
            });
        }
    }

    /// Gives a user one more pair, past the API.
    pub fn add_named_pair(&mut self, user: CloudId, name: &str, end: Option<Timestamp>) -> (CloudId, String, Secret) {
        let pair = NamedPair {
            id: self.ids.id(),
            user,
            name: name.to_owned(),
            description: None,
            api_key: self.ids.key(),
            secret_key: Secret::new(self.ids.key()),
            end,
            created: self.now,
        };
        self.api_keys.insert(pair.api_key.clone(), user);
        let shown = (pair.id, pair.api_key.clone(), pair.secret_key.clone());
        self.named_pairs.push(pair);
        shown
    }

    /// The names of a user's pairs, for stories.
    pub fn pair_names(&self, user: CloudId) -> Vec<String> {
        self.pairs_of(user).into_iter().map(|pair| pair.name).collect()
    }

    /// The secret behind a key, for stories that look for it where it must not be.
    pub fn secret_for_tests(&self, api_key: &str) -> Option<Secret> {
        self.api_keys.get(api_key).and_then(|user| self.secret_of(*user, api_key))
    }

    /// The public half of a user's only pair, for stories.
    pub fn api_key_for_tests(&self, username: &str) -> Option<String> {
        self.users.iter().find(|user| user.username == username).and_then(|user| user.api_key.clone())
    }

    pub(crate) fn pairs_of(&self, user: CloudId) -> Vec<NamedPair> {
        self.named_pairs.iter().filter(|pair| pair.user == user && !self.is_over(pair)).cloned().collect()
    }

    fn is_over(&self, pair: &NamedPair) -> bool {
        pair.end.is_some_and(|end| end <= self.now)
    }

    pub(crate) fn remove_pair(&mut self, id: CloudId) {
        let gone: Vec<NamedPair> = self.named_pairs.iter().filter(|pair| pair.id == id).cloned().collect();
        self.named_pairs.retain(|pair| pair.id != id);
        for pair in gone {
            self.api_keys.remove(&pair.api_key);
            if let Some(user) = self.users.get_mut(pair.user)
                && user.api_key.as_deref() == Some(pair.api_key.as_str())
            {
                user.api_key = None;
                user.secret_key = None;
            }
        }
    }

    /// The secret that a key signs with; None where the key is not, or no longer, one of this user's.
    pub(crate) fn secret_of(&self, user: CloudId, api_key: &str) -> Option<Secret> {
        if self.several_pairs {
            let pair = self.named_pairs.iter().find(|pair| pair.api_key == api_key && pair.user == user)?;
            return (!self.is_over(pair)).then(|| pair.secret_key.clone());
        }
        self.users.get(user).and_then(|user| user.secret_key.clone())
    }
}
