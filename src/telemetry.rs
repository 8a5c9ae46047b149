//! Metrics, logs and traces for operators; auditors have [`crate::audit`].

pub mod logs;
pub mod metrics;
mod observe;
pub(crate) mod traces;

pub(crate) use observe::{observe, served};
