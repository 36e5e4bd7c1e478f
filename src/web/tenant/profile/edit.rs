//! The form of My Profile.

use askama::Template;
use axum::{extract::State, response::Response};
use chrono_tz::Tz;

use super::super::own::{failed, own, to_the_end, told};
use crate::web::{
    WebState,
    access::{Fields, Mistake, Tenant, TenantForm},
    error::Failure,
    pages::{self, Frame, Page},
    rights::{Own as OwnRight, Right},
    words::{self, own as own_words},
};
use crate::{
    cloudstack::User,
    email::EmailAddress,
    jobs, notify,
    people::{
        address::{self as new_address, AddressError},
        own::Own,
        profile::{self, ProfileError, Wanted},
    },
    store::profiles::Profile,
};

/// The longest phone number.
const MOST_PHONE_CHARS: usize = 40;

/// What stands in the fields.
#[derive(Default)]
struct Typed {
    first_name: String,
    last_name: String,
    email: String,
    timezone: String,
    profile: Profile,
}

#[derive(Template)]
#[template(path = "profile_edit.html")]
struct EditPage {
    frame: Frame,
    problem: Option<String>,
    mistakes: Vec<Mistake>,
    typed: Typed,
    seen: String,
    /// Whether a new address can be confirmed.
    mails: bool,
    zones: Vec<String>,
}

impl EditPage {
    fn wrong(&self, field: &str) -> Option<&str> {
        self.mistakes.iter().find(|mistake| mistake.field == field).map(|mistake| mistake.text.as_str())
    }
}

/// The zones to choose from, and the present one, should it be none of them.
fn zones(present: &str) -> Vec<String> {
    let mut zones: Vec<String> = chrono_tz::TZ_VARIANTS.iter().map(|zone| zone.name().to_owned()).collect();
    if !present.is_empty() && !zones.iter().any(|zone| zone == present) {
        zones.insert(0, present.to_owned());
    }
    zones
}

fn build<R: Right>(state: &WebState, tenant: &Tenant<R>, user: &User, kept: Profile) -> EditPage {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let typed = Typed {
        first_name: text(&user.first_name),
        last_name: text(&user.last_name),
        email: text(&user.email),
        timezone: text(&user.timezone),
        profile: kept,
    };
    EditPage {
        frame: Frame::around(state, tenant, Page::Profile),
        problem: None,
        mistakes: Vec::new(),
        seen: profile::stamp(user, &typed.profile),
        mails: notify::can_confirm(&jobs::mail::settings(&state.app)),
        zones: zones(&typed.timezone),
        typed,
    }
}

/// The form as it stands.
pub(in crate::web::tenant) async fn form(
    State(state): State<WebState>,
    tenant: Tenant<OwnRight>,
) -> Result<Response, Failure> {
    let own = own(&state, &tenant)?;
    let user = own.read().await.map_err(|error| failed(&state, error))?;
    let kept = profile::kept(&own).await.map_err(|error| failed(&state, error))?;
    pages::show(&build(&state, &tenant, &user, kept))
}

/// Reads the fields; what is wrong is told beside each.
fn read(fields: &Fields, user: &User) -> (Typed, Vec<Mistake>) {
    let mut mistakes = Vec::new();
    let mut taken = |text: Result<String, Mistake>, field: &str| {
        text.unwrap_or_else(|mistake| {
            mistakes.push(mistake);
            fields.get(field).to_owned()
        })
    };
    let (name, line) = (profile::MOST_NAME_CHARS, profile::MOST_LINE_CHARS);
    let mut typed = Typed {
        first_name: taken(fields.needed("firstname", name, own_words::FIRST_NAME_WANTED), "firstname"),
        last_name: taken(fields.needed("lastname", name, own_words::LAST_NAME_WANTED), "lastname"),
        email: fields.get("email").to_owned(),
        timezone: fields.get("timezone").to_owned(),
        profile: Profile {
            phone: taken(fields.line("phone", MOST_PHONE_CHARS), "phone"),
            company: taken(fields.line("company", line), "company"),
            location: taken(fields.line("location", line), "location"),
            address: fields.get("address").replace("\r\n", "\n"),
        },
    };
    let phone = &typed.profile.phone;
    if !phone.chars().all(|sign| sign.is_ascii_digit() || " +()-./".contains(sign)) {
        mistakes.push(Mistake::new("phone", own_words::PHONE_WRONG));
    }
    let address = &typed.profile.address;
    if address.chars().count() > profile::MOST_ADDRESS_CHARS {
        mistakes.push(Mistake::new("address", words::too_long(profile::MOST_ADDRESS_CHARS)));
    } else if address.lines().count() > profile::MOST_ADDRESS_LINES
        || address.chars().any(|sign| sign.is_control() && sign != '\n')
    {
        mistakes.push(Mistake::new("address", own_words::LINES_WRONG));
    }
    let present = user.timezone.as_deref().unwrap_or_default();
    if typed.timezone != present && typed.timezone.parse::<Tz>().is_err() {
        mistakes.push(Mistake::new("timezone", own_words::TIMEZONE_WRONG));
        present.clone_into(&mut typed.timezone);
    }
    (typed, mistakes)
}

/// The new address, if one was typed.
fn new_email(typed: &str, user: &User, mails: bool) -> Result<Option<EmailAddress>, Mistake> {
    let present = user.email.as_deref().unwrap_or_default();
    if !mails || typed == present {
        return Ok(None);
    }
    if typed.is_empty() {
        return Err(Mistake::new("email", own_words::EMAIL_EMPTY));
    }
    EmailAddress::parse(typed)
        .ok()
        .filter(EmailAddress::looks_deliverable)
        .map(Some)
        .ok_or_else(|| Mistake::new("email", own_words::EMAIL_WRONG))
}

/// Saves what was filled in.
pub(in crate::web::tenant) async fn save(
    State(state): State<WebState>,
    TenantForm { tenant, fields }: TenantForm<OwnRight>,
) -> Result<Response, Failure> {
    let own = own(&state, &tenant)?;
    let user = own.read().await.map_err(|error| failed(&state, error))?;
    let kept = profile::kept(&own).await.map_err(|error| failed(&state, error))?;
    let mut page = build(&state, &tenant, &user, kept);
    let (typed, mut mistakes) = read(&fields, &user);
    let email = match new_email(&typed.email, &user, page.mails) {
        Ok(email) => email,
        Err(mistake) => {
            mistakes.push(mistake);
            None
        }
    };
    if !mistakes.is_empty() {
        return pages::show_refused(&EditPage { mistakes, typed, seen: fields.get("seen").to_owned(), ..page });
    }
    let wanted = Wanted {
        first_name: typed.first_name.clone(),
        last_name: typed.last_name.clone(),
        timezone: typed.timezone.clone(),
        profile: typed.profile.clone(),
    };
    let seen = fields.get("seen").to_owned();
    let work = carry_out(state.clone(), own, user, wanted, seen.clone(), email);
    let problem = match to_the_end(work).await? {
        Ok(word) => return Ok(pages::done(&state, Page::Profile, word)),
        Err(NotSaved::Profile(ProfileError::Own(error)) | NotSaved::Address(AddressError::Own(error))) => {
            told(&state, error)?
        }
        Err(NotSaved::Profile(ProfileError::NotDone)) => own_words::NOT_DONE.to_owned(),
        Err(NotSaved::Profile(ProfileError::Meanwhile)) => {
            // What was typed would undo what the other one did: it is shown how it stands.
            page.problem = Some(own_words::MEANWHILE.to_owned());
            return pages::show_refused(&page);
        }
        Err(NotSaved::Address(error)) => {
            let text = match error {
                AddressError::TooMany => own_words::EMAIL_TOO_MANY,
                AddressError::Busy => own_words::EMAIL_BUSY,
                AddressError::Same | AddressError::Own(_) => own_words::EMAIL_WRONG,
            };
            page.mistakes.push(Mistake::new("email", text));
            // The rest was saved: the form stands on that from now on.
            return pages::show_refused(&EditPage { typed, ..page });
        }
    };
    pages::show_refused(&EditPage { problem: Some(problem), typed, seen, ..page })
}

enum NotSaved {
    Profile(ProfileError),
    Address(AddressError),
}

async fn carry_out(
    state: WebState,
    own: Own,
    user: User,
    wanted: Wanted,
    seen: String,
    email: Option<EmailAddress>,
) -> Result<&'static str, NotSaved> {
    profile::save(&own, &wanted, &seen).await.map_err(NotSaved::Profile)?;
    let Some(email) = email else { return Ok("saved") };
    let settings = jobs::mail::settings(&state.app);
    let until = state.app.clock.now().plus(new_address::LINK_WORKS_FOR);
    let old = user.email.as_deref().and_then(|text| EmailAddress::parse(text).ok());
    let random = state.app.random.clone();
    new_address::request(&own, user.email.as_deref(), &email, |token| {
        notify::address_asked(&user.username, old.as_ref(), &email, token, until, &settings, random.as_ref())
    })
    .await
    .map_err(NotSaved::Address)?;
    state.wake.notify_one();
    Ok("asked")
}
