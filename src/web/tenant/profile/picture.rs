//! The person's picture: uploaded, shown, removed.

use axum::{
    extract::{FromRequest as _, Multipart, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use tokio::sync::Semaphore;

use super::{
    super::own::{failed, own, to_the_end},
    build,
};
use crate::web::{
    WebState,
    access::{self, Tenant, TenantForm},
    error::Failure,
    pages::{self, Page},
    rights::Own as OwnRight,
    words::{self, own as own_words},
};
use crate::{
    people::{
        picture::{self, MOST_BYTES, Picture, PictureError},
        profile::{self, Icon},
    },
    store::profiles,
};

/// The most bytes of the whole form: the picture, and the little around it.
pub(in crate::web) const MOST_FORM_BYTES: usize = MOST_BYTES + 64 * 1024;
/// Parts of the form that are read: a token, a nonce and the picture.
const MOST_PARTS: usize = 4;
/// The longest field that is no picture.
const MOST_FIELD_BYTES: usize = 1024;
/// Pictures that are unfolded at once: each may take a hundred megabytes for a moment.
static AT_ONCE: Semaphore = Semaphore::const_new(1);

/// The picture, for the person alone.
pub(in crate::web::tenant) async fn picture(
    State(state): State<WebState>,
    tenant: Tenant<OwnRight>,
) -> Result<Response, Failure> {
    let user = tenant.user().ok_or_else(|| Failure::forbidden(words::WHO_OF_THEM))?;
    let png = profiles::find_picture(&mut state.app.store.read().await?, &user.to_string()).await?;
    let png = png.ok_or_else(|| Failure::missing(own_words::NO_PICTURE))?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("image/png")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("inline; filename=\"picture.png\"")),
        // Its address changes with its content; nobody but this browser keeps it.
        (header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=3600")),
        (header::HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    ];
    Ok((headers, png).into_response())
}

/// Reads the form by parts: its token and its file. What the file calls itself does not count.
async fn read(multipart: &mut Multipart) -> Result<(String, Vec<u8>), Failure> {
    let unreadable = |error: axum::extract::multipart::MultipartError| match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Failure::new(StatusCode::PAYLOAD_TOO_LARGE, "too-big", words::TOO_BIG),
        _ => Failure::new(StatusCode::BAD_REQUEST, "bad-request", words::NOT_LIKE_THIS),
    };
    let (mut csrf, mut file) = (String::new(), Vec::new());
    for _ in 0..MOST_PARTS {
        let Some(field) = multipart.next_field().await.map_err(unreadable)? else { break };
        let name = field.name().unwrap_or_default().to_owned();
        let bytes = field.bytes().await.map_err(unreadable)?;
        match name.as_str() {
            "csrf" if bytes.len() <= MOST_FIELD_BYTES => csrf = String::from_utf8_lossy(&bytes).into_owned(),
            "picture" => file = bytes.to_vec(),
            _ => {}
        }
    }
    Ok((csrf, file))
}

/// Unfolding takes a moment and much memory: beside the requests, one at a time.
async fn made(file: Vec<u8>) -> Result<Result<Picture, PictureError>, Failure> {
    let _turn = AT_ONCE.acquire().await.map_err(|error| Failure::unexpected(&error))?;
    tokio::task::spawn_blocking(move || picture::make(&file)).await.map_err(|error| Failure::unexpected(&error))
}

/// Takes an upload.
pub(in crate::web::tenant) async fn upload(
    State(state): State<WebState>,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let proof = access::proof_of_form(&parts, &state)?;
    let request = Request::from_parts(parts, body);
    let mut multipart = Multipart::from_request(request, &state)
        .await
        .map_err(|rejection| Failure::new(rejection.status(), "bad-request", words::NOT_LIKE_THIS))?;
    let (csrf, file) = read(&mut multipart).await?;
    let tenant = access::admit::<OwnRight>(&state, &proof, &csrf).await?;
    let own = own(&state, &tenant)?;
    let picture = match made(file).await? {
        Ok(picture) => picture,
        Err(error) => {
            let mut page = build(&state, &tenant, &own, None).await?;
            page.picture_problem = Some(match error {
                PictureError::Empty => own_words::PICTURE_EMPTY,
                PictureError::TooBig => own_words::PICTURE_TOO_BIG,
                PictureError::OtherKind => own_words::PICTURE_OTHER_KIND,
                PictureError::TooManyPixels => own_words::PICTURE_TOO_MANY_PIXELS,
                PictureError::Broken => own_words::PICTURE_BROKEN,
            });
            return pages::show_refused(&page);
        }
    };
    let work = async move { profile::put_picture(&own, &picture).await };
    to_the_end(work).await?.map_err(|error| failed(&state, error))?;
    Ok(pages::done(&state, Page::Profile, "picture"))
}

/// Takes the picture away.
pub(in crate::web::tenant) async fn remove(
    State(state): State<WebState>,
    TenantForm { tenant, .. }: TenantForm<OwnRight>,
) -> Result<Response, Failure> {
    let own = own(&state, &tenant)?;
    let work = async move { profile::remove_picture(&own).await };
    let icon = to_the_end(work).await?.map_err(|error| failed(&state, error))?;
    let word = if icon == Icon::Set { "picture-removed" } else { "picture-removed-here" };
    Ok(pages::done(&state, Page::Profile, word))
}
