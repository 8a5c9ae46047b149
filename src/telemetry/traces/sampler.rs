//! The decision which requests are sampled.

use super::context::{Context, TraceId};
use crate::config::Sampling;

/// Decides by trace id, so that other programs that do the same sample the same traces.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sampler {
    /// Traces whose low 63 bits are below it are sampled.
    bound: u64,
    follows_caller: bool,
}

impl Sampler {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share is between 0 and 1")]
    pub(super) fn new(sampling: Sampling) -> Self {
        const ALL: f64 = 9_223_372_036_854_775_808.0;
        let bound = (sampling.share * ALL) as u64;
        Self { bound, follows_caller: sampling.follows_caller }
    }

    /// Whether a request of that trace is sampled. The flag of its parent decides only if the configuration says so.
    pub(super) fn samples(self, trace: TraceId, parent: Option<Context>) -> bool {
        match parent {
            Some(parent) if self.follows_caller => parent.sampled,
            // As `TraceIdRatioBased` in the SDKs.
            _ => trace.low() >> 1 < self.bound,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Sampler;
    use crate::config::Sampling;
    use crate::telemetry::traces::context::{Context, SpanId, TraceId};

    #[test]
    fn the_share_is_of_traces() {
        for (share, expected) in [(0.0, 0), (0.25, 256), (0.5, 512), (1.0, 1024)] {
            let sampler = Sampler::new(Sampling { share, follows_caller: false });
            let is_recorded = |number: u64| {
                let trace = TraceId((u128::from(number) << 54 | 1).to_be_bytes());
                sampler.samples(trace, None)
            };
            assert_eq!((0..1024).filter(|number| is_recorded(*number)).count(), expected, "{share}");
        }
    }

    #[test]
    fn a_callers_flag_counts_only_where_it_may() {
        let trace = TraceId([7; 16]);
        let parent = |sampled| Some(Context { trace, span: SpanId([1; 8]), sampled });
        for (share, follows_caller, parent, expected) in [
            (1.0, false, parent(false), true),
            (0.0, false, parent(true), false),
            (1.0, true, parent(false), false),
            (0.0, true, parent(true), true),
            (0.0, true, None, false),
        ] {
            let sampler = Sampler::new(Sampling { share, follows_caller });
            assert_eq!(sampler.samples(trace, parent), expected, "{share} {follows_caller} {parent:?}");
        }
    }
}
