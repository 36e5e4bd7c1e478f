//! Structured logs on standard error: text for people, JSON for machines.
//!
//! Libraries are heard from `warn` on only, whatever level is configured: at `debug` and `trace` an HTTP client or a
//! database driver may write addresses, headers and parameters, and with them secrets.

use std::io::{self, IsTerminal as _};

use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer as _,
    fmt::{self, MakeWriter},
    layer::SubscriberExt as _,
    registry,
    util::SubscriberInitExt as _,
};

use crate::config::{LogFormat, LogLevel};

/// Why logging could not begin.
#[derive(Debug, thiserror::Error)]
#[error("logging was set up before")]
pub struct AlreadySetUp;

/// Sends the logs of this process to standard error from now on. Works once a process.
pub fn init(format: LogFormat, level: LogLevel) -> Result<(), AlreadySetUp> {
    subscriber(format, level, io::stderr, io::stderr().is_terminal()).try_init().map_err(|_| AlreadySetUp)
}

/// The subscriber behind [`init`], with a writer of the caller's: for tests and for commands that keep the log elsewhere.
pub fn subscriber<W>(format: LogFormat, level: LogLevel, writer: W, colours: bool) -> impl Subscriber + Send + Sync
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let layer = match format {
        LogFormat::Text => fmt::layer().with_writer(writer).with_ansi(colours).with_target(false).boxed(),
        LogFormat::Json => {
            let lines = fmt::layer().json().flatten_event(true).with_current_span(true).with_span_list(false);
            lines.with_writer(writer).with_ansi(false).boxed()
        }
    };
    registry().with(filter(level)).with(layer)
}

/// bursar's own modules at the configured level, everything else from `warn` on.
fn filter(level: LogLevel) -> EnvFilter {
    let (own, others) = match level {
        LogLevel::Error => ("error", "error"),
        LogLevel::Warn => ("warn", "warn"),
        LogLevel::Info => ("info", "warn"),
        LogLevel::Debug => ("debug", "warn"),
        LogLevel::Trace => ("trace", "warn"),
    };
    EnvFilter::new(format!("{others},bursar={own}"))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Captured(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Captured {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written while `act` runs.
    fn written(format: LogFormat, level: LogLevel, act: impl FnOnce()) -> String {
        let captured = Captured::default();
        let writer = captured.clone();
        tracing::subscriber::with_default(subscriber(format, level, move || writer.clone(), false), act);
        let bytes = captured.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_has_the_message_its_fields_and_no_colours() {
        let text = written(LogFormat::Text, LogLevel::Info, || {
            tracing::info!(target: "bursar::usage", records = 12, "usage window stored");
        });
        assert!(text.contains(" INFO usage window stored records=12"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = written(LogFormat::Json, LogLevel::Info, || {
            tracing::info!(target: "bursar::usage", records = 12, "usage window stored");
            tracing::warn!(target: "bursar::usage", "late records found");
        });
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0]["message"], "usage window stored");
        assert_eq!(lines[0]["records"], 12);
        assert_eq!(lines[0]["level"], "INFO");
        assert_eq!(lines[1]["level"], "WARN");
    }

    #[test]
    fn libraries_are_silent_below_warn_at_every_level() {
        let text = written(LogFormat::Text, LogLevel::Trace, || {
            tracing::trace!(target: "hyper_util::client", "header apikey");
            tracing::debug!(target: "sqlx::query", "insert into secrets");
            tracing::info!(target: "reqwest::connect", "https://cloud.example.com");
            tracing::warn!(target: "sqlx::query", "slow statement");
            tracing::trace!(target: "bursar::store", "own detail");
        });
        assert!(!text.contains("apikey") && !text.contains("insert") && !text.contains("https"), "{text}");
        assert!(text.contains("slow statement") && text.contains("own detail"), "{text}");
    }

    #[test]
    fn the_level_holds_for_the_programs_own_modules() {
        let text = written(LogFormat::Text, LogLevel::Warn, || {
            tracing::info!(target: "bursar::jobs", "quiet");
            tracing::error!(target: "bursar::jobs", "loud");
        });
        assert!(!text.contains("quiet") && text.contains("loud"), "{text}");
    }
}
