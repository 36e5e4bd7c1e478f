//! What bursar keeps of a person: fields that CloudStack lacks, a picture, a new address on its way, wrong tries, and a second
//! factor that was begun. The person is a CloudStack user.

use super::{StoreError, Tx, all, exec, maybe, scalar};
use crate::{ids::AccountId, time::Timestamp};

/// What CloudStack has no field for.
#[derive(Debug, Clone, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Profile {
    /// Phone number.
    pub phone: String,
    /// Company.
    pub company: String,
    /// Where the person is.
    pub location: String,
    /// Postal address, several lines.
    pub address: String,
}

/// A picture, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct PictureMark {
    /// Of its bytes.
    pub hash: String,
    /// waiting, set, refused, unknown.
    pub icon: String,
}

/// A change of the address.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct EmailChange {
    /// Its number.
    pub id: i64,
    /// The person.
    pub cloud_user_id: String,
    /// The person's account.
    pub account_id: AccountId,
    /// The address that CloudStack had.
    pub old_email: String,
    /// The address to come.
    pub new_email: String,
    /// waiting, confirmed, applying, applied, dropped.
    pub state: String,
    /// When it was asked for.
    pub requested_ms: Timestamp,
    /// Until when the link works.
    pub expires_ms: Timestamp,
    /// When it was confirmed.
    pub confirmed_ms: Option<Timestamp>,
}

/// What was tried wrongly since the last right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct Tried {
    /// How often.
    pub wrong: i64,
    /// The first of them.
    pub first_ms: Timestamp,
    /// The last of them.
    pub last_ms: Timestamp,
}

/// A person's profile; empty where nothing was ever saved.
pub async fn find_profile(tx: &mut Tx, user: &str) -> Result<Profile, StoreError> {
    let found =
        maybe!(tx, Profile, "select phone, company, location, address from profile where cloud_user_id = $1", user)?;
    Ok(found.unwrap_or_default())
}

/// Saves a profile.
pub async fn put_profile(
    tx: &mut Tx,
    user: &str,
    account: AccountId,
    profile: &Profile,
    now: Timestamp,
) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into profile (cloud_user_id, account_id, phone, company, location, address, updated_ms) \
         values ($1, $2, $3, $4, $5, $6, $7) on conflict (cloud_user_id) do update set account_id = excluded.account_id, \
           phone = excluded.phone, company = excluded.company, location = excluded.location, address = excluded.address, \
           updated_ms = excluded.updated_ms",
        user,
        account,
        &profile.phone,
        &profile.company,
        &profile.location,
        &profile.address,
        now
    )?;
    Ok(())
}

/// Whether a person has a picture, and which.
pub async fn find_picture_mark(tx: &mut Tx, user: &str) -> Result<Option<PictureMark>, StoreError> {
    maybe!(tx, PictureMark, "select hash, icon from profile_picture where cloud_user_id = $1", user)
}

/// A person's picture.
pub async fn find_picture(tx: &mut Tx, user: &str) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(maybe!(tx, (Vec<u8>,), "select png from profile_picture where cloud_user_id = $1", user)?.map(|(png,)| png))
}

/// Keeps a picture; whether CloudStack has it is yet to be seen.
pub async fn put_picture(
    tx: &mut Tx,
    user: &str,
    account: AccountId,
    png: &[u8],
    hash: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into profile_picture (cloud_user_id, account_id, png, hash, icon, updated_ms) \
         values ($1, $2, $3, $4, 'waiting', $5) on conflict (cloud_user_id) do update set account_id = excluded.account_id, \
           png = excluded.png, hash = excluded.hash, icon = 'waiting', updated_ms = excluded.updated_ms",
        user,
        account,
        png,
        hash,
        now
    )?;
    Ok(())
}

/// Notes what came of setting a picture as CloudStack's icon, unless another one was uploaded meanwhile.
pub async fn put_picture_icon(tx: &mut Tx, user: &str, hash: &str, icon: &str) -> Result<bool, StoreError> {
    Ok(exec!(tx, "update profile_picture set icon = $1 where cloud_user_id = $2 and hash = $3", icon, user, hash)? == 1)
}

/// Forgets a picture.
pub async fn delete_picture(tx: &mut Tx, user: &str) -> Result<bool, StoreError> {
    Ok(exec!(tx, "delete from profile_picture where cloud_user_id = $1", user)? == 1)
}

/// Files a change of the address; one that is still open is dropped for it. [`StoreError::Exists`] while one is being carried out.
#[expect(clippy::too_many_arguments, reason = "the columns of one row")]
pub async fn insert_email_change(
    tx: &mut Tx,
    user: &str,
    account: AccountId,
    old_email: &str,
    new_email: &str,
    token_hash: &str,
    expires: Timestamp,
    now: Timestamp,
) -> Result<i64, StoreError> {
    drop_email_change(tx, user, now).await?;
    scalar!(
        tx,
        i64,
        "insert into email_change (cloud_user_id, account_id, old_email, new_email, token_hash, state, requested_ms, \
           expires_ms) values ($1, $2, $3, $4, $5, 'waiting', $6, $7) returning id",
        user,
        account,
        old_email,
        new_email,
        token_hash,
        now,
        expires
    )
}

/// How many changes a person asked for since an instant.
pub async fn count_email_changes(tx: &mut Tx, user: &str, since: Timestamp) -> Result<i64, StoreError> {
    scalar!(tx, i64, "select count(*) from email_change where cloud_user_id = $1 and requested_ms > $2", user, since)
}

/// The change that is on its way; one whose link has run out is none.
pub async fn find_email_change(tx: &mut Tx, user: &str, now: Timestamp) -> Result<Option<EmailChange>, StoreError> {
    maybe!(
        tx,
        EmailChange,
        "select id, cloud_user_id, account_id, old_email, new_email, state, requested_ms, expires_ms, confirmed_ms \
         from email_change where cloud_user_id = $1 and (state in ('confirmed', 'applying') \
           or (state = 'waiting' and expires_ms > $2)) order by id desc limit 1",
        user,
        now
    )
}

/// Redeems the token of a mail, once; None where it is unknown, used, dropped or has run out.
pub async fn confirm_email_change(
    tx: &mut Tx,
    token_hash: &str,
    now: Timestamp,
) -> Result<Option<EmailChange>, StoreError> {
    maybe!(
        tx,
        EmailChange,
        "update email_change set state = 'confirmed', confirmed_ms = $1 \
         where token_hash = $2 and state = 'waiting' and expires_ms > $1 \
         returning id, cloud_user_id, account_id, old_email, new_email, state, requested_ms, expires_ms, confirmed_ms",
        now,
        token_hash
    )
}

/// Whether a token was redeemed already, so that pressing the button twice is no mistake.
pub async fn is_email_change_confirmed(tx: &mut Tx, token_hash: &str) -> Result<bool, StoreError> {
    let found = maybe!(
        tx,
        (i64,),
        "select id from email_change where token_hash = $1 and state in ('confirmed', 'applying', 'applied')",
        token_hash
    )?;
    Ok(found.is_some())
}

/// Addresses that were confirmed here and that CloudStack took, by person: the newest of each. Somebody may have entered another one
/// in CloudStack since, so it is for the caller to compare.
pub async fn list_confirmed_addresses(
    tx: &mut Tx,
    account: Option<AccountId>,
) -> Result<Vec<(String, String)>, StoreError> {
    all!(
        tx,
        (String, String),
        "select cloud_user_id, new_email from email_change e where state = 'applied' and ($1 is null or account_id = $1) \
           and id = (select max(id) from email_change n where n.cloud_user_id = e.cloud_user_id and n.state = 'applied') \
         order by cloud_user_id",
        account
    )
}

/// Moves a change from one state to the next; false where somebody else was faster. From when it is being carried out, its
/// confirmation counts anew.
pub async fn move_email_change(tx: &mut Tx, id: i64, from: &str, to: &str, now: Timestamp) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update email_change set state = $1, ended_ms = case when $1 in ('applied', 'dropped') then $2 else ended_ms end, \
           confirmed_ms = case when $1 = 'applying' then $2 else confirmed_ms end \
         where id = $3 and state = $4",
        to,
        now,
        id,
        from
    )? == 1)
}

/// Drops the change that is on its way, unless it is being carried out at this moment. True: there was one.
pub async fn drop_email_change(tx: &mut Tx, user: &str, now: Timestamp) -> Result<bool, StoreError> {
    Ok(exec!(
        tx,
        "update email_change set state = 'dropped', ended_ms = $1 \
         where cloud_user_id = $2 and state in ('waiting', 'confirmed')",
        now,
        user
    )? > 0)
}

/// What a person tried wrongly.
pub async fn find_tried(tx: &mut Tx, user: &str, what: &str) -> Result<Option<Tried>, StoreError> {
    maybe!(tx, Tried, "select wrong, first_ms, last_ms from own_try where cloud_user_id = $1 and what = $2", user, what)
}

/// Counts a wrong try; where the last one is older than `since`, the count begins anew. Gives the count.
pub async fn count_wrong(
    tx: &mut Tx,
    user: &str,
    what: &str,
    since: Timestamp,
    now: Timestamp,
) -> Result<i64, StoreError> {
    scalar!(
        tx,
        i64,
        "insert into own_try (cloud_user_id, what, wrong, first_ms, last_ms) values ($1, $2, 1, $3, $3) \
         on conflict (cloud_user_id, what) do update set \
           wrong = case when own_try.last_ms < $4 then 1 else own_try.wrong + 1 end, \
           first_ms = case when own_try.last_ms < $4 then excluded.first_ms else own_try.first_ms end, \
           last_ms = excluded.last_ms returning wrong",
        user,
        what,
        now,
        since
    )
}

/// Takes one wrong try back: it was counted before the answer came, and the answer was a right one or none.
pub async fn uncount_wrong(tx: &mut Tx, user: &str, what: &str) -> Result<(), StoreError> {
    exec!(tx, "update own_try set wrong = wrong - 1 where cloud_user_id = $1 and what = $2 and wrong > 0", user, what)?;
    Ok(())
}

/// Forgets wrong tries after a right one.
pub async fn forget_tried(tx: &mut Tx, user: &str, what: &str) -> Result<(), StoreError> {
    exec!(tx, "delete from own_try where cloud_user_id = $1 and what = $2", user, what)?;
    Ok(())
}

/// Notes that a second factor was begun; an older note gives way.
pub async fn put_set_up(
    tx: &mut Tx,
    user: &str,
    account: AccountId,
    mark: &str,
    provider: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    exec!(
        tx,
        "insert into second_factor_set_up (cloud_user_id, account_id, mark, provider, begun_ms) \
         values ($1, $2, $3, $4, $5) on conflict (cloud_user_id) do update set account_id = excluded.account_id, \
           mark = excluded.mark, provider = excluded.provider, begun_ms = excluded.begun_ms",
        user,
        account,
        mark,
        provider,
        now
    )?;
    Ok(())
}

/// The second factor that waits for its first code: its mark.
pub async fn find_set_up(tx: &mut Tx, user: &str) -> Result<Option<String>, StoreError> {
    let found = maybe!(tx, (String,), "select mark from second_factor_set_up where cloud_user_id = $1", user)?;
    Ok(found.map(|(mark,)| mark))
}

/// Takes the note away, if it is of this set-up: whoever gets its provider may give the code, and nobody else.
pub async fn take_set_up(tx: &mut Tx, user: &str, mark: &str) -> Result<Option<String>, StoreError> {
    let taken = maybe!(
        tx,
        (String,),
        "delete from second_factor_set_up where cloud_user_id = $1 and mark = $2 returning provider",
        user,
        mark
    )?;
    Ok(taken.map(|(provider,)| provider))
}

/// Forgets that a second factor was begun.
pub async fn forget_set_up(tx: &mut Tx, user: &str) -> Result<(), StoreError> {
    exec!(tx, "delete from second_factor_set_up where cloud_user_id = $1", user)?;
    Ok(())
}

/// Forgets everything about people whose CloudStack user has been gone since before an instant.
pub async fn purge_gone(tx: &mut Tx, before: Timestamp) -> Result<u64, StoreError> {
    let mut rows = 0;
    rows += exec!(
        tx,
        "delete from profile where cloud_user_id in (select cloud_id from cloud_user where gone_ms < $1)",
        before
    )?;
    rows += exec!(
        tx,
        "delete from profile_picture where cloud_user_id in (select cloud_id from cloud_user where gone_ms < $1)",
        before
    )?;
    rows += exec!(
        tx,
        "delete from email_change where cloud_user_id in (select cloud_id from cloud_user where gone_ms < $1)",
        before
    )?;
    rows += exec!(
        tx,
        "delete from own_try where cloud_user_id in (select cloud_id from cloud_user where gone_ms < $1)",
        before
    )?;
    rows += exec!(
        tx,
        "delete from second_factor_set_up where cloud_user_id in (select cloud_id from cloud_user where gone_ms < $1)",
        before
    )?;
    Ok(rows)
}
