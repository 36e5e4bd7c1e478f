//! The sections `[oidc.NAME]`: issuers that people may sign in with.

use std::{collections::BTreeMap, path::PathBuf};

use url::Url;

use super::{
    check::web_url,
    layers::{Found, cut},
    problem::{Origin, Problem},
    reading::Reading,
    schema::{ISSUERS, Raw, schema},
};
use crate::secrets::Secret;

/// The longest name of an issuer.
const NAME_LENGTH: usize = 30;
/// Names that addresses below `/sign-in/` have for something else, and the pattern's own.
const RESERVED: &[&str] = &["name", "link", "you"];

/// An OpenID Connect issuer.
#[derive(Debug, Clone)]
pub struct Issuer {
    /// Its section's name.
    pub name: String,
    /// What people read.
    pub label: String,
    /// Its address, exactly as it calls itself.
    pub issuer: String,
    /// The client's id there.
    pub client_id: String,
    /// The client's secret; None: a public client.
    pub client_secret: Option<Secret>,
    /// What is asked for besides openid.
    pub scopes: Vec<String>,
    /// Whether its word about e-mail addresses counts.
    pub trusted: bool,
    /// Certificate authority to trust besides the system's own.
    pub ca_file: Option<PathBuf>,
}

/// Reads every issuer; every problem of them is told.
pub(super) fn read(r: &mut Reading, public_url: Option<&Url>) -> Option<Vec<Issuer>> {
    let mut issuers: Vec<Issuer> = Vec::new();
    let mut complete = true;
    for (name, given) in r.issuers() {
        if is_template(&name, &given) {
            continue;
        }
        match issuer(&name, &given) {
            Ok(issuer) if issuers.iter().any(|other| other.issuer == issuer.issuer) => {
                complete = false;
                tell(
                    r,
                    &given,
                    "issuer",
                    &name,
                    "is the issuer of another section too; people would be told apart by chance",
                );
            }
            Ok(issuer) => issuers.push(issuer),
            Err((key, what)) => {
                complete = false;
                tell(r, &given, key, &name, &what);
            }
        }
        if public_url.is_none() {
            complete = false;
            tell(r, &given, "issuer", &name, "needs web.public_url: the issuer sends people back there");
        }
    }
    complete.then_some(issuers)
}

/// Whether a section is the built-in file's own, copied and not filled in.
pub(super) fn is_template(name: &str, given: &BTreeMap<String, Found>) -> bool {
    name == "NAME" && given.get("issuer").is_none_or(|found| matches!(&found.raw, Raw::Text(text) if text.is_empty()))
}

fn tell(r: &mut Reading, given: &BTreeMap<String, Found>, key: &str, name: &str, what: &str) {
    let found = given.get(key).or_else(|| given.values().next());
    let origin = found.map_or(Origin::Default, |found| found.origin.clone());
    r.tell(Problem::new(origin, format!("{ISSUERS}.{name}.{key} {what}"), None));
}

fn issuer(name: &str, given: &BTreeMap<String, Found>) -> Result<Issuer, (&'static str, String)> {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    if !plain || !first || name.len() > NAME_LENGTH || RESERVED.contains(&name) {
        let what =
            format!("stands under a name that can not be used: 1 to {NAME_LENGTH} of a-z and 0-9, a letter first");
        return Err(("issuer", what));
    }
    let raw = |key: &str| {
        let default = || schema().issuer_keys.iter().find(|known| known.name == key).map(|known| known.default.clone());
        given.get(key).map(|found| found.raw.clone()).or_else(default)
    };
    let text = |key: &str| match raw(key) {
        Some(Raw::Text(text)) => text,
        _ => String::new(),
    };
    let address = text("issuer");
    let url = web_url(&address).map_err(|what| ("issuer", what))?;
    if url.scheme() != "https" && !is_loopback(&url) {
        return Err(("issuer", "must begin with https://: what it says lets people in".to_owned()));
    }
    let client_id = text("client_id");
    if client_id.is_empty() || client_id.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(("client_id", "must be given, without blanks".to_owned()));
    }
    let secret = text("client_secret");
    if secret.chars().any(char::is_control) {
        return Err(("client_secret", "holds line breaks or odd characters".to_owned()));
    }
    let scopes = match raw("scopes") {
        Some(Raw::Texts(scopes)) => scopes,
        _ => Vec::new(),
    };
    let is_scope =
        |text: &String| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
    if let Some(bad) = scopes.iter().find(|text| !is_scope(text)) {
        return Err(("scopes", format!("holds \"{}\", which is no scope", cut(bad))));
    }
    let label = text("label");
    let ca_file = text("ca_file");
    Ok(Issuer {
        name: name.to_owned(),
        label: if label.is_empty() { name.to_owned() } else { label },
        issuer: address,
        client_id,
        client_secret: (!secret.is_empty()).then(|| Secret::new(secret)),
        scopes,
        trusted: matches!(raw("trusted"), Some(Raw::Flag(true))),
        ca_file: (!ca_file.is_empty()).then(|| PathBuf::from(ca_file)),
    })
}

/// Whether an address is on this machine: the only place where plain HTTP may be believed.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::{Config, Sources};

    fn load(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let pairs = pairs.iter().map(|(name, value)| (OsString::from(format!("BURSAR_{name}")), OsString::from(value)));
        Config::load(&Sources::new(None, pairs).with_fallback(None)).map_err(|problems| problems.to_string())
    }

    const CORP: &[(&str, &str)] = &[
        ("WEB_PUBLIC_URL", "https://cloud.example.com"),
        ("OIDC_CORP_ISSUER", "https://login.example.com"),
        ("OIDC_CORP_CLIENT_ID", "bursar"),
    ];

    #[test]
    fn an_issuer_is_named_by_its_section_and_has_defaults() {
        let config = load(CORP).unwrap();
        let corp = &config.oidc[0];
        assert_eq!((corp.name.as_str(), corp.label.as_str(), corp.trusted), ("corp", "corp", false));
        assert_eq!(
            (corp.scopes.as_slice(), corp.client_secret.is_none()),
            (&["email".to_owned(), "profile".to_owned()][..], true)
        );
        assert!(Config::load(&Sources::none()).unwrap().oidc.is_empty());
    }

    #[test]
    fn a_file_and_the_environment_are_laid_over_each_other_key_by_key_and_the_secret_is_masked() {
        let folder = tempfile::tempdir().unwrap();
        let (file, secret) = (folder.path().join("bursar.toml"), folder.path().join("secret"));
        std::fs::write(&secret, "s3cret-of-corp\n").unwrap();
        let text = format!(
            "[web]\npublic_url = \"https://cloud.example.com\"\n[oidc.corp]\nissuer = \"https://login.example.com\"\n\
             client_id = \"one\"\ntrusted = true\nclient_secret_file = \"{}\"\n",
            secret.display()
        );
        std::fs::write(&file, text).unwrap();
        let over = [("BURSAR_OIDC_CORP_CLIENT_ID", "two")];
        let config = Config::load(&Sources::new(Some(file), over)).unwrap();
        let corp = &config.oidc[0];
        assert_eq!((corp.client_id.as_str(), corp.trusted), ("two", true));
        assert_eq!(corp.client_secret.as_ref().unwrap().expose(), "s3cret-of-corp");
        assert!(config.print().contains("[oidc.corp]") && !config.print().contains("s3cret"), "{}", config.print());
        assert!(!format!("{config:?}").contains("s3cret-of-corp"));
    }

    #[test]
    fn what_is_wrong_with_an_issuer_is_told_by_its_key() {
        let with = |more: &[(&str, &str)]| load(&[CORP, more].concat()).unwrap_err();
        for (more, says) in [
            (&[("OIDC_CORP_ISSUER", "http://login.example.com")][..], "oidc.corp.issuer must begin with https://"),
            (&[("OIDC_CORP_CLIENT_ID", "a b")][..], "oidc.corp.client_id must be given"),
            (&[("OIDC_CORP_SCOPES", "a b")][..], "oidc.corp.scopes holds"),
            (&[("OIDC_CORP_TRUSTED", "maybe")][..], "oidc.corp.trusted must be true or false"),
            (&[("OIDC_CORP_COLOUR", "red")][..], "no such setting"),
            (&[("OIDC_LINK_ISSUER", "https://a.example.com"), ("OIDC_LINK_CLIENT_ID", "x")][..], "can not be used"),
            (
                &[("OIDC_TWIN_ISSUER", "https://login.example.com"), ("OIDC_TWIN_CLIENT_ID", "x")][..],
                "is the issuer of another section too",
            ),
            (&[("WEB_PUBLIC_URL", "")][..], "needs web.public_url"),
        ] {
            let told = with(more);
            assert!(told.contains(says), "{says}: {told}");
        }
    }
}
