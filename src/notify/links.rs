//! Links in mails that let somebody do one thing: where their tokens go, and when they are made.
//!
//! Promises: a token stands in no table and no log; it is made when its mail leaves, at each try anew, and only its hash is
//! kept. A wish for a new link is answered by mail, and to confirmed addresses only (rule 21 of the design).

use std::collections::BTreeSet;

use super::{letter::Letter, recipients::Recipient, sender::Sender, settings::MailSettings, words};
use crate::{
    email::EmailAddress,
    ids::{AccountId, MailId},
    random::RandomSource,
    secrets::token_hash,
    store::{
        StoreError, Tx, cloud, leaving,
        links::{self as rows, NewLink},
        mapping,
        notify::{self as mails, Mail, NoticeToMail},
    },
    time::Timestamp,
};

/// Random bytes of a token; twice as many letters.
const TOKEN_BYTES: usize = 32;
/// Random bytes of a marker: nobody else's text looks like one.
const MARKER_BYTES: usize = 16;
/// Wishes answered in one pass.
const WISHES_AT_ONCE: i64 = 100;
/// An address gets no further link for the same account within so long.
const AGAIN_AFTER: std::time::Duration = std::time::Duration::from_mins(10);
/// How the events begin that tell of a request to delete the account; its number follows.
const ASKED: &str = "deletion-asked-";

/// A link that a letter holds, before its mail has a number.
pub(super) struct Offer {
    account: AccountId,
    notice: Option<i64>,
    what: What,
    label: String,
    marker: String,
}

/// What a link does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Opens the page of the suspended account.
    Page,
    /// Takes a request to delete the account back, until an instant.
    Undo { request: i64, until: Timestamp },
}

impl Offer {
    fn new(
        account: AccountId,
        notice: Option<i64>,
        what: What,
        label: impl Into<String>,
        random: &dyn RandomSource,
    ) -> Self {
        let marker = format!("link-{}", random.hex(MARKER_BYTES));
        Self { account, notice, what, label: label.into(), marker }
    }

    /// Label and address, the marker in place of the token.
    pub(super) fn shown(&self, pages: &str) -> (String, String) {
        (self.label.clone(), address(pages, &self.marker))
    }

    /// Whether it takes a request back.
    pub(super) const fn is_undo(&self) -> bool {
        matches!(self.what, What::Undo { .. })
    }
}

fn address(pages: &str, marker: &str) -> String {
    format!("{pages}link/{marker}")
}

/// A notice, and what can be done by links about it when its letter is made.
pub(super) struct About {
    pub(super) notice: NoticeToMail,
    /// Nobody of the account gets to the pages.
    pub(super) suspended: bool,
    undo: Option<Undo>,
}

/// A request to delete the account that can be taken back.
struct Undo {
    request: i64,
    until: Timestamp,
    /// Users of the account who may not.
    lesser: BTreeSet<String>,
}

/// Looks what can be done by links about a notice.
pub(super) async fn look(tx: &mut Tx, notice: &NoticeToMail, now: Timestamp) -> Result<About, StoreError> {
    // A step that was just taken may not be read back from CloudStack yet.
    let suspended = matches!(words::kind_of(&notice.event), "locked" | "stopped")
        || rows::find_suspended_since(tx, notice.account_id).await?.is_some();
    let asked = notice.event.strip_prefix(ASKED).and_then(|number| number.parse::<i64>().ok());
    let request = match asked {
        Some(id) => leaving::find(tx, id).await?,
        None => None,
    };
    let open = request.filter(|request| {
        request.account_id == notice.account_id && request.state == "waiting" && request.due_ms > now
    });
    let undo = match open {
        Some(request) => Some(Undo {
            request: request.id,
            until: request.due_ms,
            lesser: leaving::list_lesser_users(tx, notice.account_id).await?,
        }),
        None => None,
    };
    Ok(About { notice: notice.clone(), suspended, undo })
}

impl About {
    /// Whether somebody may take the request back that the notice is about, if it is about one.
    pub(super) fn is_theirs_to_undo(&self, recipient: &Recipient) -> bool {
        self.undo.as_ref().is_some_and(|undo| recipient.is_more_than(&undo.lesser))
    }
}

/// The links that a letter has besides the pages': one that takes a request back, and one for each account that is suspended,
/// since nobody gets to the pages then. `about` says of each notice whether the reader may take its request back.
pub(super) fn offers(
    about: &[(&About, bool)],
    accounts: &[String],
    settings: &MailSettings,
    random: &dyn RandomSource,
) -> Vec<Offer> {
    if settings.pages.is_none() {
        return Vec::new();
    }
    let label = |account: &String| if accounts.len() == 1 { words::WHY.to_owned() } else { words::why_of(account) };
    let undo = about.iter().filter(|(_, may)| *may).filter_map(|(about, _)| {
        let undo = about.undo.as_ref()?;
        let what = What::Undo { request: undo.request, until: undo.until };
        Some(Offer::new(about.notice.account_id, Some(about.notice.id), what, words::UNDO, random))
    });
    let pages = about.iter().zip(accounts).filter(|((about, _), _)| about.suspended).map(|((about, _), account)| {
        Offer::new(about.notice.account_id, Some(about.notice.id), What::Page, label(account), random)
    });
    undo.chain(pages).collect()
}

/// Notes the links of a mail that went into the outbox.
pub(super) async fn keep(
    tx: &mut Tx,
    mail: MailId,
    offers: &[Offer],
    recipient: &EmailAddress,
    settings: &MailSettings,
    now: Timestamp,
) -> Result<(), StoreError> {
    for offer in offers {
        let (purpose, expires, delete_request) = match offer.what {
            What::Page => ("suspension", now.plus(settings.link_lasts), None),
            What::Undo { request, until } => ("deletion", until, Some(request)),
        };
        let link = NewLink {
            purpose,
            account: offer.account,
            cloud_user_id: "",
            notice_id: offer.notice,
            proof_hash: "",
            recipient: recipient.as_str(),
            expires,
            delete_request,
        };
        let id = rows::insert_link(tx, &link, now).await?;
        rows::insert_marker(tx, mail, id, &offer.marker).await?;
    }
    Ok(())
}

/// Puts fresh tokens into a mail that is about to leave.
pub(super) async fn fill(sender: &Sender<'_>, mail: &mut Mail) -> Result<(), StoreError> {
    let mut tx = sender.store.read().await?;
    let markers = rows::list_markers(&mut tx, mail.id).await?;
    tx.commit().await?;
    if markers.is_empty() {
        return Ok(());
    }
    let now = sender.clock.now();
    let mut tx = sender.store.begin().await?;
    for marker in markers {
        let token = sender.random.hex(TOKEN_BYTES);
        rows::insert_token(&mut tx, marker.link_id, &token_hash(&token), now).await?;
        mail.text_body = mail.text_body.replace(&marker.marker, &token);
        mail.html_body = mail.html_body.replace(&marker.marker, &token);
    }
    tx.commit().await
}

/// Answers wishes for new links: where an address is known and an account of it suspended, by mail; otherwise not at all.
pub(super) async fn answer_wishes(
    tx: &mut Tx,
    settings: &MailSettings,
    random: &dyn RandomSource,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let mut made = 0;
    for wish in rows::list_wishes(tx, WISHES_AT_ONCE).await? {
        rows::put_wish_answered(tx, wish.id, now).await?;
        let (Ok(address), Some(pages)) = (EmailAddress::parse(&wish.address), &settings.pages) else { continue };
        let mut offers = Vec::new();
        let mut names = Vec::new();
        for id in accounts_of(tx, &address, settings).await? {
            let recent = rows::has_link_since(tx, id, address.as_str(), now.minus(AGAIN_AFTER)).await?;
            if recent || rows::find_suspended_since(tx, id).await?.is_none() {
                continue;
            }
            let name = cloud::get_account(tx, id).await?.full_name();
            offers.push(Offer::new(id, None, What::Page, words::why_of(&name), random));
            names.push(name);
        }
        if offers.is_empty() {
            continue;
        }
        let letter = Letter::link(&names, offers.iter().map(|offer| offer.shown(pages)).collect());
        let key = format!("wish/{}", wish.id);
        if let Some(id) = mails::insert_mail(tx, &mail(&letter, key, &address, settings, random)?, now).await? {
            keep(tx, id, &offers, &address, settings, now).await?;
            made += 1;
        }
    }
    Ok(made)
}

/// The accounts that an address is confirmed for, or that the configuration names it for.
async fn accounts_of(
    tx: &mut Tx,
    address: &EmailAddress,
    settings: &MailSettings,
) -> Result<BTreeSet<AccountId>, StoreError> {
    let mut accounts = BTreeSet::new();
    for row in mapping::list_confirmed_with(tx, &address.person()).await? {
        // Whoever left the account, or never was a user of it, may still read mail there.
        let counts = if row.cloud_user_id.is_empty() {
            row.how != "mail" || people_of(tx, row.account_id, settings).await?.iter().any(|one| one == address)
        } else {
            let user = mapping::find_cloud_user(tx, &row.cloud_user_id).await?;
            user.is_some_and(|user| user.account_id == row.account_id && user.state == "enabled")
        };
        if counts {
            accounts.insert(row.account_id);
        }
    }
    let named: Vec<_> = settings.recipients.iter().filter(|(.., known)| known.person() == address.person()).collect();
    if !named.is_empty() {
        for account in cloud::list_accounts(tx).await? {
            let is_named = named.iter().any(|(path, name, _)| *path == account.domain_path && *name == account.name);
            if account.gone_ms.is_none() && is_named {
                accounts.insert(account.id);
            }
        }
    }
    Ok(accounts)
}

/// A mail to one person about one thing.
pub struct Note<'a> {
    /// Sent once for each key.
    pub key: String,
    /// A word for lists.
    pub kind: &'static str,
    /// The headline, which is the subject too.
    pub headline: String,
    /// What it says.
    pub paragraphs: Vec<String>,
    /// A link with its label.
    pub link: Option<(&'static str, NewLink<'a>)>,
}

/// Puts a note into the outbox. False: mail does not leave, the note needs pages that nobody named, or it was sent before.
pub async fn write_note(
    tx: &mut Tx,
    settings: &MailSettings,
    random: &dyn RandomSource,
    recipient: &EmailAddress,
    note: Note<'_>,
    now: Timestamp,
) -> Result<bool, StoreError> {
    if !settings.sends() {
        return Ok(false);
    }
    let mut links = Vec::new();
    let marker = format!("link-{}", random.hex(MARKER_BYTES));
    if let Some((label, _)) = &note.link {
        let Some(pages) = &settings.pages else { return Ok(false) };
        links.push(((*label).to_owned(), address(pages, &marker)));
    }
    let letter = Letter::note(note.kind, &note.headline, &note.paragraphs, links);
    let Some(id) = mails::insert_mail(tx, &mail(&letter, note.key, recipient, settings, random)?, now).await? else {
        return Ok(false);
    };
    if let Some((_, link)) = &note.link {
        let link = rows::insert_link(tx, link, now).await?;
        rows::insert_marker(tx, id, link, &marker).await?;
    }
    Ok(true)
}

fn mail(
    letter: &Letter,
    key: String,
    address: &EmailAddress,
    settings: &MailSettings,
    random: &dyn RandomSource,
) -> Result<mails::NewMail, StoreError> {
    letter.to_mail(key, address, settings, random).map_err(|error| StoreError::Nonsense(error.to_string()))
}

/// The people of an account who are written to about it, as for a notice.
pub async fn people_of(
    tx: &mut Tx,
    account: AccountId,
    settings: &MailSettings,
) -> Result<Vec<EmailAddress>, StoreError> {
    let mut recipients = super::recipients::Recipients::default();
    let (_, addresses) = recipients.of(tx, account, settings).await?;
    Ok(addresses.values().map(|recipient| recipient.address.clone()).collect())
}
