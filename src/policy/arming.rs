//! Which rungs are armed where: what is not armed is decided and stored, and not done.

use super::decision::Rung;

/// The rungs that are armed for one account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ArmedRungs(u8);

impl ArmedRungs {
    /// Every rung.
    pub const ALL: Self = Self(0b1111);
    /// No rung: everything is a rehearsal.
    pub const NONE: Self = Self(0);

    const fn bit(rung: Rung) -> u8 {
        match rung {
            Rung::None => 0,
            Rung::Notify => 1,
            Rung::Restrict => 2,
            Rung::Lock => 4,
            Rung::Stop => 8,
        }
    }

    /// With one more.
    #[must_use]
    pub const fn with(self, rung: Rung) -> Self {
        Self(self.0 | Self::bit(rung))
    }

    /// Whether a rung is among them.
    pub const fn has(self, rung: Rung) -> bool {
        let bit = Self::bit(rung);
        bit != 0 && self.0 & bit == bit
    }

    /// Whether any is.
    pub const fn any(self) -> bool {
        self.0 != 0
    }
}

impl FromIterator<Rung> for ArmedRungs {
    fn from_iter<I: IntoIterator<Item = Rung>>(rungs: I) -> Self {
        rungs.into_iter().fold(Self::NONE, Self::with)
    }
}

/// Every arming there is: a rung and a domain with everything below it; the empty path is the whole cloud.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Arming(Vec<(Rung, String)>);

impl Arming {
    /// From the stored rows.
    pub fn new(rows: impl IntoIterator<Item = (Rung, String)>) -> Self {
        Self(rows.into_iter().map(|(rung, path)| (rung, path.trim_matches('/').to_owned())).collect())
    }

    /// Whether a rung is armed for accounts of a domain.
    pub fn is_armed(&self, rung: Rung, domain_path: &str) -> bool {
        self.0.iter().any(|(armed, path)| *armed == rung && covers(path, domain_path))
    }

    /// The rungs armed for accounts of a domain.
    pub fn at(&self, domain_path: &str) -> ArmedRungs {
        self.0.iter().filter(|(_, path)| covers(path, domain_path)).map(|(rung, _)| *rung).collect()
    }

    /// What is armed of one rung.
    #[must_use]
    pub fn only(self, rung: Rung) -> Self {
        Self(self.0.into_iter().filter(|(armed, _)| *armed == rung).collect())
    }

    /// Whether anything but a rung is armed anywhere.
    pub fn any_but(&self, rung: Rung) -> bool {
        self.0.iter().any(|(armed, _)| *armed != rung)
    }

    /// Whether anything is armed anywhere.
    pub fn any(&self) -> bool {
        !self.0.is_empty()
    }
}

fn covers(path: &str, domain_path: &str) -> bool {
    path.is_empty() || path == domain_path || domain_path.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_armed_with_everything_below_it_and_not_its_namesakes() {
        let arming = Arming::new([(Rung::Lock, "ROOT/acme".to_owned()), (Rung::Notify, String::new())]);
        assert!(arming.is_armed(Rung::Lock, "ROOT/acme") && arming.is_armed(Rung::Lock, "ROOT/acme/lab"));
        assert!(!arming.is_armed(Rung::Lock, "ROOT/acme2") && !arming.is_armed(Rung::Lock, "ROOT"));
        assert!(arming.is_armed(Rung::Notify, "ROOT/anything"));
        assert_eq!(arming.at("ROOT/acme/lab"), [Rung::Notify, Rung::Lock].into_iter().collect());
        assert!(!arming.at("ROOT").has(Rung::Stop) && !ArmedRungs::ALL.has(Rung::None));
        assert!(arming.any_but(Rung::Notify));
        let notices = arming.only(Rung::Notify);
        assert!(notices.any() && !notices.any_but(Rung::Notify) && !notices.is_armed(Rung::Lock, "ROOT/acme"));
    }
}
