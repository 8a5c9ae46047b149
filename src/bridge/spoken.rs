//! The revisions an upstream is seen to speak: what a client of another one is told.

use std::sync::atomic::{AtomicU8, Ordering};

use crate::config::EraMode;
use crate::json::Value;
use crate::mcp::{Era, Revision};

/// Sets of revisions, as bits; empty while nothing is known.
#[derive(Debug, Default)]
pub(super) struct Spoken {
    /// What `server/discover` advertised to clients last.
    advertised: AtomicU8,
    /// What sessions were opened with.
    settled: AtomicU8,
}

impl Spoken {
    /// Notes the answer to `server/discover`.
    pub(super) fn advertise(&self, result: Value<'_>) {
        let versions = result.get("supportedVersions");
        let versions = versions.iter().flat_map(Value::items).filter_map(|version| Revision::parse(&version.as_str()?));
        self.advertised.store(versions.fold(0, |bits, version| bits | bit(version)), Ordering::Relaxed);
    }

    /// Notes the revision of a session.
    pub(super) fn settle(&self, revision: Revision) {
        self.settled.fetch_or(bit(revision), Ordering::Relaxed);
    }

    /// The revisions to name to a client that asked for another one, oldest first.
    pub(super) fn named(&self, mode: EraMode, era: Era) -> Vec<Revision> {
        let (advertised, settled) = (self.advertised.load(Ordering::Relaxed), self.settled.load(Ordering::Relaxed));
        let known = match (mode, era) {
            // Not more than `server/discover` does (2026-07-28, "Version Negotiation").
            (_, Era::Modern) => advertised,
            (EraMode::Pass, Era::Legacy) => advertised | settled,
            // The others are translated.
            (EraMode::Auto | EraMode::Legacy | EraMode::Modern, Era::Legacy) => 0,
        };
        let of = |known: u8| Revision::SERVED.into_iter().filter(|revision| known & bit(*revision) != 0).collect();
        let some: Vec<Revision> = of(known);
        if some.is_empty() { Revision::SERVED.to_vec() } else { some }
    }
}

const fn bit(revision: Revision) -> u8 {
    match revision {
        Revision::V2024_11_05 => 1,
        Revision::V2025_03_26 => 2,
        Revision::V2025_06_18 => 4,
        Revision::V2025_11_25 => 8,
        Revision::V2026_07_28 => 16,
    }
}

#[cfg(test)]
mod tests {
    use super::Spoken;
    use crate::config::EraMode;
    use crate::json::{Document, Limits};
    use crate::mcp::Revision::{V2024_11_05, V2025_06_18, V2025_11_25, V2026_07_28};
    use crate::mcp::{Era, Revision};

    fn advertise(spoken: &Spoken, versions: &str) {
        let text = format!(r#"{{"supportedVersions":{versions}}}"#);
        spoken.advertise(Document::parse(text.into(), &Limits::ANSWER).unwrap().root());
    }

    #[test]
    fn what_is_named_is_what_is_known_and_all_where_nothing_is() {
        let spoken = Spoken::default();
        let all = Revision::SERVED.to_vec();
        let named = |mode| [Era::Legacy, Era::Modern].map(|era| spoken.named(mode, era));
        for mode in [EraMode::Auto, EraMode::Legacy, EraMode::Modern, EraMode::Pass] {
            assert_eq!(named(mode), [all.clone(), all.clone()]);
        }
        // The oldest revision is not named: it has another transport.
        for revision in [V2024_11_05, V2025_06_18, V2025_11_25] {
            spoken.settle(revision);
        }
        assert_eq!(named(EraMode::Auto), [all.clone(), all.clone()], "the others are translated");
        assert_eq!(named(EraMode::Pass), [vec![V2025_06_18, V2025_11_25], all.clone()]);
        advertise(&spoken, r#"["2026-07-28","2099-01-01",7]"#);
        assert_eq!(named(EraMode::Auto), [all.clone(), vec![V2026_07_28]]);
        assert_eq!(named(EraMode::Pass), [vec![V2025_06_18, V2025_11_25, V2026_07_28], vec![V2026_07_28]]);
        advertise(&spoken, r#"["2099-01-01"]"#);
        assert_eq!(named(EraMode::Modern), [all.clone(), all]);
    }
}
