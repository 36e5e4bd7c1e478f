//! E-mail addresses as a type of their own: what does not read as one never reaches a mail server or a header.
//!
//! Only plain ASCII addresses are taken: nothing in them has to be quoted or encoded, so that no address can carry a second
//! header or a second command.

use std::fmt;

/// Longest address and longest part before the @ (RFC 5321, 4.5.3.1).
const MAX_CHARS: usize = 254;
const MAX_LOCAL_CHARS: usize = 64;
/// Top-level names that never have mail (RFC 2606, RFC 6761), and those of one machine or network.
const NO_MAIL: &[&str] = &["invalid", "example", "test", "localhost", "localdomain", "arpa", "onion"];
/// What CloudStack puts into its first administrator.
const PLACEHOLDERS: &[&str] = &["admin@mailprovider.com"];

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an address is letters, digits and .!#$%&'*+/=?^_{{|}}~- in front of one @, and the name of a mail domain behind it"
)]
pub struct NotAnAddress;

/// An address that mail can be sent to. Compared and stored with its domain in lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmailAddress(String);

impl EmailAddress {
    /// Reads an address; blanks around it do not count.
    pub fn parse(text: &str) -> Result<Self, NotAnAddress> {
        let text = text.trim();
        let (local, domain) = text.rsplit_once('@').ok_or(NotAnAddress)?;
        let atom = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+/=?^_`{|}~-".contains(&b))
        };
        let label = |part: &str| {
            !part.is_empty()
                && part.len() <= 63
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !part.starts_with('-')
                && !part.ends_with('-')
        };
        let reads = text.len() <= MAX_CHARS
            && local.len() <= MAX_LOCAL_CHARS
            && local.split('.').all(atom)
            && domain.split('.').all(label);
        if reads { Ok(Self(format!("{local}@{}", domain.to_ascii_lowercase()))) } else { Err(NotAnAddress) }
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands behind the @.
    pub fn domain(&self) -> &str {
        self.0.rsplit_once('@').map_or("", |(_, domain)| domain)
    }

    /// The same for every way of writing the address: who it is, as far as an address tells.
    pub fn person(&self) -> String {
        self.0.to_ascii_lowercase()
    }

    /// Whether mail to it can be expected to arrive: not where the domain is a machine's own or reserved for examples, nor
    /// where it is what CloudStack fills in by itself.
    pub fn looks_deliverable(&self) -> bool {
        let labels: Vec<&str> = self.domain().split('.').collect();
        let last = labels.last().copied().unwrap_or_default();
        labels.len() > 1
            && !last.bytes().all(|b| b.is_ascii_digit())
            && !NO_MAIL.contains(&last)
            && !PLACEHOLDERS.contains(&self.person().as_str())
    }
}

impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An address with the name that people see: `Cloud billing <billing@example.com>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mailbox {
    name: Option<String>,
    address: EmailAddress,
}

impl Mailbox {
    /// Reads an address, or a name with an address in angle brackets.
    pub fn parse(text: &str) -> Result<Self, NotAnAddress> {
        let text = text.trim();
        let Some((name, rest)) = text.split_once('<') else {
            return Ok(Self { name: None, address: EmailAddress::parse(text)? });
        };
        let inner = rest.strip_suffix('>').ok_or(NotAnAddress)?;
        let name = name.trim().trim_matches('"').trim();
        if name.chars().any(|c| c.is_control() || matches!(c, '<' | '>' | '"' | '@' | '\\')) {
            return Err(NotAnAddress);
        }
        Ok(Self { name: Some(name.to_owned()).filter(|name| !name.is_empty()), address: EmailAddress::parse(inner)? })
    }

    /// The name, if one is given.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The address.
    pub const fn address(&self) -> &EmailAddress {
        &self.address
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} <{}>", self.address),
            None => self.address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_plain_address_is_refused() {
        for text in [
            "",
            "alice",
            "@example.com",
            "alice@",
            "alice@@example.com",
            "alice bob@example.com",
            "alice@example.com\r\nBcc: mallory@example.com",
            "alice@example.com\nRCPT TO:<mallory@example.com>",
            "\"alice\"@example.com",
            "alice@-example.com",
            "alice@exa mple.com",
            "alice@example..com",
            ".alice@example.com",
            "alice@[127.0.0.1]",
            "älice@example.com",
            "alice@example.com>",
            "a,b@example.com",
        ] {
            assert_eq!(EmailAddress::parse(text), Err(NotAnAddress), "{text:?}");
        }
        assert!(EmailAddress::parse(&format!("{}@example.com", "a".repeat(65))).is_err());
        assert_eq!(EmailAddress::parse(" Alice.B+x@Example.COM ").unwrap().as_str(), "Alice.B+x@example.com");
        assert_eq!(EmailAddress::parse("Alice@Example.com").unwrap().person(), "alice@example.com");
    }

    #[test]
    fn an_address_that_nobody_reads_does_not_look_deliverable() {
        let looks = |text: &str| EmailAddress::parse(text).unwrap().looks_deliverable();
        assert!(looks("alice@example.com") && looks("root@mail.corp.local"));
        for text in [
            "bursar-key-alice-1@invalid.example",
            "root@localhost",
            "root@db.localdomain",
            "alice@mail.invalid",
            "alice@example.test",
            "alice@10.0.0.1",
            "admin@mailprovider.com",
        ] {
            assert!(!looks(text), "{text}");
        }
    }

    #[test]
    fn a_mailbox_has_a_name_that_can_not_break_out() {
        let mailbox = Mailbox::parse("Cloud billing <billing@example.com>").unwrap();
        assert_eq!((mailbox.name(), mailbox.address().as_str()), (Some("Cloud billing"), "billing@example.com"));
        assert_eq!(mailbox.to_string(), "Cloud billing <billing@example.com>");
        assert_eq!(Mailbox::parse("billing@example.com").unwrap().name(), None);
        assert_eq!(Mailbox::parse("\"Würmer\" <b@example.com>").unwrap().name(), Some("Würmer"));
        for text in ["a\r\nBcc: x <b@example.com>", "a <b@example.com> c", "<b@example.com", "a <b>"] {
            assert!(Mailbox::parse(text).is_err(), "{text:?}");
        }
    }
}
