//! Why usage waits for a person, or is told to one: the kinds of review items.

/// Why rows wait, or what is reported of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// What CloudStack said can not be read: a quantity, dates, no owner, no resource.
    Unreadable,
    /// A usage type that this version does not know.
    UnknownType,
    /// A project whose owner nobody knows.
    UnknownOwner,
    /// More hours than the window holds.
    MoreThanWindow,
    /// It overlaps a charged span and sticks out of it.
    Overlap,
    /// A part window inside a charged span that reports more or less than is charged for it.
    Part,
    /// The same resource, window, type and quantity once more under another offering or size.
    Duplicate,
    /// Records of one resource and window that sum up to more hours than the window holds.
    Together,
    /// A resource that is known to have been gone long before.
    Gone,
    /// It begins before what is closed and summed up.
    BeforeCompaction,
    /// CloudStack no longer has rows that are stored: told, never reversed by itself.
    Removed,
    /// Closed windows of which there is no record of anybody: told.
    MissingWindow,
    /// CloudStack's usage job has not succeeded for long: told.
    StuckJob,
}

impl Kind {
    /// All of them, in the order in which they are listed to people.
    pub const ALL: [Self; 13] = [
        Self::Unreadable,
        Self::UnknownType,
        Self::UnknownOwner,
        Self::MoreThanWindow,
        Self::Overlap,
        Self::Part,
        Self::Duplicate,
        Self::Together,
        Self::Gone,
        Self::BeforeCompaction,
        Self::Removed,
        Self::MissingWindow,
        Self::StuckJob,
    ];

    /// As stored, and as named at the command line.
    pub const fn slug(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::UnknownType => "unknown-type",
            Self::UnknownOwner => "unknown-owner",
            Self::MoreThanWindow => "more-than-window",
            Self::Overlap => "overlap",
            Self::Part => "part",
            Self::Duplicate => "duplicate",
            Self::Together => "together-more-than-window",
            Self::Gone => "gone",
            Self::BeforeCompaction => "before-compaction",
            Self::Removed => "removed",
            Self::MissingWindow => "missing-window",
            Self::StuckJob => "stuck-job",
        }
    }

    /// The kind of that name.
    pub fn from_slug(slug: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.slug() == slug)
    }

    /// Why its rows wait, for people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Unreadable => "what CloudStack said can not be read",
            Self::UnknownType => "this version of bursar does not know the usage type; a newer one may",
            Self::UnknownOwner => "it belongs to a project whose owner is not known",
            Self::MoreThanWindow => "it reports more hours than its window has",
            Self::Overlap => "it overlaps a span that is charged already, and reaches beyond it",
            Self::Part => {
                "a part window inside a charged span reports another quantity than its share of what is charged"
            }
            Self::Duplicate => "the same resource, window, type and quantity again under another offering or size",
            Self::Together => "the records of this resource and window report more hours together than the window has",
            Self::Gone => "the resource was gone long before",
            Self::BeforeCompaction => "it begins before what is closed and summed up",
            Self::Removed => "CloudStack no longer has these rows; their charges stay",
            Self::MissingWindow => "there is no record of anybody in this time, though there is before and after it",
            Self::StuckJob => "CloudStack's usage job has not succeeded since",
        }
    }

    /// Whether it is only told: nothing waits, and settling it means that somebody has seen it.
    pub const fn is_told(self) -> bool {
        matches!(self, Self::Removed | Self::MissingWindow | Self::StuckJob)
    }

    /// Whether its rows are raw ones, of which no record could be made.
    pub const fn is_raw(self) -> bool {
        matches!(self, Self::Unreadable | Self::UnknownType | Self::UnknownOwner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_slug(kind.slug()), Some(kind));
        }
        assert_eq!(Kind::from_slug("else"), None);
    }
}
