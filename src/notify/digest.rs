//! What administrators read every day: what was decided and done, and in a dry run what would have been.

use super::{
    letter::{Letter, Section, date_of},
    settings::MailSettings,
    words,
};
use crate::{
    store::{
        StoreError, Tx,
        notify::{self as rows, DigestDecision},
    },
    time::Timestamp,
};

/// Lines of one section; the pages and `bursar` show the rest.
const LINES: usize = 100;
/// Rows read for one section: what is beyond is not even counted.
const ROWS: i64 = 10_000;

/// The digest of a time; None where nothing happened in it and nothing waits for a person.
pub(super) async fn digest(
    tx: &mut Tx,
    settings: &MailSettings,
    from: Timestamp,
    until: Timestamp,
) -> Result<Option<Letter>, StoreError> {
    let decisions = rows::list_digest_decisions(tx, from, until, ROWS).await?;
    let actions = rows::list_digest_actions(tx, from, until, ROWS).await?;
    let notices = rows::list_digest_notices(tx, from, until, ROWS).await?;
    let told = rows::list_admin_notices(tx, from, until, ROWS).await?;
    let missing = rows::list_without_address(tx, ROWS).await?;
    let dead = rows::list_mails(tx, Some("dead"), ROWS).await?;
    let decided = |would: bool| -> Vec<String> {
        let line = |row: &DigestDecision| {
            format!("{}/{}: {}. {}", row.domain_path, row.name, words::decided(&row.outcome, would), row.sentence)
        };
        decisions.iter().filter(|row| (row.dry_run == 1) == would).map(line).collect()
    };
    let noticed = |would: bool| -> Vec<String> {
        let of = notices.iter().filter(|row| (row.dry_run == 1) == would);
        of.map(|row| format!("{}/{}: {}", row.domain_path, row.name, row.sentence)).collect()
    };
    let done = actions.iter().map(|row| {
        let what = words::action(&row.action, &row.state, row.outcome.as_deref());
        format!("{}/{}: {what}", row.domain_path, row.name)
    });
    let dead = dead.iter().filter(|mail| mail.ended_ms.is_some_and(|at| from <= at && at < until));
    let (would, would_notices) = (decided(true), noticed(true));
    let rehearsed = !would.is_empty() || !would_notices.is_empty();
    let sections: Vec<Section> = [
        Section::new(words::DIGEST_DONE, &done.collect::<Vec<_>>(), LINES),
        Section::new(words::DIGEST_DECIDED, &decided(false), LINES),
        Section::new(words::DIGEST_NOTICES, &noticed(false), LINES),
        Section::new(words::DIGEST_WOULD, &would, LINES),
        Section::new(words::DIGEST_WOULD_NOTICES, &would_notices, LINES),
        Section::new(words::DIGEST_TO_LOOK_AT, &told.into_iter().map(|row| row.subject).collect::<Vec<_>>(), LINES),
        Section::new(
            words::DIGEST_NO_ADDRESS,
            &missing.iter().map(|row| format!("{}/{}", row.domain_path, row.name)).collect::<Vec<_>>(),
            LINES,
        ),
        Section::new(
            words::DIGEST_DEAD,
            &dead.map(|mail| format!("{}: {}", mail.id, mail.subject)).collect::<Vec<_>>(),
            LINES,
        ),
    ]
    .into_iter()
    .flatten()
    .collect();
    if sections.is_empty() {
        return Ok(None);
    }
    let subject = words::digest_subject(&date_of(until, settings));
    let mut letter = Letter::for_admins("digest", subject, words::DIGEST, "");
    letter.paragraphs.push(format!("{} – {}", date_of(from, settings), date_of(until, settings)));
    if rehearsed {
        letter.paragraphs.push(words::DIGEST_DRY.to_owned());
    }
    letter.sections = sections;
    letter.links = settings.pages.clone().map(|address| (words::OPEN_PAGES.to_owned(), address)).into_iter().collect();
    Ok(Some(letter))
}
