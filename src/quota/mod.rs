//! Moving from CloudStack's quota plugin: what its tariffs are as a price book, and why a month there and here differ.
//!
//! Pure: what was read from the plugin comes in, text and rows come out. Nothing of the plugin is changed.

pub mod compare;
pub mod tariffs;
