//! Style and script of the pages: compiled in, under names that change with their content, so that browsers may keep them.

use std::sync::LazyLock;

use axum::{
    extract::Path,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

/// What a page may load: its own files and nothing inline.
pub(super) const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; \
     connect-src 'self'; form-action 'self'; frame-ancestors 'self'; base-uri 'none'";

const STYLE: &str = include_str!("static/bursar.css");
const SCRIPT: &str = include_str!("static/bursar.js");

fn named(stem: &str, suffix: &str, content: &str) -> String {
    let digest = blake3::hash(content.as_bytes()).to_hex();
    format!("{stem}.{}.{suffix}", digest.get(..12).unwrap_or_default())
}

/// File name of the style.
pub(super) fn style_name() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| named("bursar", "css", STYLE));
    &NAME
}

/// File name of the script.
pub(super) fn script_name() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| named("bursar", "js", SCRIPT));
    &NAME
}

/// One of the files.
pub(super) async fn file(Path(name): Path<String>) -> Response {
    let (kind, content) = if name == style_name() {
        ("text/css; charset=utf-8", STYLE)
    } else if name == script_name() {
        ("text/javascript; charset=utf-8", SCRIPT)
    } else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let headers = [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")];
    (headers, content).into_response()
}
