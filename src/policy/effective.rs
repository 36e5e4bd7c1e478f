//! Which policy applies to a payer: the cloud's default, over it its class, over it what an administrator set for it alone.

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    patch::{self, PolicyPatch},
    rules::Policy,
};

/// The default and the classes, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ladders {
    default: Policy,
    classes: BTreeMap<String, (PolicyPatch, Policy)>,
}

/// Where a value of an effective policy comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// `[policy]`, or the built-in default of a key.
    Default,
    /// The section of the payer's class.
    Class,
    /// Set for this payer alone.
    Own,
}

/// A key of an effective policy with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The key.
    pub key: &'static str,
    /// The value, as it would be written.
    pub value: String,
    /// Where it comes from.
    pub source: Source,
}

impl Ladders {
    /// Of a default and classes.
    pub fn new(default: Policy, classes: &BTreeMap<String, PolicyPatch>) -> Self {
        let classes =
            classes.iter().map(|(name, patch)| (name.clone(), (patch.clone(), patch.over(&default)))).collect();
        Self { default, classes }
    }

    /// What applies to everybody without a class.
    pub const fn default_policy(&self) -> &Policy {
        &self.default
    }

    /// Whether there is a section for a class.
    pub fn has_class(&self, name: &str) -> bool {
        self.classes.contains_key(name)
    }

    /// The names of the classes.
    pub fn class_names(&self) -> impl Iterator<Item = &str> {
        self.classes.keys().map(String::as_str)
    }

    /// The policy of a payer. A class without a section has no say.
    pub fn of(&self, class: Option<&str>, own: Option<&PolicyPatch>) -> Cow<'_, Policy> {
        let below = class.and_then(|class| self.classes.get(class)).map_or(&self.default, |(_, policy)| policy);
        match own.filter(|own| !own.is_empty()) {
            Some(own) => Cow::Owned(own.over(below)),
            None => Cow::Borrowed(below),
        }
    }

    /// The policy of a payer, key by key.
    pub fn explain(&self, class: Option<&str>, own: &PolicyPatch) -> Vec<Shown> {
        let policy = self.of(class, Some(own));
        let class = class.and_then(|class| self.classes.get(class)).map(|(patch, _)| patch);
        patch::KEYS
            .iter()
            .map(|key| Shown {
                key: key.name,
                value: key.show(&policy),
                source: if own.get(key.name).is_some() {
                    Source::Own
                } else if class.is_some_and(|class| class.get(key.name).is_some()) {
                    Source::Class
                } else {
                    Source::Default
                },
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_lies_over_the_default_and_an_own_value_over_the_class() {
        let patch = |values: &[(&str, &str)]| {
            let mut patch = PolicyPatch::default();
            for (key, value) in values {
                patch.set(key, value).unwrap();
            }
            patch
        };
        let gold = patch(&[("lock_after_days", "14"), ("warning_hours", "72")]);
        let ladders = Ladders::new(Policy::nothing(), &BTreeMap::from([("gold".to_owned(), gold)]));
        let own = patch(&[("warning_hours", "96")]);
        let shown = ladders.explain(Some("gold"), &own);
        let of =
            |key: &str| shown.iter().find(|shown| shown.key == key).map(|shown| (shown.value.as_str(), shown.source));
        assert_eq!(of("lock_after_days"), Some(("14", Source::Class)));
        assert_eq!(of("warning_hours"), Some(("96", Source::Own)));
        assert_eq!(of("respite_hours"), Some(("0", Source::Default)));
        assert_eq!(ladders.of(None, None).as_ref(), ladders.default_policy());
        assert_eq!(ladders.of(Some("silver"), None).as_ref(), ladders.default_policy(), "a class without a section");
        assert!(ladders.has_class("gold") && ladders.class_names().eq(["gold"]));
    }
}
