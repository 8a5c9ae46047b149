//! `servers.NAME.dpop`, `mtls`, `authentication`, `anonymous` and `elicitation`.

use std::time::Duration;

use toml::Spanned;

use super::super::{Access, Anonymous, Authentication, Dpop, Elicitation, HostPattern, Mtls, SecretFields, raw, walk};
use super::Loader;

/// Signature algorithms a proof can be made with.
const ALGORITHMS: [&str; 9] = ["ES256", "EdDSA", "PS256", "RS256", "ES384", "RS384", "RS512", "PS384", "PS512"];

impl Loader<'_> {
    pub(super) fn access(&mut self, raw: &raw::Server) -> Access {
        Access {
            dpop: raw.dpop.as_ref().map(|written| self.dpop(written)),
            mtls: raw.mtls.as_ref().map(|written| self.mtls(written)),
            authentication: raw.authentication.as_ref().map(|written| self.authentication(written)).unwrap_or_default(),
            anonymous: raw.anonymous.as_ref().map(|written| self.anonymous(written)).unwrap_or_default(),
            metadata: raw.metadata.as_ref().map(|written| self.metadata(written)).unwrap_or_default(),
        }
    }

    pub(super) fn elicitation(&mut self, raw: &raw::Elicitation) -> Elicitation {
        let secrets = [("refuse", SecretFields::Refuse), ("pass", SecretFields::Pass)];
        let mut url_hosts = Vec::new();
        for entry in raw.url_hosts.iter().flat_map(Spanned::get_ref) {
            if let Some(pattern) = HostPattern::parse(entry.get_ref()) {
                url_hosts.push(pattern);
            } else {
                let label = "a name or an address, without scheme, port and path";
                let problem = self.error(entry.span(), "not a host", label);
                self.report(problem.help("for example `login.example.com`, or `*.example.com` for all hosts below it"));
            }
        }
        if let Some(written) = raw.url_hosts.as_ref().filter(|written| written.get_ref().is_empty()) {
            let problem = self.error(written.span(), "`url_hosts` is empty", "names no host");
            self.report(problem.help("leave it out to allow every public host"));
        }
        let secrets = self.choice("secrets", raw.secrets.as_ref(), &secrets, &[]).unwrap_or_default();
        Elicitation { url_hosts, secrets }
    }

    fn anonymous(&mut self, raw: &raw::Anonymous) -> Anonymous {
        let default = Anonymous::default();
        Anonymous { rate: self.rate(raw.rate.as_ref()).unwrap_or(default.rate) }
    }

    fn dpop(&mut self, raw: &raw::Dpop) -> Dpop {
        let default = Dpop::default();
        let second = Duration::from_secs(1);
        let algorithms = raw.algorithms.as_ref().map(|written| {
            for entry in written.get_ref().iter().filter(|entry| !ALGORITHMS.contains(&entry.get_ref().as_str())) {
                let problem = self.error(entry.span(), "unknown or unsupported algorithm", "not accepted");
                self.report(problem.help(walk::advice(entry.get_ref(), ALGORITHMS)));
            }
            self.texts("algorithms", written)
        });
        Dpop {
            required: raw.required.unwrap_or(default.required),
            nonces: raw.nonces.unwrap_or(default.nonces),
            proof_age: self.duration(
                "proof_age",
                raw.proof_age.as_ref(),
                default.proof_age,
                &(second..=Duration::from_mins(5)),
            ),
            algorithms: algorithms.unwrap_or(default.algorithms),
        }
    }

    fn mtls(&mut self, raw: &raw::Mtls) -> Mtls {
        let terminators = raw.terminators.as_ref().map(|written| self.networks(written.get_ref()));
        Mtls { required: raw.required.unwrap_or(false), terminators: terminators.unwrap_or_default() }
    }

    fn authentication(&mut self, raw: &raw::Authentication) -> Authentication {
        let acr_values = raw.acr_values.as_ref().map(|written| {
            for entry in written.get_ref() {
                if !entry.get_ref().bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)) {
                    let label = "one word of printable ASCII without `\"` and `\\`";
                    let problem = self.error(entry.span(), "not an authentication context", label);
                    self.report(problem);
                }
            }
            self.texts("acr_values", written)
        });
        let range = Duration::from_secs(1)..=Duration::from_hours(30 * 24);
        let max_age = raw.max_age.as_ref();
        Authentication {
            acr_values: acr_values.unwrap_or_default(),
            max_age: max_age.map(|written| self.duration("max_age", Some(written), Duration::from_hours(8), &range)),
        }
    }
}
