//! `[admin]`.

use std::net::SocketAddr;

use toml::Spanned;

use super::super::{Admin, Listener, raw};
use super::Loader;

/// The longest path that fits a socket's address, with what a name on its way there takes.
const LIMIT_PATH: usize = 90;

impl Loader<'_> {
    pub(super) fn admin(&mut self, raw: &Spanned<raw::Admin>, server: Option<&Listener>) -> Option<Admin> {
        let raw = raw.get_ref();
        let listen = match &raw.listen {
            Some(written) => self.admin_listener(written, raw.beyond_loopback == Some(true), server)?,
            None => SocketAddr::from(([127, 0, 0, 1], 9901)),
        };
        let token = raw.token.as_ref().and_then(|written| self.secret("token", written));
        if let (Some(written), false) = (&raw.token, listen.ip().is_loopback()) {
            let message = "the admin token would cross the network in plain text";
            let problem = self.error(written.span(), message, "`listen` is not a loopback address");
            self.report(problem.help("listen on `127.0.0.1`, or use `socket` in its place"));
        }
        let socket = raw.socket.as_ref().map(|written| {
            let path = self.path("socket", written);
            if path.as_os_str().len() > LIMIT_PATH {
                let problem = self.error(written.span(), "`socket` is too long for a Unix socket", "over 90 bytes");
                self.report(problem.help("for example `/run/portcullis/admin.sock`"));
            }
            path
        });
        let ready_upstreams = raw.readyz.as_ref().is_some_and(|readyz| readyz.upstreams == Some(true));
        Some(Admin { listen, socket, token, ready_upstreams })
    }

    fn admin_listener(
        &mut self,
        written: &Spanned<String>,
        beyond_loopback: bool,
        server: Option<&Listener>,
    ) -> Option<SocketAddr> {
        let listen = self.socket(written)?;
        if !listen.ip().is_loopback() && !beyond_loopback {
            let message = "the admin listener would answer other machines, without asking who they are";
            let problem = self.error(written.span(), message, "not a loopback address");
            let help = "write `127.0.0.1:9901`, or `beyond_loopback = true` beside it if only probes can reach it";
            self.report(problem.help(help));
        }
        let taken = server.is_some_and(|server| server.listen.contains(&listen)) && listen.port() != 0;
        if taken {
            let problem = self.error(written.span(), "the public listener has this address", "already taken");
            self.report(problem.help("admin endpoints are never on the public port"));
        }
        Some(listen)
    }
}
