//! For whom and for what a line of the price book is: its narrowing, when it fits, and which of several is the most
//! specific.
//!
//! The order of kinds is total and written down once, in [`Rank`]: of two lines that fit the same record, the one that
//! names the earlier kind which the other lacks counts.

use std::{collections::HashMap, fmt};

/// Who uses: an account, its payer and where it lives. The default is nobody in particular, for whom general prices hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Customer {
    /// The payer's name.
    pub payer: String,
    /// `CloudStack`'s id of the account.
    pub account_id: String,
    /// `CloudStack`'s ids of its domain (first) and of every domain above, up to the root (last).
    pub domain_ids: Vec<String>,
    /// The domain's path, such as `ROOT/acme`.
    pub domain_path: String,
}

/// What is known of a thing besides its type and quantity. What is not known fits no line that asks for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features<'f> {
    /// The service, disk or network offering's id.
    pub offering: Option<&'f str>,
    /// The zone's id.
    pub zone: Option<&'f str>,
    /// The template's id.
    pub template: Option<&'f str>,
    /// The OS type's id.
    pub os_type: Option<&'f str>,
    /// CPUs.
    pub cpu_number: Option<i64>,
    /// Memory in MiB.
    pub memory_mib: Option<i64>,
    /// Resource tags, each key once.
    pub tags: &'f [(String, String)],
}

/// A domain with everything below it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Domain {
    /// By `CloudStack`'s id.
    Id(String),
    /// By path from the root, `ROOT/acme`.
    Path(String),
}

/// A resource tag.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// Its key.
    pub key: String,
    /// Its value; None for any.
    pub value: Option<String>,
}

/// Sizes from a number on, up to below another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Range {
    /// The smallest size.
    pub from: i64,
    /// The first size beyond; None for no end.
    pub below: Option<i64>,
}

impl Range {
    fn contains(self, size: i64) -> bool {
        self.from <= size && self.below.is_none_or(|below| size < below)
    }

    fn overlaps(self, other: Self) -> bool {
        self.below.is_none_or(|below| other.from < below) && other.below.is_none_or(|below| self.from < below)
    }

    fn words(self, what: &str) -> String {
        match (self.from, self.below) {
            (from, None) => format!("{what} from {from}"),
            (0, Some(below)) => format!("{what} below {below}"),
            (from, Some(below)) => format!("{what} from {from} to below {below}"),
        }
    }
}

/// What a line of the book is narrowed to; nothing for all.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Narrowing {
    /// One account, by `CloudStack`'s id.
    pub account: Option<String>,
    /// One payer, by name.
    pub payer: Option<String>,
    /// A domain with its children.
    pub domain: Option<Domain>,
    /// Things with a tag.
    pub tag: Option<Tag>,
    /// Things made from a template.
    pub template: Option<String>,
    /// One service, disk or network offering.
    pub offering: Option<String>,
    /// Machines of an OS type.
    pub os_type: Option<String>,
    /// Machines with so many CPUs.
    pub cpu: Option<Range>,
    /// Machines with so much memory, MiB.
    pub memory_mib: Option<Range>,
    /// One zone.
    pub zone: Option<String>,
}

/// How specific a narrowing is: higher is more.
///
/// From the strongest kind to the weakest: account, payer, domain (deeper before shallower), tag (with a value before the
/// key alone), template, offering, OS type, CPUs, memory, zone. First who, then what, then where. Each kind weighs more than all after
/// it together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(u32);

/// Domains deeper than this count alike; `CloudStack`'s paths end long before (255 letters).
const MAX_DEPTH: usize = 255;

impl Rank {
    fn of(narrowing: &Narrowing, depth: usize) -> Self {
        let tag = narrowing.tag.as_ref().map_or(0, |tag| if tag.value.is_some() { 2 } else { 1 });
        let depth = u32::try_from(depth.min(MAX_DEPTH)).unwrap_or(u32::MAX);
        let kinds = [
            (1, u32::from(narrowing.account.is_some())),
            (1, u32::from(narrowing.payer.is_some())),
            (8, depth),
            (2, tag),
            (1, u32::from(narrowing.template.is_some())),
            (1, u32::from(narrowing.offering.is_some())),
            (1, u32::from(narrowing.os_type.is_some())),
            (1, u32::from(narrowing.cpu.is_some())),
            (1, u32::from(narrowing.memory_mib.is_some())),
            (1, u32::from(narrowing.zone.is_some())),
        ];
        Self(kinds.into_iter().fold(0, |rank, (bits, value)| (rank << bits) | value))
    }
}

impl Domain {
    /// How deep the domain lies, from 1 for the root, if the customer is in it or below.
    fn depth_of(&self, customer: &Customer) -> Option<usize> {
        match self {
            Self::Id(id) => {
                let above = customer.domain_ids.iter().position(|own| own == id)?;
                customer.domain_ids.len().checked_sub(above)
            }
            Self::Path(path) => customer
                .domain_path
                .strip_prefix(path.as_str())
                .filter(|rest| rest.is_empty() || rest.starts_with('/'))
                .map(|_| path.split('/').count()),
        }
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Id(text) | Self::Path(text)) = self;
        f.write_str(text)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        self.value.as_ref().map_or(Ok(()), |value| write!(f, "={value}"))
    }
}

fn fits(wanted: Option<&String>, found: Option<&str>) -> bool {
    wanted.is_none_or(|wanted| found == Some(wanted.as_str()))
}

fn fits_range(wanted: Option<Range>, found: Option<i64>) -> bool {
    wanted.is_none_or(|wanted| found.is_some_and(|found| wanted.contains(found)))
}

impl Narrowing {
    /// Whether it is for everybody and everything.
    pub fn is_general(&self) -> bool {
        *self == Self::default()
    }

    /// How specific it is for that customer, if it fits the customer.
    pub(super) fn rank_for(&self, customer: &Customer) -> Option<Rank> {
        let fits =
            fits(self.account.as_ref(), Some(&customer.account_id)) && fits(self.payer.as_ref(), Some(&customer.payer));
        let depth = match &self.domain {
            None => 0,
            Some(domain) => domain.depth_of(customer)?,
        };
        fits.then(|| Rank::of(self, depth))
    }

    /// How specific it is for a customer's thing, if it fits both.
    pub(super) fn rank(&self, customer: &Customer, features: &Features<'_>) -> Option<Rank> {
        let fits = fits(self.offering.as_ref(), features.offering)
            && fits(self.zone.as_ref(), features.zone)
            && fits(self.template.as_ref(), features.template)
            && fits(self.os_type.as_ref(), features.os_type)
            && fits_range(self.cpu, features.cpu_number)
            && fits_range(self.memory_mib, features.memory_mib)
            && self.tag.as_ref().is_none_or(|tag| {
                let has = |(key, value): &(String, String)| {
                    *key == tag.key && tag.value.as_ref().is_none_or(|wanted| wanted == value)
                };
                features.tags.iter().any(has)
            });
        if fits { self.rank_for(customer) } else { None }
    }

    /// Whether some record can fit both, and neither is more specific for it.
    pub(super) fn is_ambiguous_with(&self, other: &Self) -> bool {
        let sizes = |one: Option<Range>, two: Option<Range>| match (one, two) {
            (Some(one), Some(two)) => one.overlaps(two),
            (one, two) => one == two,
        };
        let tags = match (&self.tag, &other.tag) {
            // A thing has each key once, and a value comes before the key alone.
            (Some(one), Some(two)) => {
                one.value.is_some() == two.value.is_some() && (one.key != two.key || one.value == two.value)
            }
            (one, two) => one.is_none() && two.is_none(),
        };
        tags && sizes(self.cpu, other.cpu) && sizes(self.memory_mib, other.memory_mib) && self.fixed() == other.fixed()
    }

    /// All but tags and sizes: what differs here never fits the same record with the same rank.
    pub(super) fn fixed(&self) -> [Option<&str>; 7] {
        let domain = self.domain.as_ref().map(|domain| match domain {
            Domain::Id(text) | Domain::Path(text) => text.as_str(),
        });
        [
            self.account.as_deref(),
            self.payer.as_deref(),
            domain,
            self.template.as_deref(),
            self.offering.as_deref(),
            self.os_type.as_deref(),
            self.zone.as_deref(),
        ]
    }

    /// What it is for, in words, from the strongest kind to the weakest; None if it is general.
    pub fn words(&self) -> Option<String> {
        let named = |what: &str, value: Option<&String>| value.map(|value| format!("{what} {value}"));
        let words: Vec<String> = [
            named("account", self.account.as_ref()),
            self.payer.as_ref().map(|name| format!("payer \"{name}\"")),
            self.domain.as_ref().map(|domain| format!("domain {domain}")),
            self.tag.as_ref().map(|tag| format!("tag \"{tag}\"")),
            named("template", self.template.as_ref()),
            named("offering", self.offering.as_ref()),
            named("OS type", self.os_type.as_ref()),
            self.cpu.map(|range| range.words("CPUs")),
            self.memory_mib.map(|range| range.words("MiB of memory")),
            named("zone", self.zone.as_ref()),
        ]
        .into_iter()
        .flatten()
        .collect();
        (!words.is_empty()).then(|| words.join(", "))
    }
}

/// Places of lines in a list by what most of them are narrowed to, so that few are tried for each record.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    by_account: HashMap<String, Vec<u32>>,
    by_payer: HashMap<String, Vec<u32>>,
    by_offering: HashMap<String, Vec<u32>>,
    others: Vec<u32>,
}

impl Index {
    pub(super) fn insert(&mut self, place: u32, narrowing: &Narrowing) {
        let list = match (&narrowing.account, &narrowing.payer, &narrowing.offering) {
            (Some(account), ..) => self.by_account.entry(account.clone()).or_default(),
            (_, Some(payer), _) => self.by_payer.entry(payer.clone()).or_default(),
            (_, _, Some(offering)) => self.by_offering.entry(offering.clone()).or_default(),
            _ => &mut self.others,
        };
        list.push(place);
    }

    /// The places of all lines that may fit; others certainly do not.
    pub(super) fn candidates<'i>(
        &'i self,
        customer: &Customer,
        offering: Option<&str>,
    ) -> impl Iterator<Item = u32> + use<'i> {
        fn found(list: Option<&Vec<u32>>) -> &[u32] {
            list.map_or(&[], Vec::as_slice)
        }
        let lists = [
            found(self.by_account.get(&customer.account_id)),
            found(self.by_payer.get(&customer.payer)),
            found(offering.and_then(|id| self.by_offering.get(id))),
            self.others.as_slice(),
        ];
        lists.into_iter().flatten().copied()
    }
}
