//! Who reaches the pods: Service, `NetworkPolicy`, and how many may be taken away at once.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::super::deployed::Deployed;
use super::Names;
use super::pod::{metrics_port, port_name};

/// Everything about the network.
pub(super) fn all(deployed: &Deployed, names: &Names<'_>, upstream: &[(String, String)]) -> Vec<Value> {
    let mut all = vec![service(deployed, names), own_policy(deployed, names)];
    if !upstream.is_empty() {
        all.push(upstream_policy(names, upstream));
    }
    all.push(json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": names.metadata(""),
        "spec": { "maxUnavailable": 1, "selector": { "matchLabels": names.selector() } },
    }));
    all
}

/// The first listener has the port of `public_url`, others their own.
fn service(deployed: &Deployed, names: &Names<'_>) -> Value {
    let public = deployed.config.server.public_url.port_or_known_default();
    let mut taken = BTreeSet::new();
    let mut ports = Vec::new();
    for (at, port) in deployed.ports().into_iter().enumerate() {
        let shown = public.filter(|_| at == 0).unwrap_or(port);
        if taken.insert(shown) {
            ports.push(json!({ "name": port_name(at), "port": shown, "targetPort": port_name(at) }));
        }
    }
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": names.metadata(""),
        "spec": { "ports": ports, "selector": names.selector() },
    })
}

/// Only the ports of the proxy are reached, whatever else listens in the pod.
fn own_policy(deployed: &Deployed, names: &Names<'_>) -> Value {
    let ports: Vec<Value> = deployed.ports().into_iter().chain(metrics_port(deployed)).map(port).collect();
    policy(&names.metadata(""), &names.selector(), &json!([{ "ports": ports }]))
}

/// Only the proxy reaches the upstream.
fn upstream_policy(names: &Names<'_>, labels: &[(String, String)]) -> Value {
    let labels: Map<String, Value> = labels.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    // Whatever its port: a service may have another one than its pods.
    let from = json!([{ "from": [{ "podSelector": { "matchLabels": names.selector() } }] }]);
    policy(&names.metadata("-upstream"), &labels.into(), &from)
}

fn port(port: u16) -> Value {
    json!({ "port": port, "protocol": "TCP" })
}

fn policy(metadata: &Value, pods: &Value, ingress: &Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata,
        "spec": { "ingress": ingress, "podSelector": { "matchLabels": pods }, "policyTypes": ["Ingress"] },
    })
}
