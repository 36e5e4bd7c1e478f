//! What a mail says, and how it becomes text and HTML. What others typed is taken as words, never as structure.

use askama::Template;

use super::{settings::MailSettings, terms::Terms, words};
use crate::{
    email::EmailAddress,
    random::RandomSource,
    store::notify::{NewMail, NoticeToMail},
    time::Timestamp,
};

/// Longest subject and longest line of a list, in characters. CloudStack's names have up to 255.
const SUBJECT_CHARS: usize = 120;
const LINE_CHARS: usize = 600;

/// A list under a title.
#[derive(Debug, Clone)]
pub(super) struct Section {
    pub(super) title: &'static str,
    pub(super) lines: Vec<String>,
}

impl Section {
    /// A list of at most `limit` lines; None where it is empty.
    pub(super) fn new(title: &'static str, lines: &[String], limit: usize) -> Option<Self> {
        let more = lines.len().saturating_sub(limit);
        let mut lines: Vec<String> = lines.iter().take(limit).map(|line| plain(line, LINE_CHARS)).collect();
        if more > 0 {
            lines.push(words::and_more(more));
        }
        (!lines.is_empty()).then_some(Self { title, lines })
    }
}

/// A mail before it is rendered.
#[derive(Debug, Clone)]
pub(super) struct Letter {
    pub(super) kind: String,
    pub(super) subject: String,
    pub(super) headline: String,
    pub(super) paragraphs: Vec<String>,
    pub(super) facts: Vec<(&'static str, String)>,
    pub(super) sections: Vec<Section>,
    /// Label and address.
    pub(super) links: Vec<(String, String)>,
    pub(super) footer: &'static str,
}

#[derive(Template)]
#[template(path = "mail.html")]
struct Html<'a> {
    letter: &'a Letter,
}

#[derive(Template)]
#[template(path = "mail.txt")]
struct Text<'a> {
    letter: &'a Letter,
}

/// One line without anything that steers a display or a mail server: control characters and marks of direction become
/// blanks, blanks become one.
pub(super) fn plain(text: &str, limit: usize) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let blank: String = text.chars().map(|c| if steers(c) { ' ' } else { c }).collect();
    let line = blank.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= limit { line } else { line.chars().take(limit).chain(['…']).collect() }
}

impl Letter {
    /// A notice to people of accounts; `accounts` are those that the person belongs to, `terms` those of their payer.
    pub(super) fn notice(notice: &NoticeToMail, accounts: &[String], terms: Terms, settings: &MailSettings) -> Self {
        let kind = words::kind_of(&notice.event);
        let date = notice.acts_at_ms.map(|at| at.display_in(terms.zone));
        let headline = words::headline(&notice.event, date.as_deref());
        let mut paragraphs = vec![plain(&notice.sentence, LINE_CHARS)];
        paragraphs.extend(words::consequences(kind).iter().map(|text| (*text).to_owned()));
        paragraphs.extend(words::not_before(kind, terms.warning.as_secs() / 3_600));
        let mut facts = Vec::new();
        let (named, sections) = named(accounts);
        facts.push(named);
        facts.extend(date.map(|date| (words::DATE, date)));
        let short = accounts.first().and_then(|name| name.rsplit_once('/')).map_or("", |(_, name)| name);
        let subject = match accounts {
            [_] if !short.is_empty() => format!("{}: {headline} ({short})", words::PRODUCT),
            _ => format!("{}: {headline}", words::PRODUCT),
        };
        Self {
            kind: kind.to_owned(),
            subject,
            headline,
            paragraphs,
            facts,
            sections,
            links: settings.pages.clone().map(|address| (words::OPEN_PAGES.to_owned(), address)).into_iter().collect(),
            footer: words::TENANT_FOOTER,
        }
    }

    /// Something that administrators are told.
    pub(super) fn for_admins(kind: &str, subject: String, headline: &str, body: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            subject,
            headline: plain(headline, SUBJECT_CHARS),
            paragraphs: body.lines().map(|line| plain(line, LINE_CHARS)).filter(|line| !line.is_empty()).collect(),
            facts: Vec::new(),
            sections: Vec::new(),
            links: Vec::new(),
            footer: words::ADMIN_FOOTER,
        }
    }

    /// A mail to one person about one thing.
    pub(super) fn note(kind: &str, headline: &str, paragraphs: &[String], links: Vec<(String, String)>) -> Self {
        Self {
            kind: kind.to_owned(),
            subject: format!("{}: {headline}", words::PRODUCT),
            headline: plain(headline, SUBJECT_CHARS),
            paragraphs: paragraphs.iter().map(|text| plain(text, LINE_CHARS * 2)).collect(),
            facts: Vec::new(),
            sections: Vec::new(),
            links,
            footer: words::TENANT_FOOTER,
        }
    }

    /// New links to the pages of suspended accounts.
    pub(super) fn link(accounts: &[String], links: Vec<(String, String)>) -> Self {
        let (named, sections) = named(accounts);
        Self {
            facts: vec![named],
            sections,
            ..Self::note("link", words::NEW_LINK, &[words::NEW_LINK_TEXT.to_owned()], links)
        }
    }

    /// The test mail.
    pub(super) fn test() -> Self {
        let subject = words::TEST_SUBJECT.to_owned();
        Self::for_admins("test", subject, words::TEST_HEADLINE, words::TEST_TEXT)
    }

    /// As it goes into the outbox.
    pub(super) fn to_mail(
        &self,
        key: String,
        recipient: &EmailAddress,
        settings: &MailSettings,
        random: &dyn RandomSource,
    ) -> Result<NewMail, askama::Error> {
        let letter = Self { subject: plain(&self.subject, SUBJECT_CHARS), ..self.clone() };
        // The domain is the sender's: an id with somebody else's would look forged.
        let domain = settings.from.as_ref().map_or("localhost", |from| from.address().domain());
        Ok(NewMail {
            key,
            kind: letter.kind.clone(),
            recipient: recipient.as_str().to_owned(),
            text_body: Text { letter: &letter }.render()?,
            html_body: Html { letter: &letter }.render()?,
            message_id: format!("{}@{domain}", random.uuid()),
            subject: letter.subject,
        })
    }
}

/// The accounts that a letter is about: as a line, or where that would be too long as a list with each of them.
fn named(accounts: &[String]) -> ((&'static str, String), Vec<Section>) {
    let names = accounts.join(", ");
    if let [_] = accounts {
        return ((words::ACCOUNT, plain(&names, LINE_CHARS)), Vec::new());
    }
    if names.chars().count() <= LINE_CHARS {
        return ((words::ACCOUNTS, plain(&names, LINE_CHARS)), Vec::new());
    }
    let list = Section::new(words::ACCOUNTS, accounts, accounts.len());
    ((words::ACCOUNTS, words::listed_below(accounts.len())), list.into_iter().collect())
}

/// The day that an instant falls on, as digests are named.
pub(super) fn date_of(at: Timestamp, settings: &MailSettings) -> String {
    at.display_in(settings.digest_zone)
}
