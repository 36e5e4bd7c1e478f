//! Multi-Factor Authentication.

use askama::Template;
use axum::{
    extract::{Query, State},
    http::header,
    response::Response,
};
use qrcode::{Color, EcLevel, QrCode};

use super::own::{domain_settings, failed, own, to_the_end, told};
use crate::web::{
    WebState,
    access::{Fields, Tenant, TenantForm},
    error::Failure,
    pages::{self, After, Frame, Page},
    rights::{Own as OwnRight, Right},
    words::{self, own as own_words},
};
use crate::{
    cloudstack::User,
    people::{
        own::{Own, OwnError, Source},
        second_factor::{self, Begun, Ended, FactorError, State as Standing},
    },
    secrets::Secret,
};

/// What CloudStack calls itself where nobody says otherwise (`user.2fa.issuer`).
const ISSUER: &str = "CloudStack";
/// Modules of quiet around a QR code (ISO/IEC 18004).
const QUIET: usize = 4;
/// The ways that the form knows; CloudStack's own list decides which are offered.
const KNOWN_PROVIDERS: [&str; 2] = ["totp", "staticpin"];

#[derive(Template)]
#[template(path = "second_factor.html")]
struct FactorPage {
    frame: Frame,
    said: Option<&'static str>,
    problem: Option<String>,
    standing: Standing,
    /// None: nobody here can tell.
    allowed: Option<bool>,
    mandated: bool,
    /// Whether the code has to be given in the person's own session.
    single_sign_on: bool,
    providers: Vec<&'static str>,
    username: String,
}

impl FactorPage {
    const fn is_off(&self) -> bool {
        matches!(self.standing, Standing::Off)
    }

    fn is_not_allowed(&self) -> bool {
        self.allowed == Some(false)
    }

    fn mark(&self) -> Option<&str> {
        match &self.standing {
            Standing::Begun(mark) => Some(mark),
            _ => None,
        }
    }

    fn offers(&self, provider: &str) -> bool {
        self.providers.contains(&provider)
    }
}

/// The one look at the secret of a set-up.
#[derive(Template)]
#[template(path = "second_factor_begun.html")]
struct BegunPage {
    frame: Frame,
    mark: String,
    is_pin: bool,
    secret: String,
    /// Side of the QR code in modules, quiet zone included, and its dark modules as a path; None for a PIN.
    qr: Option<(usize, String)>,
}

async fn build<R: Right>(state: &WebState, tenant: &Tenant<R>, own: &Own, user: &User) -> Result<FactorPage, Failure> {
    let standing = second_factor::state(own, user).await.map_err(|error| failed(state, error))?;
    let mut allowed = None;
    let mut providers = Vec::new();
    if standing == Standing::Off {
        let settings = domain_settings(state, tenant.home(), "2fa").await;
        let is_on = |name: &str| settings.as_ref().and_then(|all| all.get(name)).map(|v| v.trim() == "true");
        // Mandated is allowed (`AccountManagerImpl.enableTwoFactorAuthentication`).
        allowed = match (is_on("enable.user.2fa"), is_on("mandate.user.2fa")) {
            (Some(enabled), mandated) => Some(enabled || mandated == Some(true)),
            (None, _) => None,
        };
        if allowed != Some(false) {
            let offered = own.sessions.second_factor_providers(&own.session).await.map_err(OwnError::from);
            let offered = offered.map_err(|error| failed(state, error))?;
            providers = KNOWN_PROVIDERS
                .into_iter()
                .filter(|known| offered.iter().any(|offered| offered.name.eq_ignore_ascii_case(known)))
                .collect();
        }
    }
    Ok(FactorPage {
        frame: Frame::around(state, tenant, Page::SecondFactor),
        said: None,
        problem: None,
        standing,
        allowed,
        mandated: user.is_2fa_mandated == Some(true),
        single_sign_on: Source::of(user) == Source::SingleSignOn,
        providers,
        username: user.username.clone(),
    })
}

/// The page as CloudStack has it now.
async fn anew<R: Right>(state: &WebState, tenant: &Tenant<R>, own: &Own) -> Result<FactorPage, Failure> {
    let user = own.read().await.map_err(|error| failed(state, error))?;
    build(state, tenant, own, &user).await
}

/// The page.
pub(super) async fn page(
    State(state): State<WebState>,
    tenant: Tenant<OwnRight>,
    Query(after): Query<After>,
) -> Result<Response, Failure> {
    let own = own(&state, &tenant)?;
    let page = anew(&state, &tenant, &own).await?;
    pages::show(&FactorPage { said: own_words::said(&after.done), ..page })
}

/// Begins one, and shows its secret this once.
pub(super) async fn begin(
    State(state): State<WebState>,
    TenantForm { tenant, fields }: TenantForm<OwnRight>,
) -> Result<Response, Failure> {
    let own = own(&state, &tenant)?;
    let Some(provider) = KNOWN_PROVIDERS.into_iter().find(|known| *known == fields.get("provider")) else {
        let problem = Some(own_words::FACTOR_NO_PROVIDER.to_owned());
        return pages::show_refused(&FactorPage { problem, ..anew(&state, &tenant, &own).await? });
    };
    let work = {
        let own = own.clone();
        async move { second_factor::begin(&own, provider).await }
    };
    let begun = match to_the_end(work).await? {
        Ok(begun) => begun,
        Err(error) => return refused(&state, &tenant, &own, error).await,
    };
    let issuer = domain_settings(&state, tenant.home(), "user.2fa.issuer")
        .await
        .and_then(|settings| settings.get("user.2fa.issuer").cloned())
        .filter(|issuer| !issuer.is_empty())
        .unwrap_or_else(|| ISSUER.to_owned());
    let Begun { mark, set_up } = begun;
    let is_pin = provider != "totp";
    let qr = if is_pin { None } else { qr(&second_factor::app_address(&issuer, &set_up.username, &set_up.secret)) };
    let mut response = pages::show(&BegunPage {
        frame: Frame::around(&state, &tenant, Page::SecondFactor),
        mark,
        is_pin,
        secret: set_up.secret.expose().to_owned(),
        qr,
    })?;
    response.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    Ok(response)
}

/// The dark modules of a QR code as a path, one step a module, and the side of the whole.
fn qr(text: &Secret) -> Option<(usize, String)> {
    use std::fmt::Write as _;
    let code = QrCode::with_error_correction_level(text.expose().as_bytes(), EcLevel::M).ok()?;
    let width = code.width();
    let mut path = String::new();
    for (at, color) in code.to_colors().into_iter().enumerate() {
        if color == Color::Dark {
            let (x, y) = (at.checked_rem(width)? + QUIET, at.checked_div(width)? + QUIET);
            let _ = write!(path, "M{x} {y}h1v1h-1z");
        }
    }
    Some((width + 2 * QUIET, path))
}

fn code(fields: &Fields) -> Secret {
    // Apps show "123 456".
    Secret::new(fields.get("code").split_whitespace().collect::<String>())
}

/// Confirms one by its first code.
pub(super) async fn confirm(
    State(state): State<WebState>,
    TenantForm { tenant, fields }: TenantForm<OwnRight>,
) -> Result<Response, Failure> {
    let own = own(&state, &tenant)?;
    let (mark, code) = (fields.get("mark").to_owned(), code(&fields));
    let work = {
        let own = own.clone();
        async move { second_factor::confirm(&own, &mark, &code).await }
    };
    match to_the_end(work).await? {
        Ok(()) => Ok(pages::done(&state, Page::SecondFactor, "factor-on")),
        Err(error) => refused(&state, &tenant, &own, error).await,
    }
}

/// Switches it off.
pub(super) async fn end(
    State(state): State<WebState>,
    TenantForm { tenant, fields }: TenantForm<OwnRight>,
) -> Result<Response, Failure> {
    let own = own(&state, &tenant)?;
    let (password, code) = (Secret::new(fields.exact("password")), code(&fields));
    let work = {
        let own = own.clone();
        async move { second_factor::end(&own, &password, &code).await }
    };
    match to_the_end(work).await? {
        Ok(Ended::SwitchedOff) => Ok(pages::done(&state, Page::SecondFactor, "factor-off")),
        Ok(Ended::WasNeverConfirmed) => Ok(pages::done(&state, Page::SecondFactor, "factor-cleared")),
        Err(error) => refused(&state, &tenant, &own, error).await,
    }
}

/// The page with why nothing was changed.
async fn refused<R: Right>(
    state: &WebState,
    tenant: &Tenant<R>,
    own: &Own,
    error: FactorError,
) -> Result<Response, Failure> {
    let problem = problem(state, error)?;
    pages::show_refused(&FactorPage { problem: Some(problem), ..anew(state, tenant, own).await? })
}

/// Why nothing was changed, as a sentence for the page; `Err`: a page of its own.
pub(super) fn problem(state: &WebState, error: FactorError) -> Result<String, Failure> {
    Ok(match error {
        FactorError::Own(OwnError::Unsure(why)) => {
            tracing::warn!(error = %why, "it is not known what became of a second factor");
            own_words::FACTOR_UNSURE.to_owned()
        }
        FactorError::Own(error) => told(state, error)?,
        FactorError::SignedOut => return Err(Failure::sign_in(own_words::FACTOR_SIGNED_OUT)),
        FactorError::WrongPassword { left } => own_words::wrong_password(left, true),
        FactorError::WrongCode { left } => own_words::wrong_code(left),
        FactorError::IsOn => own_words::FACTOR_IS_ON.to_owned(),
        FactorError::IsOff => own_words::FACTOR_IS_OFF.to_owned(),
        FactorError::NotAllowed => own_words::FACTOR_REFUSED.to_owned(),
        FactorError::SecretLost => own_words::FACTOR_SECRET_LOST.to_owned(),
        FactorError::NotACode => own_words::FACTOR_NOT_A_CODE.to_owned(),
        FactorError::Over => own_words::FACTOR_OVER.to_owned(),
        FactorError::Undone => own_words::FACTOR_UNDONE.to_owned(),
        FactorError::ShutOut => own_words::SHUT_OUT.to_owned(),
        FactorError::NotDone => own_words::FACTOR_NOT_DONE.to_owned(),
    })
}
