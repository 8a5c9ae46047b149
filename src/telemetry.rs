//! Metrics and logs for operators. What auditors see is `audit`.

pub mod logs;
pub mod metrics;
mod observe;

pub(crate) use observe::observe;
