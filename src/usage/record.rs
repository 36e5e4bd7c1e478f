//! A usage record as bursar understands it: normalised, with its window half-open and its identity worked out.
//!
//! Ids and names come again in every window, so a record shares its words with the others of its span ([`Words`]): a day of a
//! million rows holds each of them once.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use crate::time::Period;

/// Whose usage it is: an account, or a project (whose records name no account, facts 3.5).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Owner {
    /// CloudStack's account id.
    Account(Arc<str>),
    /// CloudStack's project id.
    Project(Arc<str>),
}

/// What records share besides their offering, and what a price may be narrowed by. No part of a record's identity: CloudStack
/// gives tags, and sizes that were not recorded, as they are now (facts 3.2).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attributes {
    /// The zone.
    pub zone_id: Option<String>,
    /// The template.
    pub template_id: Option<String>,
    /// The OS type.
    pub os_type_id: Option<String>,
    /// Processors.
    pub cpu_number: Option<i64>,
    /// MHz.
    pub cpu_speed: Option<i64>,
    /// MiB.
    pub memory_mib: Option<i64>,
    /// Tags as (key, value), in order.
    pub tags: Vec<(String, String)>,
}

/// Attributes under the hash over all of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Shared {
    /// Sixteen bytes.
    pub digest: [u8; 16],
    /// What they are.
    pub attributes: Attributes,
}

/// The words of a span, each held once.
#[derive(Debug, Default)]
pub struct Words {
    texts: HashSet<Arc<str>>,
    attributes: HashMap<[u8; 16], Arc<Shared>>,
}

impl Words {
    /// The one copy of a text.
    pub fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(text);
        self.texts.insert(Arc::clone(&new));
        new
    }

    /// The one copy of a set of attributes, under its digest; made only where it is new.
    pub fn attributes(&mut self, digest: [u8; 16], make: impl FnOnce() -> Attributes) -> Arc<Shared> {
        let shared = self.attributes.entry(digest).or_insert_with(|| Arc::new(Shared { digest, attributes: make() }));
        Arc::clone(shared)
    }
}

/// The first sixteen bytes of a hash.
pub fn digest_of(hasher: &blake3::Hasher) -> [u8; 16] {
    let mut digest = [0_u8; 16];
    for (target, source) in digest.iter_mut().zip(hasher.finalize().as_bytes()) {
        *target = *source;
    }
    digest
}

/// One record of one emission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Whose usage it is.
    pub owner: Owner,
    /// CloudStack's usage type (facts 3.3).
    pub usage_type: i32,
    /// What was used, as the type identifies it (design 7.2): never a name, tag or free text.
    pub resource: Arc<str>,
    /// A name for people; no part of the identity.
    pub resource_name: Arc<str>,
    /// Service, disk or network offering.
    pub offering: Option<Arc<str>>,
    /// CPU, memory and speed where the record says so: a resized machine has two records a window.
    pub shape: Option<Arc<str>>,
    /// What a price may be narrowed by; no part of the identity.
    pub attributes: Option<Arc<Shared>>,
    /// Bytes held, where the type has a size.
    pub size_bytes: Option<i64>,
    /// Half-open; CloudStack's inclusive end plus one second.
    pub window: Period,
    /// Millionths of an hour where CloudStack reports hours; whole bytes or operations otherwise.
    pub quantity: i64,
}

impl Record {
    /// The identity of the resource over all windows and offerings: what may be charged once at an instant.
    pub fn resource_identity(&self) -> (&Owner, i32, &str, Option<&str>) {
        (&self.owner, self.usage_type, &self.resource, self.zone_of_copy())
    }

    /// The zone, for what is there once a zone under one id: templates, ISO images, snapshots, volumes on secondary storage.
    fn zone_of_copy(&self) -> Option<&str> {
        if !matches!(self.usage_type, 7 | 8 | 9 | 26) {
            return None;
        }
        self.attributes.as_ref().and_then(|shared| shared.attributes.zone_id.as_deref())
    }

    /// The key of this very row: identity, window, quantity, and an ordinal among equal rows of one emission.
    /// It begins with the hour so that inserts stay local, and goes on with twelve bytes of a hash.
    pub fn key(&self, ordinal: u32) -> RecordKey {
        let mut hasher = blake3::Hasher::new();
        let (owner_kind, owner) = match &self.owner {
            Owner::Account(id) => ("a", id),
            Owner::Project(id) => ("p", id),
        };
        let numbers = [
            i64::from(self.usage_type),
            self.window.start().as_ms(),
            self.window.end().as_ms(),
            self.quantity,
            self.size_bytes.unwrap_or(-1),
            i64::from(ordinal),
        ];
        let texts = [
            owner_kind,
            owner,
            &self.resource,
            self.offering.as_deref().unwrap_or_default(),
            self.shape.as_deref().unwrap_or_default(),
        ];
        for text in texts.into_iter().chain(self.zone_of_copy()) {
            hasher.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
            hasher.update(text.as_bytes());
        }
        for number in numbers {
            hasher.update(&number.to_be_bytes());
        }
        RecordKey::of_window(self.window, &hasher)
    }
}

/// The sixteen bytes under which a record is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey([u8; 16]);

impl RecordKey {
    /// Four bytes of the hour, then twelve of the hash.
    pub fn new(hour: i64, hash: &[u8; 32]) -> Self {
        let mut bytes = [0_u8; 16];
        let hour = u32::try_from(hour).unwrap_or(0).to_be_bytes();
        for (target, source) in bytes.iter_mut().zip(hour.iter().chain(hash.iter().take(12))) {
            *target = *source;
        }
        Self(bytes)
    }

    /// The key of something in a window, by a hash over what identifies it.
    pub fn of_window(window: Period, hasher: &blake3::Hasher) -> Self {
        Self::new(window.start().as_seconds().div_euclid(3600), hasher.finalize().as_bytes())
    }

    /// The key of a stored record.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The key as people copy it: 32 hex digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0_u8; 16];
        if text.len() != 32 || !text.is_ascii() {
            return None;
        }
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(at * 2..at * 2 + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Lower-case hex, for SQL text and logs.
    pub fn to_hex(self) -> String {
        self.0.iter().fold(String::with_capacity(32), |mut text, byte| {
            use std::fmt::Write as _;
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// The newest truth about its window: charged.
    Current,
    /// A newer emission of the same window does not hold it.
    Superseded,
    /// A part window inside a span that is charged already: charges nothing by itself (design 7.3).
    Part,
    /// Waits for a person.
    Quarantined,
    /// A person decided that it is never charged.
    Rejected,
}

impl Standing {
    /// As stored.
    pub const fn code(self) -> i64 {
        match self {
            Self::Current => 0,
            Self::Superseded => 1,
            Self::Part => 2,
            Self::Quarantined => 3,
            Self::Rejected => 4,
        }
    }
}
