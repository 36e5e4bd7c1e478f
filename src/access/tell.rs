//! What people and administrators are told about requests and pairs: written as notices in the transaction of the change
//! itself, so that nothing is told that did not happen, and nothing twice. The mail is made of them elsewhere.

use chrono_tz::Tz;

use super::AccessSettings;
use crate::{
    store::{StoreError, Tx, cloud, enforcement, notify, people::KeyRequest},
    time::Timestamp,
};

/// Notices about keys belong to no epoch of a payer.
const NO_EPOCH: i64 = 0;

/// What happened.
#[derive(Debug, Clone, Copy)]
pub(super) enum News<'a> {
    /// It was agreed to, for so many days, with a message.
    Approved { days: u32, message: Option<&'a str> },
    /// It was declined, with a message.
    Denied(Option<&'a str>),
    /// The pair is there.
    Issued { expires: Timestamp, look_until: Timestamp },
    /// It could not be made after all.
    Failed(&'a str),
    /// It ends in so many days.
    Expiring { days: u32, expires: Timestamp },
    /// Another pair takes over; this one ends then.
    Rotated { by: i64, ends: Timestamp },
    /// It is ended, for this reason.
    Ended(&'a str),
    /// The pair is not the one that was made; it is switched off.
    Changed(&'a str),
    /// It was there before, and ends from now on.
    Adopted { expires: Timestamp },
}

impl News<'_> {
    const fn kind(self) -> &'static str {
        match self {
            Self::Approved { .. } => "key-approved",
            Self::Denied(_) => "key-denied",
            Self::Issued { .. } => "key-issued",
            Self::Failed(_) => "key-failed",
            Self::Expiring { .. } => "key-expiring",
            Self::Rotated { .. } => "key-rotated",
            Self::Ended(_) => "key-ended",
            Self::Changed(_) => "key-changed",
            Self::Adopted { .. } => "key-adopted",
        }
    }

    const fn date(self) -> Option<Timestamp> {
        match self {
            Self::Issued { expires: at, .. }
            | Self::Expiring { expires: at, .. }
            | Self::Rotated { ends: at, .. }
            | Self::Adopted { expires: at } => Some(at),
            _ => None,
        }
    }

    fn sentence(self, request: &KeyRequest, zone: Tz) -> String {
        let (id, purpose) = (request.id, request.purpose.as_str());
        let said = |message: Option<&str>| {
            message
                .filter(|text| !text.trim().is_empty())
                .map_or_else(String::new, |text| format!(" The administrator writes: {}", text.trim()))
        };
        match self {
            Self::Approved { days, message } => format!(
                "Request {id} for API access ({purpose}) was approved for {days} days. The key is made now; another message \
                 follows when it is ready.{}",
                said(message)
            ),
            Self::Denied(message) => format!("Request {id} for API access ({purpose}) was denied.{}", said(message)),
            Self::Issued { expires, look_until } => format!(
                "The API key of request {id} ({purpose}) is ready and works until {}. Its secret can be looked at once, on the \
                 page Request API Access, until {}; nobody has it after that, and the key ends.",
                expires.display_in(zone),
                look_until.display_in(zone)
            ),
            Self::Failed(reason) => {
                format!("The API key of request {id} ({purpose}) could not be made: {reason}.")
            }
            Self::Expiring { expires, .. } => format!(
                "The API key of request {id} ({purpose}) ends on {}. What uses it stops working then. Ask for another one in \
                 time on the page Request API Access; both work for a while.",
                expires.display_in(zone)
            ),
            Self::Rotated { by, ends } => format!(
                "A new API key (request {by}) takes over from that of request {id} ({purpose}). Both work until {}; the old one \
                 ends then.",
                ends.display_in(zone)
            ),
            Self::Ended(reason) => format!("The API key of request {id} ({purpose}) was ended: {reason}."),
            Self::Adopted { expires } => format!(
                "The API key of the user {} ends on {} from now on. What uses it works until then; ask for another key in time \
                 on the page Request API Access.",
                request.username.as_deref().unwrap_or("unknown"),
                expires.display_in(zone)
            ),
            Self::Changed(reason) => format!(
                "The API key of request {id} ({purpose}) was switched off, because it changed by itself: {reason}. Keys are \
                 changed only by administrators here. If none of you did this, somebody else has the key or a sign-in of this \
                 account: change the passwords, then ask for another key.",
            ),
        }
    }
}

/// Tells everybody of the account, once for each piece of news about a request.
pub(super) async fn tell(
    tx: &mut Tx,
    request: &KeyRequest,
    news: News<'_>,
    zone: Tz,
    now: Timestamp,
) -> Result<(), StoreError> {
    let account = cloud::get_account(tx, request.account_id).await?;
    let event = match news {
        News::Expiring { days, .. } => format!("{}-{}-{days}", news.kind(), request.id),
        _ => format!("{}-{}", news.kind(), request.id),
    };
    let sentence = news.sentence(request, zone);
    enforcement::insert_notice(tx, account.payer_id, account.id, NO_EPOCH, &event, &sentence, news.date(), false, now)
        .await?;
    if let News::Changed(reason) = news {
        let subject = format!("the API key of request {} changed by itself and was switched off", request.id);
        let body = format!(
            "{}: {reason}. Its user is {}. The key was made for: {}\nWhoever has a key, or a sign-in of the account, can replace \
             its pair as long as the account's role allows registerUserKeys; `bursar key rules` shows such roles and what to do.",
            account.full_name(),
            request.username.as_deref().unwrap_or("unknown"),
            request.purpose
        );
        notify::insert_admin_notice(tx, &event, "key-changed", &subject, &body, now).await?;
    }
    Ok(())
}

/// Tells administrators that a request waits.
pub(super) async fn tell_filed(
    tx: &mut Tx,
    request: &KeyRequest,
    settings: &AccessSettings,
    now: Timestamp,
) -> Result<(), StoreError> {
    let account = cloud::get_account(tx, request.account_id).await?;
    let subject = format!("{} asks for API access (request {})", account.full_name(), request.id);
    let approvals = if settings.two_approvals { " Two administrators have to approve." } else { "" };
    let body = format!(
        "Purpose: {}\nFor {} days, asked for by {}.{approvals}\n`bursar key approve {id}` or `bursar key deny {id} --message …` \
         answers it, and so does the page Queue.",
        request.purpose,
        request.days,
        request.requested_by,
        id = request.id
    );
    notify::insert_admin_notice(tx, &format!("key-request/{}", request.id), "key-request", &subject, &body, now)
        .await?;
    Ok(())
}

/// Tells administrators what a look at a pair's user found changed by hand.
pub(super) async fn tell_watched(
    tx: &mut Tx,
    request: &KeyRequest,
    found: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let account = cloud::get_account(tx, request.account_id).await?;
    let username = request.username.as_deref().unwrap_or("unknown");
    let subject = format!("the user of an API key was changed by hand (request {})", request.id);
    let body = format!(
        "{username} of {}: {found}.\nbursar did not do this. The key still works as far as CloudStack lets it; if nobody of you did it \
         either, `bursar key revoke {}`.",
        account.full_name(),
        request.id
    );
    // The same change seen again is told again only if something else was seen in between.
    let key = format!("key-watch/{}/{}", request.id, now.as_ms());
    notify::insert_admin_notice(tx, &key, "key-watch", &subject, &body, now).await?;
    Ok(())
}

/// Tells administrators of an entry in CloudStack's event log about a pair's user, once for each entry.
pub async fn tell_touched(
    tx: &mut Tx,
    request: &KeyRequest,
    (event, who, what): (&str, &str, &str),
    now: Timestamp,
) -> Result<bool, StoreError> {
    let account = cloud::get_account(tx, request.account_id).await?;
    let username = request.username.as_deref().unwrap_or("unknown");
    let subject = format!("{who} changed the user of an API key (request {})", request.id);
    let body = format!(
        "CloudStack's event log has \"{what}\" about {username} of {}, by {who} and not by bursar. A changed password shows nowhere \
         else. If nobody of you did this, `bursar key revoke {}`.",
        account.full_name(),
        request.id
    );
    notify::insert_admin_notice(tx, &format!("key-touched/{event}"), "key-watch", &subject, &body, now).await
}

/// Users named in a message; the count says the rest.
const NAMED: usize = 10;

/// Tells everybody of an account that CloudStack's own self-service is closed there, once, and whose keys end by it.
pub(super) async fn tell_closed(
    tx: &mut Tx,
    account: &cloud::Account,
    closing: i64,
    dying: &[&str],
    now: Timestamp,
) -> Result<(), StoreError> {
    let whose = match dying {
        [] => String::new(),
        [one] => format!(" The API key of {one} stops working now."),
        [first @ .., last] if dying.len() <= NAMED => {
            format!(" The API keys of {} and {last} stop working now.", first.join(", "))
        }
        _ => {
            let named: Vec<&str> = dying.iter().copied().take(NAMED).collect();
            format!(" The API keys of {} and {} others stop working now.", named.join(", "), dying.len() - NAMED)
        }
    };
    let sentence = format!(
        "API keys that people of your account make in CloudStack by themselves do not work any more.{whose} Keys that were asked for on \
         the page Request API Access work on; ask for a key there."
    );
    let event = format!("key-closed-{closing}");
    enforcement::insert_notice(tx, account.payer_id, account.id, NO_EPOCH, &event, &sentence, None, false, now).await?;
    Ok(())
}

/// Tells everybody of an account that it is open again, once.
pub(super) async fn tell_opened(
    tx: &mut Tx,
    account: &cloud::Account,
    closing: i64,
    now: Timestamp,
) -> Result<(), StoreError> {
    let sentence = "API keys that people of your account have made in CloudStack by themselves work again, and they can make others. \
                    A key that an administrator has switched off stays off.";
    let event = format!("key-opened-{closing}");
    enforcement::insert_notice(tx, account.payer_id, account.id, NO_EPOCH, &event, sentence, None, false, now).await?;
    Ok(())
}
