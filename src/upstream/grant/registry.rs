use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{Context, SHA256};
use tokio::runtime::Handle;

use super::Broker;
use crate::auth::{Epoch, StartError, client_secrets};
use crate::config::{AuthorizationServer, Grant, GrantKind};
use crate::telemetry::metrics::Metrics;

/// All brokers of the process, by a digest of their configuration: a reload keeps the tokens of unchanged ones.
#[derive(Debug)]
pub struct Grants {
    runtime: Handle,
    metrics: Arc<Metrics>,
    epoch: Epoch,
    started: Mutex<HashMap<[u8; 32], Arc<Broker>>>,
}

impl Grants {
    /// An empty registry. Tokens are refreshed on `runtime`; `epoch` advances when revocations arrive.
    pub fn new(runtime: Handle, metrics: Arc<Metrics>, epoch: Epoch) -> Self {
        Self { runtime, metrics, epoch, started: Mutex::default() }
    }

    /// The broker of exactly this configuration for `server`, or for one `tool` of it; started if there is none. Errs if a
    /// secret or key cannot be used.
    pub fn get_or_start(
        &self,
        server: &Arc<str>,
        tool: Option<&str>,
        grant: &Grant,
    ) -> Result<Arc<Broker>, StartError> {
        let digest = digest(server, tool, grant);
        let mut started = self.started();
        if let Some(broker) = started.get(&digest) {
            return Ok(broker.clone());
        }
        let broker = Arc::new(Broker::new(server, grant, digest, &self.runtime, &self.metrics, &self.epoch)?);
        started.insert(digest, broker.clone());
        Ok(broker)
    }

    /// Drops every broker that is not in `kept`, with its tokens.
    pub fn retain(&self, kept: &[Arc<Broker>]) {
        self.started().retain(|digest, _| kept.iter().any(|broker| broker.digest == *digest));
    }

    fn started(&self) -> MutexGuard<'_, HashMap<[u8; 32], Arc<Broker>>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// SHA-256 over the configuration, by its `Debug` form, which has every field, and over the contents of its secret and key
/// files, which may change.
fn digest(server: &str, tool: Option<&str>, grant: &Grant) -> [u8; 32] {
    let mut hash = Context::new(&SHA256);
    let mut part = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(server.as_bytes());
    part(format!("{tool:?} {grant:?}").as_bytes());
    let mut secrets = |server: &AuthorizationServer| {
        part(&client_secrets(&server.client.auth));
        part(&server.ca_file.as_ref().and_then(|file| std::fs::read(file).ok()).unwrap_or_default());
    };
    secrets(&grant.server);
    if let GrantKind::IdJag { server, .. } = &grant.kind {
        secrets(server);
    }
    hash.finish().as_ref().first_chunk().copied().unwrap_or_default()
}
