//! Records as a file. What is more than one read goes out page by page: each page is a look of its own into the store, so that
//! a slow reader holds no transaction open.

use std::sync::Arc;

use axum::response::Response;
use futures_util::stream;

use super::{
    Ask,
    period::Span,
    records::{self, FILE, Page, Which},
    sheet, shown,
};
use crate::{
    store::cloud::Account,
    web::{WebState, error::Failure, words},
};

/// What a file is made of.
struct Wanted {
    state: WebState,
    account: Account,
    ask: Ask,
    span: Span,
    which: Which,
}

impl Wanted {
    async fn part(&self, after: String) -> Result<Page, Failure> {
        let ask = Ask { after, ..self.ask.clone() };
        let mut tx = self.state.app.store.read().await?;
        let found = records::part(&self.state, &mut tx, &self.account, &ask, self.span, (self.which, FILE)).await?;
        tx.commit().await?;
        Ok(found)
    }

    fn rows(&self, found: &Page) -> Vec<Vec<String>> {
        shown::rows(found, self.state.app.config.billing.currency.code())
    }
}

/// All records that were asked for. A resource without any is not found; of a service there may be none.
pub(in crate::web) async fn records(
    state: &WebState,
    account: &Account,
    ask: Ask,
    span: Span,
    which: Which,
) -> Result<Response, Failure> {
    let wanted = Arc::new(Wanted { state: state.clone(), account: account.clone(), ask, span, which });
    let first = wanted.part(String::new()).await?;
    if which == Which::Resource && first.pieces.is_empty() && first.sums.is_empty() && first.next.is_none() {
        return Err(Failure::missing(words::usage::NOTHING_OF_THAT));
    }
    let (from, to) = (span.from.to_string(), span.last().to_string());
    let what = if which == Which::Resource { first.name.as_str() } else { wanted.ask.kind.as_str() };
    let name = ["records", account.name.as_str(), what, from.as_str(), to.as_str()];
    let rows = wanted.rows(&first);
    let Some(next) = first.next else { return sheet::answer(&name, &shown::HEAD, &rows) };
    let going_on = Arc::clone(&wanted);
    let rest = stream::try_unfold(Some(next), move |next| {
        let wanted = Arc::clone(&going_on);
        async move {
            let Some(after) = next else { return Ok(None) };
            let found = wanted.part(after).await?;
            Ok::<_, Failure>(Some((wanted.rows(&found), found.next)))
        }
    });
    sheet::answer_on(&name, &shown::HEAD, &rows, rest)
}
