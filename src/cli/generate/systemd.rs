//! `portcullis generate systemd`: a unit that runs the proxy with no more rights than it uses.

use std::path::{Path, PathBuf};

use clap::Args;

use super::deployed::{Deployed, Refusal, seconds};
use crate::cli::{Exit, Global, Streams};

/// Where systemd puts the credentials of this unit.
const CREDENTIALS: &str = "/run/credentials/portcullis.service";

/// What every service of this kind can do without.
const HARDENING: &str = "\
LockPersonality=yes
NoNewPrivileges=yes
PrivateDevices=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
UMask=0077
";

/// Arguments of `generate systemd`.
#[derive(Args, Debug)]
#[command(before_help = "Examples:
  portcullis generate systemd -c /etc/portcullis/proxy.toml > /etc/systemd/system/portcullis.service
  portcullis generate systemd --binary /opt/portcullis/portcullis")]
pub(super) struct Systemd {
    /// Where portcullis is installed.
    #[arg(long, value_name = "PATH", default_value = "/usr/bin/portcullis", value_parser = absolute)]
    binary: PathBuf,
    /// Where proxy.toml will be, if it is not where it is now.
    #[arg(long, value_name = "PATH", value_parser = absolute)]
    config_at: Option<PathBuf>,
}

impl Systemd {
    pub(super) fn run(&self, global: &Global, streams: &mut Streams<'_>) -> Exit {
        let Some(there) = self.config_at.clone().or_else(|| std::path::absolute(&global.config).ok()) else {
            return Exit::Unavailable;
        };
        let deployed = match Deployed::read(global, &there, CREDENTIALS, streams) {
            Ok(deployed) => deployed,
            Err(exit) => return exit,
        };
        match self.unit(&deployed, &there) {
            Ok(unit) => streams.write(unit.as_bytes()),
            Err(refusal) => return refusal.tell(streams),
        }
        for file in &deployed.files {
            streams.message(format_args!(
                "note: `{}` must be readable by the service's own user, which root's files are not; \
                 as a credential it need not be: `${{CREDENTIALS_DIRECTORY}}/NAME`",
                file.display()
            ));
        }
        Exit::Done
    }

    fn unit(&self, deployed: &Deployed, there: &Path) -> Result<String, Refusal> {
        let (binary, config) = (word(&self.binary)?, word(there)?);
        let stop = seconds(deployed.longest_stop());
        let mut unit = format!(
            "# Made by portcullis {}. Credentials are read when the service starts: a new one needs a restart.\n\
             [Unit]\nDescription=Portcullis, an authenticating reverse proxy for MCP servers\n\
             Wants=network-online.target\nAfter=network-online.target\n\n\
             [Service]\nType=notify\nExecStart={binary} serve -c {config}\n\
             # The first one that fails ends the reload, and what runs goes on.\n\
             ExecReload={binary} check --offline -c {config}\nExecReload=/bin/kill -HUP $MAINPID\n\
             Restart=on-failure\nRestartSec=2\n# What is refused now is refused again.\nRestartPreventExitStatus=2 78\n\
             TimeoutStopSec={stop}\nWatchdogSec=30\n",
            env!("CARGO_PKG_VERSION"),
        );
        let folder = there.parent().unwrap_or(Path::new("/etc"));
        for credential in &deployed.credentials {
            let file = folder.join("credentials").join(credential);
            unit.extend(["LoadCredential=", credential, ":", &specifiers(&file)?, "\n"]);
        }
        if !deployed.variables.is_empty() {
            let names: Vec<&str> = deployed.variables.iter().map(String::as_str).collect();
            let file = specifiers(&folder.join("environment"))?;
            unit.extend(["# With ", &names.join(", "), ".\nEnvironmentFile=", &file, "\n"]);
        }
        unit.push_str(&self::rights(deployed)?);
        unit.push_str("\n[Install]\nWantedBy=multi-user.target\n");
        Ok(unit)
    }
}

/// Who it runs as, and what it may do.
fn rights(deployed: &Deployed) -> Result<String, Refusal> {
    let limits = deployed.config.server.limits.connections.saturating_mul(2).saturating_add(256);
    let mut text = format!("LimitNOFILE={limits}\nDynamicUser=yes\n");
    if let Some(audit) = deployed.audit_file() {
        text.push_str(&audit_folder(audit)?);
    }
    if let Some(folder) = deployed.socket_folder() {
        text.push_str(&runtime_folder(folder)?);
    }
    let mut capabilities = Vec::new();
    if deployed.ports().iter().any(|port| (1..1024).contains(port)) {
        capabilities.push("CAP_NET_BIND_SERVICE");
    }
    if deployed.programs().any(|(_, command)| command.user.is_some()) {
        capabilities.extend(["CAP_SETGID", "CAP_SETUID"]);
    }
    let capabilities = capabilities.join(" ");
    text.extend(["AmbientCapabilities=", &capabilities, "\nCapabilityBoundingSet=", &capabilities, "\n"]);
    text.push_str(HARDENING);
    // A program may make code as it runs, as Node does, and sets its own limits.
    if deployed.programs().next().is_none() {
        text.push_str("MemoryDenyWriteExecute=yes\nSystemCallFilter=@system-service\nSystemCallFilter=~@privileged\n");
    } else if capabilities.contains("SETUID") {
        text.push_str("SystemCallFilter=@system-service @setuid\n");
    } else {
        text.push_str("SystemCallFilter=@system-service\n");
    }
    if capabilities.is_empty() {
        text.push_str("PrivateUsers=yes\n");
    }
    Ok(text)
}

/// The folder of the audit file, which is made and belongs to the service.
fn audit_folder(audit: &Path) -> Result<String, Refusal> {
    let folder = audit.parent().unwrap_or(Path::new("/"));
    for (key, base) in [("StateDirectory", "/var/lib"), ("LogsDirectory", "/var/log")] {
        if let Some(below) = folder.strip_prefix(base).ok().filter(|below| below.components().count() > 0) {
            return Ok(format!("{key}={}\n{key}Mode=0700\n", specifiers(below)?));
        }
    }
    let why = format_args!("the audit file `{}` is in a folder that the service cannot write", audit.display());
    Err(Refusal::new(why, "for example `path = \"/var/log/portcullis/audit.jsonl\"`"))
}

/// The folder of the admin socket, likewise.
fn runtime_folder(folder: &Path) -> Result<String, Refusal> {
    if let Some(below) = folder.strip_prefix("/run").ok().filter(|below| below.components().count() > 0) {
        return Ok(format!("RuntimeDirectory={}\nRuntimeDirectoryMode=0700\n", specifiers(below)?));
    }
    let why = format_args!("the admin socket is in `{}`, which the service cannot write", folder.display());
    Err(Refusal::new(why, "for example `socket = \"/run/portcullis/admin.sock\"`"))
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err("write a path that starts with `/`".to_owned()) }
}

/// A path as a word of a command line.
fn word(path: &Path) -> Result<String, Refusal> {
    Ok(specifiers(path)?.replace('$', "$$"))
}

/// A path in a unit, where `%` begins a specifier. Those that would need quotes are refused: not every key takes them.
fn specifiers(path: &Path) -> Result<String, Refusal> {
    let fits =
        |char: char| !char.is_whitespace() && !char.is_control() && !matches!(char, '"' | '\'' | '\\' | ':' | ';');
    if let Some(text) = path.to_str().filter(|text| text.chars().all(fits)) {
        return Ok(text.replace('%', "%%"));
    }
    let why = format_args!("`{}` cannot be written into a unit", path.display());
    Err(Refusal::new(why, "choose a path without spaces, quotes, colons and backslashes"))
}
