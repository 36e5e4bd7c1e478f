//! What takes requests to CloudStack and waits between them, where that is not HTTP and the machine's time: the seam through
//! which the simulation plays months in a second, with the bytes that would have gone over the wire.

use std::{fmt, future::Future, pin::Pin, time::Duration};

/// A future of a carrier.
pub type OnItsWay<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Carries signed requests, and lets time pass.
pub trait Carrier: Send + Sync + fmt::Debug {
    /// Takes a form to the server and brings the answer back.
    fn carry(&self, form: String) -> OnItsWay<'_, Result<Carried, NotCarried>>;

    /// A pause of the client: between two tries, between two looks at a job.
    fn pause(&self, span: Duration) -> OnItsWay<'_, ()>;

    /// How long calls and pauses have taken so far: patience is measured by it, and the machine's own time counts for nothing.
    fn passed(&self) -> Duration;
}

/// An answer that was brought back.
#[derive(Debug, Clone)]
pub struct Carried {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotCarried {
    /// No connection came about: the request never left.
    NotSent,
    /// The connection was cut: the request may have arrived.
    Cut,
    /// No answer within the deadline: the request may have arrived, or may still arrive.
    TooLate,
}
