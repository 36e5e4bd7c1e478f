//! My Profile: what CloudStack and bursar know of the person; seen first, changed on a page of its own.

mod address;
mod edit;
mod picture;

use askama::Template;
use axum::{
    extract::{Query, State},
    response::Response,
};

pub(super) use self::{
    address::{confirm, confirm_page, give_up},
    edit::{form, save},
    picture::{MOST_FORM_BYTES, picture, remove, upload},
};
use super::own::{failed, own, to_the_end};
use crate::web::{
    WebState,
    access::Tenant,
    error::Failure,
    pages::{self, After, Frame, Page},
    rights::{Own as OwnRight, Right},
    words::{self, own as own_words},
};
use crate::{
    people::{address as new_address, own::Own, profile},
    store::profiles::{self, EmailChange, PictureMark},
};

/// Longest side of the picture on the page, in pixels.
const SHOWN_SIDE: u32 = 128;

#[derive(Template)]
#[template(path = "profile.html")]
struct ProfilePage {
    frame: Frame,
    said: Option<&'static str>,
    picture_problem: Option<&'static str>,
    account: String,
    limit: Option<String>,
    username: String,
    first_name: String,
    last_name: String,
    email: String,
    timezone: String,
    phone: String,
    company: String,
    location: String,
    address: Vec<String>,
    change: Option<EmailChange>,
    picture: Option<PictureMark>,
    side: u32,
}

/// A field, or that it is empty.
fn given(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or(own_words::NOT_GIVEN).to_owned()
}

impl ProfilePage {
    fn icon(&self) -> &'static str {
        match self.picture.as_ref().map(|mark| mark.icon.as_str()) {
            None => "",
            Some("set") => own_words::ICON_SET,
            Some("refused") => own_words::ICON_REFUSED,
            Some("waiting") => own_words::ICON_WAITING,
            Some(_) => own_words::ICON_UNKNOWN,
        }
    }
}

/// The page. A visit takes a confirmed address over.
pub(super) async fn page(
    State(state): State<WebState>,
    tenant: Tenant<OwnRight>,
    Query(after): Query<After>,
) -> Result<Response, Failure> {
    let own = own(&state, &tenant)?;
    let mut said = own_words::said(&after.done);
    if tenant.navigates() {
        let work = address::take_over(state.clone(), own.clone());
        let taken = to_the_end(work).await?.map_err(|error| failed(&state, error))?;
        if taken == new_address::TakenOver::Done {
            said = own_words::said("taken-over");
        }
    }
    pages::show(&build(&state, &tenant, &own, said).await?)
}

/// Reads everything that the page shows.
async fn build<R: Right>(
    state: &WebState,
    tenant: &Tenant<R>,
    own: &Own,
    said: Option<&'static str>,
) -> Result<ProfilePage, Failure> {
    let user = own.read().await.map_err(|error| failed(state, error))?;
    let profile = profile::kept(own).await.map_err(|error| failed(state, error))?;
    let change = new_address::on_its_way(own).await.map_err(|error| failed(state, error))?;
    let account = tenant.home();
    let mut tx = state.app.store.read().await?;
    let picture = profiles::find_picture_mark(&mut tx, &user.id.to_string()).await?;
    let standing = state.app.standing_of(&mut tx, account.payer_id).await?;
    tx.commit().await?;
    let limit = standing.managed.then(|| state.app.config.billing.currency.format(standing.figures.limit));
    Ok(ProfilePage {
        frame: Frame::around(state, tenant, Page::Profile),
        said,
        picture_problem: None,
        account: account.full_name(),
        limit,
        first_name: given(user.first_name.as_deref()),
        last_name: given(user.last_name.as_deref()),
        email: given(user.email.as_deref()),
        timezone: given(user.timezone.as_deref()),
        username: user.username,
        phone: given(Some(&profile.phone)),
        company: given(Some(&profile.company)),
        location: given(Some(&profile.location)),
        address: given(Some(&profile.address)).lines().map(str::to_owned).collect(),
        change,
        picture,
        side: SHOWN_SIDE,
    })
}
