//! Reading fields whose JSON type CloudStack does not keep: numbers come as strings (`resourcetype`), booleans too
//! (`is2faenabled`), and the other way round in other releases.

use std::{fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer,
    de::{self, Visitor},
};

use crate::{ids::CloudId, secrets::Secret, time::Timestamp};

/// A scalar as text, whatever its JSON type.
struct Scalar(Option<String>);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;
        impl Visitor<'_> for ScalarVisitor {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number or a boolean")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(Some(text.to_owned())))
            }
            fn visit_string<E: de::Error>(self, text: String) -> Result<Scalar, E> {
                Ok(Scalar(Some(text)))
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar(Some(value.to_string())))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
                Ok(Scalar(Some(value.to_string())))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar, E> {
                Ok(Scalar(Some(value.to_string())))
            }
            // Rust writes floats without an exponent, so the text reads as a decimal.
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Scalar, E> {
                Ok(Scalar(Some(value.to_string())))
            }
            fn visit_unit<E: de::Error>(self) -> Result<Scalar, E> {
                Ok(Scalar(None))
            }
        }
        deserializer.deserialize_any(ScalarVisitor)
    }
}

/// A text, also where a number or a boolean comes.
pub(crate) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Scalar::deserialize(deserializer).map(|scalar| scalar.0)
}

/// A text that must be there.
pub(crate) fn required_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    text(deserializer)?.filter(|t| !t.is_empty()).ok_or_else(|| de::Error::custom("an empty text"))
}

/// A whole number, also where a text comes; `20.0` is 20.
pub(crate) fn whole<'de, D: Deserializer<'de>, T: FromStr>(deserializer: D) -> Result<Option<T>, D::Error> {
    match text(deserializer)?.as_deref().map(str::trim) {
        None | Some("") => Ok(None),
        Some(number) => {
            let digits = match number.split_once('.') {
                Some((digits, zeros)) if zeros.bytes().all(|b| b == b'0') => digits,
                _ => number,
            };
            digits.parse().map(Some).map_err(|_| de::Error::custom("not a whole number"))
        }
    }
}

/// A boolean, also where a text comes. Anything but true and false is unknown.
pub(crate) fn flag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<bool>, D::Error> {
    Ok(text(deserializer)?.and_then(|t| match t.trim().to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }))
}

/// An instant; one that can not be read is unknown.
pub(crate) fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(text(deserializer)?.and_then(|t| Timestamp::parse_cloudstack(&t)))
}

/// A reference to an entity; one that is no UUID is unknown.
pub(crate) fn id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<CloudId>, D::Error> {
    Ok(text(deserializer)?.and_then(|t| t.parse().ok()))
}

/// A secret.
pub(crate) fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    Ok(text(deserializer)?.filter(|t| !t.is_empty()).map(Secret::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Deserialize)]
    struct Row {
        #[serde(default, deserialize_with = "whole")]
        size: Option<i64>,
        #[serde(default, deserialize_with = "text")]
        quantity: Option<String>,
        #[serde(default, deserialize_with = "flag")]
        on: Option<bool>,
    }

    #[test]
    fn numbers_and_texts_stand_for_each_other() {
        let read = |json: &str| serde_json::from_str::<Row>(json).unwrap();
        let row = read(r#"{"size":"5368709120","quantity":0.083333,"on":"true"}"#);
        assert_eq!((row.size, row.quantity.as_deref(), row.on), (Some(5_368_709_120), Some("0.083333"), Some(true)));
        let row = read(r#"{"size":20.0,"quantity":"0,083333","on":null}"#);
        assert_eq!((row.size, row.quantity.as_deref(), row.on), (Some(20), Some("0,083333"), None));
        assert!(serde_json::from_str::<Row>(r#"{"size":"a lot"}"#).is_err());
        assert!(read("{}").size.is_none());
    }
}
