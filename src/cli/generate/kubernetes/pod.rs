//! The Deployment: the proxy as the only container, or as a sidecar of the server it protects.

use std::path::Path;

use serde_json::{Value, json};

use super::super::deployed::{Deployed, seconds};
use super::mounts::Mounts;
use super::{CONFIG, CREDENTIALS, Names};

/// The user of images without root, as distroless images have it.
const USER: u32 = 65_532;

/// What a pod is made from.
pub(super) struct Pod<'a> {
    pub(super) deployed: &'a Deployed,
    pub(super) image: &'a str,
    pub(super) mounts: &'a Mounts,
    pub(super) name: &'a str,
    pub(super) server_image: Option<&'a str>,
}

impl Pod<'_> {
    pub(super) fn deployment(&self, names: &Names<'_>, replicas: u16) -> Value {
        // A file cannot be written by the old pod and the new one at once.
        let strategy = match self.deployed.audit_file() {
            Some(_) => json!({ "type": "Recreate" }),
            None => json!({ "type": "RollingUpdate", "rollingUpdate": { "maxSurge": 1, "maxUnavailable": 0 } }),
        };
        let labels = names.metadata("").get("labels").cloned();
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": names.metadata(""),
            "spec": {
                "replicas": replicas,
                "selector": { "matchLabels": names.selector() },
                "strategy": strategy,
                "template": { "metadata": { "labels": labels }, "spec": self.spec() },
            },
        })
    }

    fn spec(&self) -> Value {
        let mut volumes = self.mounts.volumes();
        if self.deployed.audit_file().is_some() {
            let claim = format!("{}-audit", self.name);
            volumes.push(json!({ "name": "audit", "persistentVolumeClaim": { "claimName": claim } }));
        }
        if self.socket_folder().is_some() {
            volumes.push(json!({ "name": "run", "emptyDir": { "medium": "Memory", "sizeLimit": "1Mi" } }));
        }
        if self.deployed.programs().next().is_some() {
            volumes.push(json!({ "name": "tmp", "emptyDir": { "sizeLimit": "256Mi" } }));
        }
        let stop = seconds(self.deployed.longest_stop());
        let mut spec = json!({
            "automountServiceAccountToken": false,
            "containers": [],
            "enableServiceLinks": false,
            "securityContext": {
                "fsGroup": USER,
                "fsGroupChangePolicy": "OnRootMismatch",
                "runAsNonRoot": true,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "terminationGracePeriodSeconds": stop,
            "volumes": volumes,
        });
        match self.server_image {
            None => spec["containers"] = json!([self.container()]),
            Some(image) => {
                let mut sidecar = self.container();
                sidecar["restartPolicy"] = "Always".into();
                spec["initContainers"] = json!([sidecar]);
                spec["containers"] = json!([self.server(image)]);
                spec["terminationGracePeriodSeconds"] = (stop + self.pause()).into();
            }
        }
        spec
    }

    /// For how long the server goes on after the pod was told to stop. A sidecar is told only once it has ended, and calls
    /// that are on the way need it.
    fn pause(&self) -> u64 {
        seconds(self.deployed.config.server.drain_delay).max(1)
    }

    fn server(&self, image: &str) -> Value {
        json!({
            "image": image,
            "lifecycle": { "preStop": { "sleep": { "seconds": self.pause() } } },
            "name": "server",
            "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
        })
    }

    fn container(&self) -> Value {
        let mut container = json!({
            "args": ["serve"],
            "env": self.environment(),
            "image": self.image,
            "name": "portcullis",
            "ports": self.ports(),
            "livenessProbe": probe(&["portcullis", "healthcheck"], 10, 3),
            "readinessProbe": probe(&["portcullis", "healthcheck", "--ready"], 5, 2),
            "startupProbe": probe(&["portcullis", "healthcheck", "--ready"], 2, 60),
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"] },
                "readOnlyRootFilesystem": true,
                "runAsGroup": USER,
                "runAsNonRoot": true,
                "runAsUser": USER,
                "seccompProfile": { "type": "RuntimeDefault" },
            },
            "volumeMounts": self.volume_mounts(),
        });
        let mut resources = json!({ "requests": { "cpu": "100m", "memory": "64Mi" } });
        // What programs need is not known.
        if self.deployed.programs().next().is_none() {
            resources["limits"] = json!({ "memory": "512Mi" });
        }
        container["resources"] = resources;
        container
    }

    fn volume_mounts(&self) -> Vec<Value> {
        let mut mounts = self.mounts.volume_mounts();
        if let Some(folder) = self.deployed.audit_file().and_then(Path::parent) {
            mounts.push(json!({ "mountPath": folder.to_string_lossy(), "name": "audit" }));
        }
        if let Some(folder) = self.socket_folder() {
            mounts.push(json!({ "mountPath": folder.to_string_lossy(), "name": "run" }));
        }
        if self.deployed.programs().next().is_some() {
            mounts.push(json!({ "mountPath": "/tmp", "name": "tmp" }));
        }
        mounts
    }

    /// The folder of the admin socket, unless it is one that is mounted anyway.
    fn socket_folder(&self) -> Option<&Path> {
        let audit = self.deployed.audit_file().and_then(Path::parent);
        self.deployed.socket_folder().filter(|folder| Some(*folder) != audit && *folder != Path::new("/tmp"))
    }

    fn environment(&self) -> Vec<Value> {
        let mut all = vec![json!({ "name": "PORTCULLIS_CONFIG", "value": CONFIG })];
        if !self.deployed.credentials.is_empty() {
            all.push(json!({ "name": "CREDENTIALS_DIRECTORY", "value": CREDENTIALS }));
        }
        let fields = [
            ("POD_NAME", "metadata.name"),
            ("POD_NAMESPACE", "metadata.namespace"),
            ("POD_UID", "metadata.uid"),
            ("NODE_NAME", "spec.nodeName"),
        ];
        all.extend(
            fields.map(|(name, path)| json!({ "name": name, "valueFrom": { "fieldRef": { "fieldPath": path } } })),
        );
        let attributes = "k8s.container.name=portcullis,k8s.namespace.name=$(POD_NAMESPACE),k8s.node.name=$(NODE_NAME),\
            k8s.pod.name=$(POD_NAME),k8s.pod.uid=$(POD_UID)";
        all.push(json!({ "name": "OTEL_RESOURCE_ATTRIBUTES", "value": attributes }));
        let secret = format!("{}-env", self.name);
        all.extend(
            self.deployed
                .variables
                .iter()
                .map(|name| json!({ "name": name, "valueFrom": { "secretKeyRef": { "key": name, "name": secret } } })),
        );
        all
    }

    fn ports(&self) -> Vec<Value> {
        let ports = self.deployed.ports();
        let named = |(at, port): (usize, &u16)| json!({ "containerPort": port, "name": port_name(at) });
        let mut all: Vec<Value> = ports.iter().enumerate().map(named).collect();
        if let Some(port) = metrics_port(self.deployed) {
            all.push(json!({ "containerPort": port, "name": "metrics" }));
        }
        all
    }
}

/// The name of the port that is at this place of `server.listen`.
pub(super) fn port_name(at: usize) -> String {
    if at == 0 { "mcp".to_owned() } else { format!("mcp-{at}") }
}

/// The port of the admin listener, if others reach it.
pub(super) fn metrics_port(deployed: &Deployed) -> Option<u16> {
    let admin = deployed.config.admin.as_ref()?;
    (!admin.listen.ip().is_loopback()).then(|| admin.listen.port())
}

/// A probe by a command, as the admin listener may answer on loopback only.
fn probe(command: &[&str], every: u8, failures: u8) -> Value {
    json!({
        "exec": { "command": command },
        "failureThreshold": failures,
        "periodSeconds": every,
        "timeoutSeconds": 5,
    })
}

/// The volume of the audit file.
pub(super) fn audit_claim(names: &Names<'_>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": names.metadata("-audit"),
        "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "10Gi" } } },
    })
}
