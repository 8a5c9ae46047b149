//! Revisions of the protocol and the two eras they fall into.

use std::fmt;

/// A published revision of MCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Revision {
    V2024_11_05,
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
    V2026_07_28,
}

impl Revision {
    /// Every revision, oldest first.
    pub const ALL: [Self; 5] =
        [Self::V2024_11_05, Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];

    /// The revisions advertised to clients, oldest first: 2024-11-05 has another transport, HTTP with SSE.
    pub const SERVED: [Self; 4] = [Self::V2025_03_26, Self::V2025_06_18, Self::V2025_11_25, Self::V2026_07_28];

    /// What a request without any version speaks (2025-06-18 "Protocol Version Header").
    pub const UNSTATED: Self = Self::V2025_03_26;

    /// The revision as it is written in messages and headers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The revision written exactly so.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.as_str() == text)
    }

    /// Which handshake the revision uses.
    pub const fn era(self) -> Era {
        match self {
            Self::V2024_11_05 | Self::V2025_03_26 | Self::V2025_06_18 | Self::V2025_11_25 => Era::Legacy,
            Self::V2026_07_28 => Era::Modern,
        }
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a connection states what it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// `initialize`, sessions, server requests: up to 2025-11-25.
    Legacy,
    /// Stateless, every request carries its version: from 2026-07-28.
    Modern,
}

impl Era {
    /// Whether a version as written, known to us or not, claims to be of the stateless era.
    ///
    /// Revisions are dates and sort as text, so a later one than ours is recognised and can be answered with ours.
    pub(super) fn claims_modern(version: &str) -> bool {
        let dated = version.len() == 10
            && version.bytes().enumerate().all(|(at, byte)| match at {
                4 | 7 => byte == b'-',
                _ => byte.is_ascii_digit(),
            });
        dated && version >= Revision::V2026_07_28.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::{Era, Revision};

    #[test]
    fn reads_back_what_it_writes_and_sorts_by_date() {
        assert!(Revision::ALL.is_sorted());
        for revision in Revision::ALL {
            assert_eq!(Revision::parse(revision.as_str()), Some(revision));
            assert_eq!(Era::claims_modern(revision.as_str()), revision.era() == Era::Modern);
        }
        for text in ["", "2026-07-28 ", "2026-7-28", "draft", "2025-03-27"] {
            assert_eq!(Revision::parse(text), None);
        }
        assert!(Era::claims_modern("2099-01-01"));
        assert!(!Era::claims_modern("9999999999"));
    }
}
