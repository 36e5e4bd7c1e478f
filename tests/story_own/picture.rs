//! The picture of My Profile.

use std::io::Cursor;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use image::{DynamicImage, GenericImageView as _, ImageFormat, RgbImage};

use super::*;
use crate::harness::on_each_database;

fn picture(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(RgbImage::new(width, height)).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// The address of the picture on the page.
fn address(page: &Answer) -> String {
    let (_, after) = page.text.split_once(&format!("src=\"{BASE}/profile/picture?v=")).unwrap();
    format!("/profile/picture?v={}", after.split_once('"').unwrap().0)
}

impl Browser<'_> {
    async fn send_picture(&mut self, name: &str, kind: &str, file: &[u8]) -> Answer {
        let csrf = self.csrf.clone();
        self.upload(&csrf, name, kind, file).await
    }
}

#[tokio::test]
async fn a_picture_is_made_square_shown_to_its_person_and_set_as_an_icon() {
    on_each_database(|database| async {
        let place = Place::open(database).await;
        let mut browser = place.alice().await;
        browser.open("/profile").await.says("No picture");
        let mut upload = picture(ImageFormat::Jpeg, 900, 300);
        upload.extend_from_slice(b"<script>alert(1)</script>");
        browser.send_picture("me.jpg", "image/jpeg", &upload).await.is_done("picture");
        let page = browser.open("/profile?done=picture").await;
        page.says("Your picture is saved.").says("CloudStack shows it too.");
        let shown = browser.send(browser.request(reqwest::Method::GET, &address(&page))).await;
        assert_eq!((shown.status, &shown.headers["content-type"]), (200, &"image/png".parse().unwrap()));
        assert_eq!(shown.headers["x-content-type-options"], "nosniff");
        assert!(shown.headers["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
        assert!(shown.headers["cache-control"].to_str().unwrap().starts_with("private"));
        let read = image::load_from_memory_with_format(&shown.bytes, ImageFormat::Png).unwrap();
        assert_eq!(read.dimensions(), (256, 256));
        assert!(!shown.text.contains("<script>"));
        let icon = STANDARD.decode(place.person().icon.unwrap()).unwrap();
        assert_eq!(image::load_from_memory(&icon).unwrap().dimensions(), (96, 96));

        // It is hers alone.
        let mut bob = place.sign_in("bob", PASSWORD, "/").await;
        bob.open("/profile").await.says("No picture");
        let foreign = bob.send(bob.request(reqwest::Method::GET, &address(&page))).await;
        assert_eq!(foreign.status, 404);
        let nobody = place.client.get(format!("{}{BASE}{}", place.url, address(&page))).send().await.unwrap();
        assert_eq!(nobody.status(), 401);

        browser.open("/profile").await;
        browser.post("/profile/picture/remove", &[]).await.is_done("picture-removed");
        assert_eq!(place.person().icon, None);
        browser.open("/profile").await.says("No picture");
        browser.post("/profile/picture/remove", &[]).await.is_done("picture-removed");
    })
    .await;
}

#[tokio::test]
async fn hostile_uploads_are_told_by_what_they_are_and_leave_nothing() {
    let place = Place::open(Database::sqlite()).await;
    let mut browser = place.alice().await;
    browser.open("/profile").await;
    let png = picture(ImageFormat::Png, 64, 64);
    let mut bomb = png.clone();
    bomb[16..20].copy_from_slice(&60_000_u32.to_be_bytes());
    for (name, kind, file, words) in [
        (
            "me.png",
            "image/png",
            &b"<svg xmlns=\"http://www.w3.org/2000/svg\" onload=\"alert(1)\"/>"[..],
            "neither a PNG nor",
        ),
        ("me.png", "image/png", b"<!DOCTYPE html><script>alert(1)</script>", "neither a PNG nor"),
        ("me.jpg", "image/jpeg", b"GIF89a\x01\x00\x01\x00\x00\x00\x00", "neither a PNG nor"),
        ("me.png", "image/png", &png[..png.len() / 2], "can not be read"),
        ("me.png", "image/png", &bomb, ""),
        ("me.png", "image/png", b"", "Choose a file first."),
    ] {
        let answer = browser.send_picture(name, kind, file).await;
        answer.is_refused_with(words).says("No picture");
    }
    // The name and the kind that a file claims do not count, in either direction.
    browser.send_picture("../../etc/passwd", "text/html", &png).await.is_done("picture");
    let page = browser.open("/profile").await;
    assert!(!page.text.contains("passwd"));
    assert_eq!(place.calls("uploadResourceIcon"), 1);
}

#[tokio::test]
async fn an_upload_may_be_five_megabytes_and_other_forms_may_not() {
    let place = Place::open(Database::sqlite()).await;
    let mut browser = place.alice().await;
    browser.open("/profile").await;
    let png = picture(ImageFormat::Png, 64, 64);
    let padded = |length: usize| png.iter().copied().chain(std::iter::repeat(0)).take(length).collect::<Vec<u8>>();
    browser.send_picture("me.png", "image/png", &padded(4 * 1024 * 1024)).await.is_done("picture");
    browser.send_picture("me.png", "image/png", &padded(5 * 1024 * 1024 + 1)).await.is_refused_with("bigger than 5 MB");
    let answer = browser.send_picture("me.png", "image/png", &padded(6 * 1024 * 1024)).await;
    assert_eq!(answer.status, 413, "{}", answer.text);
    let long = "x".repeat(300 * 1024);
    let answer = browser.post("/profile/edit", &[("address", &long)]).await;
    assert_eq!(answer.status, 413);
}

#[tokio::test]
async fn an_upload_needs_the_token_and_comes_from_here() {
    let place = Place::open(Database::sqlite()).await;
    let mut browser = place.alice().await;
    browser.open("/profile").await;
    let png = picture(ImageFormat::Png, 64, 64);
    for csrf in ["", "0000"] {
        assert_eq!(browser.upload(csrf, "me.png", "image/png", &png).await.status, 403);
    }
    let request = browser.request(reqwest::Method::POST, "/profile/picture").header("content-type", "text/plain");
    assert!(browser.send(request.body("not a form")).await.status >= 400);
    assert_eq!((place.person().icon, place.calls("uploadResourceIcon")), (None, 0));
}

#[tokio::test]
async fn where_cloudstack_does_not_take_it_the_picture_is_kept_here_and_the_page_says_so() {
    let place = Place::open_with(Database::sqlite(), &[], |world| {
        let user = world.find_role("User").unwrap();
        world.add_first_rule(user, "uploadResourceIcon", false);
    })
    .await;
    let mut browser = place.alice().await;
    browser.open("/profile").await;
    let png = picture(ImageFormat::Png, 64, 64);
    browser.send_picture("me.png", "image/png", &png).await.is_done("picture");
    browser.open("/profile").await.says("CloudStack did not take it as your icon");
    assert_eq!(place.person().icon, None);

    let place = Place::open(Database::sqlite()).await;
    let mut browser = place.alice().await;
    browser.open("/profile").await;
    place.fault("uploadResourceIcon", FaultKind::CutBeforeAction);
    browser.send_picture("me.png", "image/png", &png).await.is_done("picture");
    browser.open("/profile").await.says("whether CloudStack took it as your icon is not known");
    place.fault("deleteResourceIcon", FaultKind::Status(503));
    browser.post("/profile/picture/remove", &[]).await.is_done("picture-removed-here");
}
