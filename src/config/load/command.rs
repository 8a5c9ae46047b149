//! `servers.NAME.command`: a server that is a program.

use std::time::Duration;

use nix::unistd;
use toml::Spanned;

use super::super::{Backend, ChildLimits, Command, Sharing, User, raw};
use super::Loader;
use crate::secret::Secret;

impl Loader<'_> {
    pub(super) fn command(&mut self, raw: &raw::Server, written: &Spanned<Vec<Spanned<String>>>) -> Option<Backend> {
        if let Some(upstream) = &raw.upstream {
            let problem = self.error(upstream.span(), "both `upstream` and `command`", "which of them is the server?");
            self.report(
                problem.help("keep `command` for a program that is to be started, `upstream` for one that runs"),
            );
        }
        self.nothing_of_http(raw);
        let mut words = written.get_ref().iter();
        let Some(program) = words.next() else {
            let problem = self.error(written.span(), "`command` is empty", "needs at least the program");
            self.report(problem.help("for example `command = [\"node\", \"server.js\"]`"));
            return None;
        };
        let program = self.text("command", program, 4_096);
        let arguments = words.map(|word| self.argument(word)).collect();
        let env = raw.env.iter().flatten().map(|(name, value)| self.variable(name, value)).collect();
        let user = raw.user.as_ref().and_then(|user| self.user(user));
        if raw.user.is_none() {
            let problem =
                self.warning(written.span(), "`command` runs as the proxy's own user", "could read its secrets");
            self.report(problem.help("name another one with `user`; the proxy must then be started as root"));
        }
        let kinds =
            [("per_client_session", Sharing::Client), ("per_principal", Sharing::Principal), ("shared", Sharing::All)];
        let sessions = self.choice("sessions", raw.sessions.as_ref(), &kinds, &[]).unwrap_or_default();
        let default = Command::default();
        let stdio = raw.stdio.as_ref();
        let times = Duration::from_millis(10)..=Duration::from_hours(24);
        let limits = ChildLimits {
            memory_bytes: stdio.and_then(|stdio| stdio.memory.as_ref()).map(|written| {
                let range = 1 << 20..=1 << 40;
                self.size("memory", Some(written), 1 << 30, &range) as u64
            }),
            open_files: self.limit("open_files", stdio.and_then(|stdio| stdio.open_files.as_ref())),
            tasks: self.limit("tasks", stdio.and_then(|stdio| stdio.tasks.as_ref())),
            cpu_seconds: self.limit("cpu_seconds", stdio.and_then(|stdio| stdio.cpu_seconds.as_ref())),
        };
        Some(Backend::Command(Box::new(Command {
            program,
            arguments,
            env,
            cwd: raw.cwd.as_ref().map(|written| self.path("cwd", written)),
            user,
            sessions,
            processes: self.whole(
                "processes",
                stdio.and_then(|stdio| stdio.processes.as_ref()),
                default.processes,
                &(1..=10_000),
            ),
            idle: self.duration("idle", stdio.and_then(|stdio| stdio.idle.as_ref()), default.idle, &times),
            grace: self.duration("grace", stdio.and_then(|stdio| stdio.grace.as_ref()), default.grace, &times),
            limits,
        })))
    }

    /// Keys about a program, where there is none.
    pub(super) fn nothing_of_programs(&mut self, raw: &raw::Server) {
        let written = [
            ("cwd", raw.cwd.as_ref().map(Spanned::span)),
            ("user", raw.user.as_ref().map(Spanned::span)),
            ("env", raw.env.as_ref().and_then(|env| Some(env.first_key_value()?.0.span()))),
        ];
        for (key, span) in written {
            if let Some(span) = span {
                let message = format!("`{key}` has no effect without `command`");
                let problem = self.error(span, message, "nothing is started");
                self.report(problem);
            }
        }
    }

    fn nothing_of_http(&mut self, raw: &raw::Server) {
        let written = [
            ("identity", raw.identity.as_ref().map(Spanned::span)),
            ("tool_auth", raw.tool_auth.as_ref().and_then(|auth| Some(auth.first_key_value()?.0.span()))),
            ("upstream_auth", raw.upstream_auth.as_ref().map(Spanned::span)),
            ("upstream_ca_file", raw.upstream_ca_file.as_ref().map(Spanned::span)),
            ("upstream_client_certificate", raw.upstream_client_certificate.as_ref().map(Spanned::span)),
        ];
        for (key, span) in written {
            if let Some(span) = span {
                let problem =
                    self.error(span, format!("`{key}` has no effect with `command`"), "nothing is shown to it");
                self.report(problem.help("a program gets its credentials in `env`"));
            }
        }
    }

    fn argument(&mut self, written: &Spanned<String>) -> String {
        if written.get_ref().contains('\0') {
            let problem = self.error(written.span(), "not an argument", "holds a NUL");
            self.report(problem);
        }
        written.get_ref().clone()
    }

    fn variable(&mut self, name: &Spanned<String>, value: &Spanned<String>) -> (String, Secret<String>) {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.get_ref().is_empty() || !name.get_ref().bytes().all(plain) {
            let problem = self.error(name.span(), "not the name of a variable", "only letters, digits and `_`");
            self.report(problem);
        }
        if name.get_ref().starts_with("LD_") {
            let problem = self.error(name.span(), format!("`{}` changes what is started", name.get_ref()), "not taken");
            self.report(problem);
        }
        (name.get_ref().clone(), Secret::new(self.argument(value)))
    }

    fn limit(&mut self, key: &str, written: Option<&Spanned<i64>>) -> Option<u64> {
        written.map(|written| self.whole(key, Some(written), 1, &(1..=1 << 40)))
    }

    /// A user by name, or `UID:GID`.
    fn user(&mut self, written: &Spanned<String>) -> Option<User> {
        let text = written.get_ref().as_str();
        if let Some((uid, gid)) = text.split_once(':')
            && let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse())
        {
            return Some(User { uid, gid });
        }
        if let Ok(Some(user)) = unistd::User::from_name(text) {
            return Some(User { uid: user.uid.as_raw(), gid: user.gid.as_raw() });
        }
        let problem = self.error(written.span(), format!("there is no user `{text}` here"), "not known");
        self.report(problem.help("write the name of a user of this machine, or `UID:GID`"));
        None
    }
}
