//! The most memory that this process had while something went on. Linux tells it, and forgets it when asked to; elsewhere, or
//! where that is not permitted, it is not measured.

use std::fmt;

/// Tells Linux to begin anew with the highest mark.
const RESET: &str = "5";

/// Resident memory, KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(super) struct Memory {
    /// When the phase began: what the bench itself holds, and what phases before left behind.
    pub(super) before_kib: u64,
    /// At its highest.
    pub(super) peak_kib: u64,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grown = self.peak_kib.saturating_sub(self.before_kib);
        write!(f, "{} MiB, {} of it new", self.peak_kib.div_ceil(1_024), grown.div_ceil(1_024))
    }
}

/// A phase whose memory is watched.
pub(super) struct Watch(Option<u64>);

impl Watch {
    /// Begins.
    pub(super) fn begin() -> Self {
        let reset = std::fs::write("/proc/self/clear_refs", RESET).is_ok();
        Self(reset.then(|| status("VmRSS:")).flatten())
    }

    /// What it took since; None where that is not to be had.
    pub(super) fn end(&self) -> Option<Memory> {
        Some(Memory { before_kib: self.0?, peak_kib: status("VmHWM:")? })
    }
}

/// Why memory is not measured here, if it is not.
pub(super) fn excuse() -> Option<&'static str> {
    Watch::begin().end().is_none().then_some(
        "Memory is not measured: this needs Linux, and the right to write /proc/self/clear_refs (some containers deny it).",
    )
}

fn status(name: &str) -> Option<u64> {
    find(&std::fs::read_to_string("/proc/self/status").ok()?, name)
}

fn find(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name))?.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marks_are_read_from_what_linux_says() {
        let text = "Name:\tbursar\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\n";
        assert_eq!(
            (find(text, "VmHWM:"), find(text, "VmRSS:"), find(text, "VmSwap:")),
            (Some(20_480), Some(10_240), None)
        );
        let memory = Memory { before_kib: 10_240, peak_kib: 20_480 };
        assert_eq!(memory.to_string(), "20 MiB, 10 of it new");
    }
}
