//! What every page has in common: the menu, the frame around it, and how a form ends.

use askama::Template;
use axum::{
    http::StatusCode,
    response::{Html, IntoResponse, Redirect, Response},
};
use rust_decimal::Decimal;
use serde::Deserialize;

use super::{
    WebState, assets,
    error::{Failure, KeepsBody},
    session::Choice,
    words,
};
use crate::ledger::rules::Share;

/// Random bytes that make the forms of one page different from those of another.
pub(super) const NONCE_BYTES: usize = 16;

/// Who a page is for.
pub(super) trait Visitor {
    /// The person's name.
    fn username(&self) -> &str;
    /// The token for forms.
    fn csrf(&self) -> &str;
    /// Whether the administrator's pages are linked.
    fn administers(&self) -> bool;
    /// The accounts to choose from; empty where there is no choice.
    fn choices(&self) -> &[Choice] {
        &[]
    }
    /// Whether bursar can sign the person out: not where CloudStack signed them in.
    fn signs_out(&self) -> bool {
        false
    }
    /// What is known of the person as a user of CloudStack.
    fn standing_in_cloudstack(&self) -> InCloudStack;
}

/// What is known of a person as a user of CloudStack: that decides on the pages about the own user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InCloudStack {
    /// Signed in there, and it is known which user it is.
    SignedIn,
    /// It is known which user it is, by another way.
    Known,
    /// One of several users of an account, or none.
    Unknown,
}

macro_rules! menu {
    ($($(#[$doc:meta])* $page:ident $path:literal $label:ident;)*) => {
        /// A page of the menu.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Page { $($(#[$doc])* $page,)* }

        impl Page {
            /// Where it is, below the base path.
            pub(super) const fn path(self) -> &'static str {
                match self { $(Self::$page => $path,)* }
            }

            /// What it is called.
            pub(super) const fn label(self) -> &'static str {
                match self { $(Self::$page => words::$label,)* }
            }
        }
    };
}

menu! {
    /// The figures.
    Overview "/" OVERVIEW;
    /// What was used and what it cost.
    Usage "/usage" USAGE;
    /// The tenant's own tariffs.
    Prices "/prices" PRICES;
    /// Grants, codes and offers.
    Credits "/credits" CREDITS;
    /// How it is paid.
    PaymentSettings "/payment-settings" PAYMENT_SETTINGS;
    /// The person.
    Profile "/profile" PROFILE;
    /// A new password.
    Password "/password" PASSWORD;
    /// The second factor.
    SecondFactor "/second-factor" SECOND_FACTOR;
    /// Which notices a person gets.
    Notifications "/notifications" NOTIFICATIONS;
    /// Keys for programs.
    ApiAccess "/api-access" API_ACCESS;
    /// The way out.
    DeleteRequest "/delete-request" DELETE_REQUEST;
    /// The administrator's table.
    Accounts "/admin/accounts" ACCOUNTS;
    /// What is taken and given back.
    Enforcement "/admin/enforcement" ENFORCEMENT;
    /// What waits for an administrator.
    Queue "/admin/queue" QUEUE;
    /// Who is mapped to which account.
    People "/admin/people" PEOPLE;
    /// Who somebody is, and by which way signed in. The name at the menu's foot leads there; in the menu only
    /// where the pages about the own user are not.
    You "/you" YOU;
}

/// The groups of the menu. An administrator has the tenant's pages for the own account too.
const BILLING: &[Page] = &[Page::Overview, Page::Usage, Page::Prices, Page::Credits, Page::PaymentSettings];
const ACCOUNT: &[Page] =
    &[Page::Profile, Page::Password, Page::SecondFactor, Page::ApiAccess, Page::Notifications, Page::DeleteRequest];
/// Without a session of CloudStack's own, what changes the own user is out of reach.
const ACCOUNT_FROM_ELSEWHERE: &[Page] = &[Page::You, Page::ApiAccess, Page::Notifications, Page::DeleteRequest];
/// Who is nobody in particular finds the way to be known instead.
const ACCOUNT_OF_SOMEBODY: &[Page] = &[Page::You, Page::ApiAccess, Page::DeleteRequest];
const ADMINISTRATION: &[Page] = &[Page::Accounts, Page::Queue, Page::People, Page::Enforcement];

/// A part of the menu.
pub(super) struct Group {
    pub(super) title: &'static str,
    pub(super) pages: &'static [Page],
}

/// Around every page.
pub(super) struct Frame {
    /// Where links begin.
    pub(super) base: String,
    pub(super) style: &'static str,
    pub(super) script: &'static str,
    /// Who is signed in, if somebody is.
    pub(super) who: Option<String>,
    /// The accounts to choose from; empty where there is no choice.
    pub(super) choices: Vec<Choice>,
    /// Whether there is something to sign out of.
    pub(super) signs_out: bool,
    /// The menu.
    pub(super) menu: Vec<Group>,
    /// Which page of it this is.
    pub(super) here: Option<Page>,
    /// The token that forms carry.
    pub(super) csrf: String,
    /// Makes this page's forms different from those of the next one: sent twice, they do it once.
    pub(super) nonce: String,
}

impl Frame {
    /// Around a page for nobody in particular.
    pub(super) fn bare(state: &WebState) -> Self {
        Self {
            base: state.app.config.web.base_path.clone(),
            style: assets::style_name(),
            script: assets::script_name(),
            who: None,
            choices: Vec::new(),
            signs_out: false,
            menu: Vec::new(),
            here: None,
            csrf: String::new(),
            nonce: String::new(),
        }
    }

    /// Around a page for a person.
    pub(super) fn around(state: &WebState, visitor: &impl Visitor, here: Page) -> Self {
        let mut menu = vec![
            Group { title: words::MENU_BILLING, pages: BILLING },
            Group {
                title: words::MENU_ACCOUNT,
                pages: match visitor.standing_in_cloudstack() {
                    InCloudStack::SignedIn => ACCOUNT,
                    InCloudStack::Known => ACCOUNT_FROM_ELSEWHERE,
                    InCloudStack::Unknown => ACCOUNT_OF_SOMEBODY,
                },
            },
        ];
        if visitor.administers() {
            menu.push(Group { title: words::MENU_ADMINISTRATION, pages: ADMINISTRATION });
        }
        menu.retain(|group| !group.pages.is_empty());
        Self {
            who: Some(visitor.username().to_owned()),
            choices: visitor.choices().to_vec(),
            signs_out: visitor.signs_out(),
            menu,
            here: Some(here),
            csrf: visitor.csrf().to_owned(),
            nonce: state.app.random.hex(NONCE_BYTES),
            ..Self::bare(state)
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "templates hand on by reference")]
    pub(super) fn is_here(&self, page: &Page) -> bool {
        self.here.as_ref() == Some(page)
    }

    pub(super) fn title(&self) -> &'static str {
        self.here.map_or(words::PRODUCT, Page::label)
    }
}

/// A page as an answer.
pub(super) fn show(page: &impl Template) -> Result<Response, Failure> {
    Ok(Html(page.render().map_err(|error| Failure::unexpected(&error))?).into_response())
}

/// A page whose form was refused: what was typed stands in it, and what is wrong beside it.
pub(super) fn show_refused(page: &impl Template) -> Result<Response, Failure> {
    let mut response = show(page)?;
    *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    response.extensions_mut().insert(KeepsBody);
    Ok(response)
}

/// What a form just did, by a word of ours in the address. Each page turns the word into a sentence.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct After {
    pub(super) done: String,
}

/// After a form that was carried out: the page is opened anew, so that reloading it sends nothing again.
pub(super) fn done(state: &WebState, page: Page, word: &str) -> Response {
    let base = &state.app.config.web.base_path;
    Redirect::to(&format!("{base}{}?done={word}", page.path())).into_response()
}

/// The percentage used, for a bar: between 0 and 100, and as it is called; None: no credit.
pub(super) fn bar(share: Share) -> (String, Option<String>) {
    let width = share.for_thresholds().clamp(Decimal::ZERO, Decimal::ONE_HUNDRED).normalize().to_string();
    let called = match share {
        Share::Percent(percent) => Some(percent.round_dp(1).normalize().to_string()),
        Share::NoCreditUnused | Share::NoCreditUsed => None,
    };
    (width, called)
}

/// How urgent a percentage looks.
pub(super) fn urgency(share: Share) -> &'static str {
    let percent = share.for_thresholds();
    if percent >= Decimal::ONE_HUNDRED {
        "full"
    } else if percent >= Decimal::from(80) {
        "high"
    } else {
        "fine"
    }
}
