//! Mappings, e-mail rules and confirmed addresses as a table, out and in again.
//!
//! Promises: what was written out is read in again as the same; a table with one wrong line changes nothing, and every wrong
//! line is told by its number; an account that was made anew under its old name is not taken for the old one.

use std::collections::HashMap;

use crate::{
    email::EmailAddress,
    ids::AccountId,
    people::mapping::{self, CLOUDSTACK},
    store::{
        StoreError, Tx,
        cloud::{self, Account},
        mapping::{self as rows, NewBinding},
    },
    time::Timestamp,
};

/// The head of the table.
pub const COLUMNS: [&str; 7] = ["kind", "issuer", "who", "account", "account_id", "role", "user"];
/// Lines taken at once.
const MOST_LINES: usize = 100_000;

/// Why a table was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Wrong lines, each with its number.
    #[error("nothing was changed:\n  {}", .0.join("\n  "))]
    Lines(Vec<String>),
}

/// What a table came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Taken {
    /// Lines that say something new.
    pub changed: Vec<String>,
    /// Lines that say what is known.
    pub same: usize,
}

/// The issuers of the configuration: name and address.
pub type IssuerNames = [(String, String)];

/// An issuer by its name in the configuration or its address; `cloudstack` is CloudStack.
pub fn issuer_of(word: &str, issuers: &IssuerNames) -> Option<String> {
    if word == CLOUDSTACK {
        return Some(word.to_owned());
    }
    issuers.iter().find(|(name, issuer)| name == word || issuer == word).map(|(_, issuer)| issuer.clone())
}

/// The whole table.
pub async fn export(tx: &mut Tx, issuers: &IssuerNames) -> Result<String, StoreError> {
    let accounts: HashMap<AccountId, Account> =
        cloud::list_accounts(tx).await?.into_iter().map(|account| (account.id, account)).collect();
    let name = |issuer: &str| {
        issuers
            .iter()
            .find(|(_, address)| address == issuer)
            .map_or_else(|| issuer.to_owned(), |(name, _)| name.clone())
    };
    let mut lines: Vec<[String; 7]> = Vec::new();
    let mut add = |kind: &str, issuer: String, who: &str, account: AccountId, role: &str, user: &str| {
        if let Some(account) = accounts.get(&account) {
            let text = str::to_owned;
            let (full, id) = (account.full_name(), account.cloud_id.clone());
            lines.push([text(kind), issuer, text(who), full, id, text(role), text(user)]);
        }
    };
    for row in rows::list_bindings(tx, None).await? {
        // What a rule or an address bound comes again by itself.
        if row.rule_id.is_none() && row.address_id.is_none() {
            let user = row.cloud_user_id.as_deref().filter(|_| row.issuer != CLOUDSTACK).unwrap_or_default();
            add("person", name(&row.issuer), &row.subject, row.account_id, &row.role, user);
        }
    }
    for row in rows::list_email_rules(tx).await? {
        add("email", name(&row.issuer), &row.email, row.account_id, &row.role, "");
    }
    for row in rows::list_confirmed(tx, None).await? {
        add("address", String::new(), &row.email, row.account_id, "", &row.cloud_user_id);
    }
    let mut writer = csv::Writer::from_writer(Vec::new());
    let nonsense = |error: csv::Error| StoreError::Nonsense(error.to_string());
    writer.write_record(COLUMNS).map_err(nonsense)?;
    for line in &lines {
        writer.write_record(line.iter().map(|cell| unformula(cell))).map_err(nonsense)?;
    }
    let bytes = writer.into_inner().map_err(|error| StoreError::Nonsense(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| StoreError::Nonsense(error.to_string()))
}

/// A cell that a spreadsheet would take for a formula, as text. [`formula`] takes the mark away again.
fn unformula(cell: &str) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\'']) { format!("'{cell}") } else { cell.to_owned() }
}

fn formula(cell: &str) -> &str {
    cell.strip_prefix('\'').unwrap_or(cell)
}

/// One line, read.
struct Line {
    number: u64,
    cells: HashMap<String, String>,
}

impl Line {
    fn get(&self, column: &str) -> &str {
        self.cells.get(column).map_or("", String::as_str)
    }
}

fn read(text: &str) -> Result<Vec<Line>, Error> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_reader(text.as_bytes());
    let wrong = |what: String| Error::Lines(vec![what]);
    let head: Vec<String> = match reader.headers() {
        Ok(head) => head.iter().map(|cell| cell.trim_start_matches('\u{feff}').to_lowercase()).collect(),
        Err(error) => return Err(wrong(format!("line 1: {error}"))),
    };
    let missing: Vec<&str> =
        ["kind", "who", "account"].into_iter().filter(|column| !head.iter().any(|cell| cell == column)).collect();
    if !missing.is_empty() {
        return Err(wrong(format!("line 1: the head lacks {}; it is {}", missing.join(", "), COLUMNS.join(","))));
    }
    if let Some(unknown) = head.iter().find(|cell| !COLUMNS.contains(&cell.as_str())) {
        return Err(wrong(format!("line 1: there is no column \"{unknown}\"; the head is {}", COLUMNS.join(","))));
    }
    let (mut lines, mut problems) = (Vec::new(), Vec::new());
    for record in reader.records() {
        match record {
            Ok(record) => {
                let number = record.position().map_or(0, csv::Position::line);
                if record.len() > head.len() {
                    problems.push(format!("line {number}: there are more cells than columns"));
                    continue;
                }
                let cells = head.iter().cloned().zip(record.iter().map(|cell| formula(cell).to_owned())).collect();
                lines.push(Line { number, cells });
            }
            Err(error) => {
                let number = error.position().map_or(0, csv::Position::line);
                problems.push(format!("line {number}: it can not be read as CSV in UTF-8"));
            }
        }
        if lines.len() > MOST_LINES {
            return Err(wrong(format!("there are more than {MOST_LINES} lines; take them in parts")));
        }
    }
    if problems.is_empty() { Ok(lines) } else { Err(Error::Lines(problems)) }
}

/// Takes a table in. The caller commits, or does not where it was only to be tried.
pub async fn import(tx: &mut Tx, text: &str, issuers: &IssuerNames, by: &str, now: Timestamp) -> Result<Taken, Error> {
    let accounts = cloud::list_accounts(tx).await?;
    let (mut taken, mut problems) = (Taken::default(), Vec::new());
    for line in read(text)? {
        match take(tx, &line, &accounts, issuers, by, now).await {
            Ok(Some(what)) => taken.changed.push(format!("line {}: {what}", line.number)),
            Ok(None) => taken.same += 1,
            Err(mapping::Error::Refused(what)) => problems.push(format!("line {}: {what}", line.number)),
            Err(mapping::Error::Store(error)) => return Err(error.into()),
        }
    }
    if problems.is_empty() { Ok(taken) } else { Err(Error::Lines(problems)) }
}

fn refused(what: impl Into<String>) -> mapping::Error {
    mapping::Error::Refused(what.into())
}

/// The account of a line: by its name, and by its id where the line has one.
fn account_of<'a>(line: &Line, accounts: &'a [Account]) -> Result<&'a Account, mapping::Error> {
    let (name, id) = (line.get("account"), line.get("account_id"));
    let fits = |account: &&Account| {
        account.gone_ms.is_none() && (account.full_name() == name || account.name == name || account.cloud_id == name)
    };
    let mut found = accounts.iter().filter(fits);
    let account = found.next().ok_or_else(|| refused(format!("no account is called \"{name}\"")))?;
    if found.next().is_some() {
        return Err(refused(format!(
            "\"{name}\" is the name of several accounts; name one in full, as ROOT/acme/alice"
        )));
    }
    if !id.is_empty() && id != account.cloud_id {
        return Err(refused(format!(
            "{name} is another account by now ({} and not {id}); a mapping is not carried over by a name",
            account.cloud_id
        )));
    }
    Ok(account)
}

async fn take(
    tx: &mut Tx,
    line: &Line,
    accounts: &[Account],
    issuers: &IssuerNames,
    by: &str,
    now: Timestamp,
) -> Result<Option<String>, mapping::Error> {
    let (who, role) = (line.get("who"), line.get("role"));
    let account = account_of(line, accounts)?;
    let issuer = || {
        let word = line.get("issuer");
        issuer_of(word, issuers).ok_or_else(|| {
            let known: Vec<&str> = issuers.iter().map(|(name, _)| name.as_str()).chain([CLOUDSTACK]).collect();
            refused(format!("there is no issuer \"{word}\"; there are {}", known.join(", ")))
        })
    };
    match line.get("kind") {
        "person" => {
            let issuer = issuer()?;
            let user = Some(line.get("user")).filter(|user| !user.is_empty());
            let user = if issuer == CLOUDSTACK { Some(who) } else { user };
            let same = rows::list_bindings_of(tx, &issuer, who)
                .await?
                .into_iter()
                .any(|row| row.account_id == account.id && row.role == role && row.cloud_user_id.as_deref() == user);
            if same {
                return Ok(None);
            }
            let new = NewBinding {
                issuer: &issuer,
                subject: who,
                cloud_user_id: user,
                account: account.id,
                role,
                by,
                rule_id: None,
                address_id: None,
            };
            mapping::map(tx, &new, now).await?;
            Ok(Some(format!("{who} is {role} of {}", account.full_name())))
        }
        "email" => {
            let issuer = issuer()?;
            let email = EmailAddress::parse(who).map_err(|error| refused(error.to_string()))?;
            let same = rows::list_email_rules_for(tx, &issuer, &email.person()).await?;
            if same.into_iter().any(|row| row.account_id == account.id && row.role == role) {
                return Ok(None);
            }
            mapping::put_rule(tx, &issuer, &email, account, role, by, now).await?;
            Ok(Some(format!("whoever has {email} is {role} of {}", account.full_name())))
        }
        "address" => {
            let email = EmailAddress::parse(who).map_err(|error| refused(error.to_string()))?;
            let user = line.get("user");
            if !user.is_empty() {
                let known = rows::find_cloud_user(tx, user).await?;
                if known.is_none_or(|known| known.account_id != account.id) {
                    return Err(refused(format!("{} has no user with the id {user}", account.full_name())));
                }
            }
            let new = mapping::confirm(tx, account, user, &email, ("admin", by), now).await?;
            Ok(new.then(|| format!("{email} is confirmed for {}", account.full_name())))
        }
        other => Err(refused(format!("\"{other}\" is no kind; there are person, email, address"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_would_be_a_formula_goes_out_and_comes_back() {
        for cell in ["=1+1", "@x", "-2", "+3", "'quoted", "plain", ""] {
            assert_eq!(formula(&unformula(cell)), cell);
        }
        assert_eq!(unformula("=1+1"), "'=1+1");
    }

    #[test]
    fn a_wrong_head_is_told_with_its_line() {
        let told = |text: &str| read(text).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(told("kind,who\n").contains("line 1: the head lacks account"));
        assert!(told("kind,who,account,color\n").contains("there is no column \"color\""));
        assert!(told("kind,who,account\nperson,x,y,z\n").contains("line 2: there are more cells"));
        assert_eq!(read("\u{feff}kind,who,account\n\nperson,x,y\n").unwrap_or_default().len(), 1);
    }
}
