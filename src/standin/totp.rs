//! One-time codes (RFC 6238 with SHA-1, six digits, 30 seconds), and the base32 text of their secret.

use hmac::{Hmac, Mac as _};
use sha1::Sha1;

use crate::time::Timestamp;

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const STEP_SECONDS: i64 = 30;

/// RFC 4648 base32 without padding.
pub(crate) fn base32(bytes: &[u8]) -> String {
    let mut text = String::new();
    let (mut buffer, mut bits) = (0_u32, 0_u32);
    for byte in bytes {
        buffer = (buffer << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            let position = usize::try_from((buffer >> bits) & 31).unwrap_or(0);
            text.push(char::from(ALPHABET.get(position).copied().unwrap_or(b'A')));
        }
    }
    if bits > 0 {
        let position = usize::try_from((buffer << (5 - bits)) & 31).unwrap_or(0);
        text.push(char::from(ALPHABET.get(position).copied().unwrap_or(b'A')));
    }
    text
}

fn unbase32(text: &str) -> Vec<u8> {
    let (mut buffer, mut bits, mut bytes) = (0_u32, 0_u32, Vec::new());
    for letter in text.bytes() {
        let Some(value) = ALPHABET.iter().position(|known| *known == letter.to_ascii_uppercase()) else { continue };
        buffer = (buffer << 5) | u32::try_from(value).unwrap_or(0);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((buffer >> bits) & 255).unwrap_or(0));
        }
    }
    bytes
}

/// The code of the 30 seconds around `at` for a base32 secret: what an authenticator app would show.
pub fn totp_code(secret: &str, at: Timestamp) -> String {
    let step = at.as_seconds().div_euclid(STEP_SECONDS);
    let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(&unbase32(secret)) else { return String::new() };
    mac.update(&step.to_be_bytes());
    let digest = mac.finalize().into_bytes();
    let offset = usize::from(digest.last().copied().unwrap_or(0) & 15);
    let number = digest.iter().skip(offset).take(4).fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte));
    format!("{:06}", (number & 0x7fff_ffff) % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_equal_those_of_the_specification() {
        let secret = base32(b"12345678901234567890");
        assert_eq!(secret, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
            assert_eq!(totp_code(&secret, Timestamp::from_seconds(seconds)), code);
        }
    }
}
