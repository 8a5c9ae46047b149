//! What the proxy notes of calls in its audit log.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};

use super::gateway::Gateway;

/// The audit log from now on.
pub(crate) struct Recorded(BufReader<File>);

impl Recorded {
    pub(crate) fn by(gateway: &Gateway) -> Self {
        let mut file = File::open(gateway.audit()).unwrap();
        file.seek(SeekFrom::End(0)).unwrap();
        Self(BufReader::new(file))
    }

    /// Microseconds that each call since the last look took between its line and the first of its answer.
    pub(crate) fn waited(&mut self) -> Vec<f64> {
        let mut waited = Vec::new();
        let mut line = String::new();
        while self.0.read_line(&mut line).unwrap() > 0 {
            let millis = line.split_once(r#""upstream_ms":"#).and_then(|(_, rest)| rest.split([',', '}']).next());
            waited.extend(millis.and_then(|millis| millis.parse::<f64>().ok()).map(|millis| millis * 1000.0));
            line.clear();
        }
        waited
    }
}
