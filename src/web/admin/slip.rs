//! A form of the queue that was refused: the page that it stood on is shown again, with what was typed, and with what is wrong
//! beside the field.

use axum::http::StatusCode;

use crate::web::{
    access::{Fields, Mistake},
    error::Failure,
    words,
};

/// The refused form, if one was.
#[derive(Default)]
pub(super) struct Slip(Option<Refused>);

struct Refused {
    /// What kind of form it is.
    form: &'static str,
    /// The number of what it is about.
    id: i64,
    mistake: Mistake,
    typed: Fields,
}

impl Slip {
    /// A form about the thing of this number was refused.
    pub(super) const fn new(form: &'static str, id: i64, mistake: Mistake, typed: Fields) -> Self {
        Self(Some(Refused { form, id, mistake, typed }))
    }

    /// The kind of the form; empty: none was refused.
    pub(super) fn form(&self) -> &'static str {
        self.0.as_ref().map_or("", |refused| refused.form)
    }

    /// The number of what the form is about.
    pub(super) fn id(&self) -> Option<i64> {
        self.0.as_ref().map(|refused| refused.id)
    }

    /// Where there is no such form any more: as an answer of its own.
    pub(super) fn into_failure(self) -> Failure {
        let text = self.0.map_or_else(|| words::NOT_LIKE_THIS.to_owned(), |refused| refused.mistake.text);
        Failure::new(StatusCode::CONFLICT, "refused", text)
    }

    fn of(&self, form: &str, id: i64) -> Option<&Refused> {
        self.0.as_ref().filter(|refused| refused.form == form && refused.id == id)
    }

    /// What is wrong with a field.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "templates hand on by reference")]
    pub(super) fn wrong(&self, form: &str, id: &i64, field: &str) -> Option<&str> {
        let refused = self.of(form, *id).filter(|refused| refused.mistake.field == field);
        refused.map(|refused| refused.mistake.text.as_str())
    }

    /// What was typed, or what stands there at first.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "templates hand on by reference")]
    pub(super) fn typed<'a>(&'a self, form: &str, id: &i64, field: &str, otherwise: &'a str) -> &'a str {
        self.of(form, *id).map_or(otherwise, |refused| refused.typed.get(field))
    }

    /// Whether a choice was made.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "templates hand on by reference")]
    pub(super) fn chose(&self, form: &str, id: &i64, field: &str, value: &str) -> bool {
        self.of(form, *id).is_some_and(|refused| refused.typed.get(field) == value)
    }
}
