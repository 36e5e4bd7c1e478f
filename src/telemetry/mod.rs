//! What bursar tells about itself: logs for people and machines, figures for Prometheus.

pub mod logs;
pub mod metrics;
