//! What becomes of an uploaded picture: read by its content, cut to its middle square, made small, written anew as PNG.
//!
//! Promises: nothing of the upload's own bytes leaves this module; a picture that unfolds to more than [`MOST_PIXEL_BYTES`] is
//! refused before it is unfolded. Pure; takes its time, so callers let it run beside the requests.

use std::io::Cursor;

use image::{DynamicImage, ImageDecoder as _, ImageFormat, ImageReader, Limits, imageops::FilterType};

/// The most bytes of an upload. Photographs of phones have some four million.
pub const MOST_BYTES: usize = 5 * 1024 * 1024;
/// The longest side of an upload, in pixels.
const LONGEST_SIDE: u32 = 12_000;
/// The most memory that an upload may unfold to: a photograph of 40 million pixels.
const MOST_PIXEL_BYTES: u64 = 120 * 1024 * 1024;
/// The side of the picture that is kept, in pixels.
pub const SIDE: u32 = 256;
/// The side of the icon for CloudStack: even without any compression it fits into its column.
const ICON_SIDE: u32 = 96;

/// Why a picture is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PictureError {
    /// Nothing was uploaded.
    #[error("no picture was uploaded")]
    Empty,
    /// More bytes than [`MOST_BYTES`].
    #[error("the file is too big")]
    TooBig,
    /// Neither PNG nor JPEG, whatever its name says.
    #[error("the file is neither PNG nor JPEG")]
    OtherKind,
    /// It unfolds to more than memory is spent on.
    #[error("the picture has too many pixels")]
    TooManyPixels,
    /// It begins like a picture and does not go on like one.
    #[error("the picture can not be read")]
    Broken,
}

/// A picture as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// A PNG of [`SIDE`] × [`SIDE`] pixels.
    pub png: Vec<u8>,
    /// Of its bytes (hex).
    pub hash: String,
}

/// Makes a picture of an upload.
pub fn make(upload: &[u8]) -> Result<Picture, PictureError> {
    let png = written(&square(&read(upload)?, SIDE))?;
    let hash = blake3::hash(&png).to_hex().as_str().get(..32).unwrap_or_default().to_owned();
    Ok(Picture { png, hash })
}

/// The icon for CloudStack out of a kept picture.
pub fn icon(png: &[u8]) -> Result<Vec<u8>, PictureError> {
    written(&square(&read(png)?, ICON_SIDE))
}

fn read(bytes: &[u8]) -> Result<DynamicImage, PictureError> {
    if bytes.is_empty() {
        return Err(PictureError::Empty);
    }
    if bytes.len() > MOST_BYTES {
        return Err(PictureError::TooBig);
    }
    let Ok(format @ (ImageFormat::Png | ImageFormat::Jpeg)) = image::guess_format(bytes) else {
        return Err(PictureError::OtherKind);
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(LONGEST_SIDE);
    limits.max_image_height = Some(LONGEST_SIDE);
    limits.max_alloc = Some(MOST_PIXEL_BYTES);
    reader.limits(limits);
    let told = |error: image::ImageError| match error {
        image::ImageError::Limits(_) => PictureError::TooManyPixels,
        _ => PictureError::Broken,
    };
    let mut decoder = reader.into_decoder().map_err(told)?;
    if decoder.total_bytes() > MOST_PIXEL_BYTES {
        return Err(PictureError::TooManyPixels);
    }
    // Cameras say which way is up.
    let turned = decoder.orientation().ok();
    let mut picture = DynamicImage::from_decoder(decoder).map_err(told)?;
    if let Some(turned) = turned {
        picture.apply_orientation(turned);
    }
    Ok(picture)
}

/// The middle square, `side` pixels wide.
fn square(picture: &DynamicImage, side: u32) -> DynamicImage {
    let (width, height) = (picture.width(), picture.height());
    let shorter = width.min(height);
    let (left, top) = ((width - shorter) / 2, (height - shorter) / 2);
    let cut = picture.crop_imm(left, top, shorter, shorter).resize_exact(side, side, FilterType::Triangle);
    // Eight bits a channel: what every reader knows, and a bound on the size.
    if cut.color().has_alpha() { cut.into_rgba8().into() } else { cut.into_rgb8().into() }
}

fn written(picture: &DynamicImage) -> Result<Vec<u8>, PictureError> {
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).map_err(|_| PictureError::Broken)?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use image::{GenericImageView as _, Rgb, RgbImage};

    use super::*;

    fn upload(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    /// Red left and right of a green middle.
    fn stripes(width: u32, height: u32) -> RgbImage {
        let middle = (width - height) / 2..u32::midpoint(width, height);
        RgbImage::from_fn(width, height, |x, _| if middle.contains(&x) { Rgb([0, 255, 0]) } else { Rgb([255, 0, 0]) })
    }

    fn decoded(png: &[u8]) -> DynamicImage {
        image::load_from_memory_with_format(png, ImageFormat::Png).unwrap()
    }

    /// Pixels that no compression helps with.
    fn noise(width: u32, height: u32) -> RgbImage {
        let mut reader = blake3::Hasher::new().finalize_xof();
        let mut image = RgbImage::new(width, height);
        reader.fill(&mut image);
        image
    }

    #[test]
    fn a_picture_is_cut_to_its_middle_square_and_written_anew() {
        for format in [ImageFormat::Png, ImageFormat::Jpeg] {
            let made = make(&upload(stripes(900, 300), format)).unwrap();
            let picture = decoded(&made.png);
            assert_eq!(picture.dimensions(), (SIDE, SIDE));
            let [red, green, _, _] = picture.get_pixel(3, 3).0;
            assert!(green > 200 && red < 60, "{format:?}: the corner is of the middle");
        }
        let tiny = make(&upload(stripes(3, 1), ImageFormat::Png)).unwrap();
        assert_eq!(decoded(&tiny.png).dimensions(), (SIDE, SIDE));
    }

    #[test]
    fn what_was_hidden_in_an_upload_is_gone() {
        let mut bytes = upload(stripes(30, 10), ImageFormat::Png);
        bytes.extend_from_slice(b"<script>alert(1)</script>");
        let made = make(&bytes).unwrap();
        assert!(!made.png.windows(8).any(|window| window == b"<script>"));
    }

    #[test]
    fn an_icon_fits_into_cloudstack_whatever_it_shows() {
        let made = make(&upload(noise(400, 400), ImageFormat::Png)).unwrap();
        let icon = icon(&made.png).unwrap();
        assert_eq!(decoded(&icon).dimensions(), (ICON_SIDE, ICON_SIDE));
        assert!(icon.len() <= crate::cloudstack::person::MOST_ICON_BYTES, "{}", icon.len());
    }

    #[test]
    fn hostile_uploads_are_refused_by_what_they_are() {
        let png = upload(noise(64, 64), ImageFormat::Png);
        let jpeg = upload(stripes(300, 100), ImageFormat::Jpeg);
        let svg = br#"<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>"#.as_slice();
        for (bytes, error) in [
            (&b""[..], PictureError::Empty),
            (svg, PictureError::OtherKind),
            (b"<!DOCTYPE html><script>alert(1)</script>", PictureError::OtherKind),
            (b"GIF89a\x01\x00\x01\x00", PictureError::OtherKind),
            (b"RIFF\x00\x00\x00\x00WEBPVP8 ", PictureError::OtherKind),
            (b"BM", PictureError::OtherKind),
            (&png[..png.len() / 2], PictureError::Broken),
            (&png[..9], PictureError::Broken),
            (&jpeg[..20], PictureError::Broken),
        ] {
            assert_eq!(make(bytes), Err(error), "{:?}", bytes.get(..12));
        }
        assert_eq!(make(&vec![0; MOST_BYTES + 1]), Err(PictureError::TooBig));
    }

    /// A PNG whose head claims a size that its few bytes do not have.
    fn claims(width: u32, height: u32) -> Vec<u8> {
        let mut bytes = upload(stripes(3, 1), ImageFormat::Png);
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let crc = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(u32::MAX, |crc, byte| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 })
        })
    }

    #[test]
    fn a_bomb_is_refused_before_it_unfolds() {
        for (width, height) in [(60_000, 60_000), (LONGEST_SIDE + 1, 1), (11_000, 11_000), (u32::MAX, u32::MAX)] {
            let made = make(&claims(width, height));
            assert!(
                matches!(made, Err(PictureError::TooManyPixels | PictureError::Broken)),
                "{width} × {height}: {made:?}"
            );
        }
        assert_eq!(make(&claims(11_000, 11_000)), Err(PictureError::TooManyPixels));
    }
}
