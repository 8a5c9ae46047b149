//! Metrics and logs for operators; auditors have [`crate::audit`].

pub mod logs;
pub mod metrics;
mod observe;

pub(crate) use observe::{observe, served};
