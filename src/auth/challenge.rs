//! `WWW-Authenticate` challenges in the form existing clients can read.

use http::HeaderValue;

use super::error::TOO_WEAK;
use super::{Scheme, Scopes, VerifyError};
use crate::config;

/// The longest `error_description`, in bytes.
const LIMIT_DESCRIPTION: usize = 200;

/// The challenges of one route (RFC 6750 section 3, RFC 9449 section 7.1, RFC 9470 section 3, RFC 9728 section 5.1), in the
/// order `resource_metadata`, `error`, `scope`, `error_description`; every value quoted.
///
/// Each scheme is a field of its own, `Bearer` first, as some clients only read the first. An error is only given for the
/// scheme that was used.
#[derive(Clone, Debug)]
pub struct Challenges {
    metadata: Box<str>,
    scopes: Box<str>,
    /// The algorithms for `DPoP`; `None` if it is not advertised.
    algorithms: Option<Box<str>>,
    /// Whether bearer tokens are refused.
    proof_required: bool,
    stronger: Box<[(&'static str, Box<str>)]>,
    /// For each of `scopes`, the scopes that satisfy it.
    holders: Box<[Scopes]>,
}

/// The `WWW-Authenticate` fields of one response.
pub type Fields = Vec<HeaderValue>;

impl Challenges {
    /// Challenges with `resource_metadata` and the `scopes` to request first.
    pub fn new<'a>(metadata_url: &str, scopes: impl IntoIterator<Item = &'a str>) -> Self {
        let metadata: Box<str> = quotable(metadata_url).into();
        let scopes: Vec<&str> = usable(scopes).collect();
        let holders = scopes.iter().map(|scope| [*scope].into_iter().collect()).collect();
        let scopes = scopes.join(" ").into();
        Self { metadata, scopes, algorithms: None, proof_required: false, stronger: Box::default(), holders }
    }

    /// The same with the scopes that satisfy each requested one: itself and the broader ones.
    pub fn held_by(mut self, holders: impl Fn(&str) -> Scopes) -> Self {
        self.holders = self.scopes.split(' ').filter(|scope| !scope.is_empty()).map(holders).collect();
        self
    }

    /// The same with the server's requirements on proofs and authentication.
    pub fn asking(mut self, access: &config::Access) -> Self {
        if let Some(dpop) = &access.dpop {
            self.algorithms = Some(dpop.algorithms.join(" ").into());
            self.proof_required = dpop.required;
        }
        let authentication = &access.authentication;
        let acr = authentication.acr_values.join(" ");
        let age = authentication.max_age.map(|age| age.as_secs().to_string());
        self.stronger = [("acr_values", acr), ("max_age", age.unwrap_or_default())]
            .into_iter()
            .map(|(name, value)| (name, value.into_boxed_str()))
            .collect();
        self
    }

    /// 401 without credentials: no error (RFC 6750 section 3.1).
    pub fn missing(&self) -> Fields {
        self.fields(Scheme::Bearer, None, &self.scopes, &[], None)
    }

    /// 401 for a refused token.
    pub fn invalid(&self, scheme: Scheme, error: &VerifyError) -> Fields {
        let description = Some(error.description());
        match error {
            VerifyError::NonceWanted { .. } => self.fields(scheme, Some("use_dpop_nonce"), "", &[], description),
            VerifyError::Proof(_) => self.fields(scheme, Some("invalid_dpop_proof"), "", &[], description),
            VerifyError::TooWeak { scopes } => {
                let error = Some("insufficient_user_authentication");
                // Missing scopes are requested in the same step (RFC 9470 section 3).
                let is_held = |holders: &Scopes| holders.iter().any(|scope| scopes.has(scope));
                let wanted = if self.holders.iter().all(is_held) { "" } else { &*self.scopes };
                self.fields(scheme, error, wanted, &self.stronger, description)
            }
            _ => self.fields(scheme, Some("invalid_token"), &self.scopes, &[], description),
        }
    }

    /// 401 when an authorization server refuses a token exchange until the user signs in; `claims`, in base64url, is what it
    /// requires in the next token (Microsoft identity platform, "Claims challenge").
    pub fn sign_in(&self, scheme: Scheme, claims: Option<&str>) -> Fields {
        let description = Some(TOO_WEAK);
        let Some(claims) = claims else {
            return self.fields(scheme, Some("insufficient_user_authentication"), "", &self.stronger, description);
        };
        self.fields(scheme, Some("insufficient_claims"), "", &[("claims", claims.into())], description)
    }

    /// 400 for a malformed credential.
    pub fn malformed(&self, description: &str) -> Fields {
        self.fields(Scheme::Bearer, Some("invalid_request"), "", &[], Some(description))
    }

    /// 403 when a token with `scopes` would be allowed; they are all scopes for the operation (MCP 2026-07-28).
    pub fn insufficient<'a>(
        &self,
        scheme: Scheme,
        scopes: impl IntoIterator<Item = &'a str>,
        description: &str,
    ) -> Fields {
        self.fields(scheme, Some("insufficient_scope"), &joined(scopes), &[], Some(description))
    }

    fn fields(
        &self,
        used: Scheme,
        error: Option<&str>,
        scopes: &str,
        more: &[(&str, Box<str>)],
        description: Option<&str>,
    ) -> Fields {
        let mut fields = Vec::with_capacity(2);
        for scheme in [Scheme::Bearer, Scheme::Dpop] {
            let algorithms = match scheme {
                Scheme::Bearer if self.proof_required && used != scheme => continue,
                Scheme::Bearer if self.proof_required && error.is_none() => continue,
                Scheme::Bearer => "",
                Scheme::Dpop => match &self.algorithms {
                    Some(algorithms) => algorithms,
                    None if used == scheme => "",
                    None => continue,
                },
            };
            let (error, scopes, description) =
                if used == scheme { (error, scopes, description) } else { (None, &*self.scopes, None) };
            let more = if used == scheme { more } else { &[] };
            fields.push(challenge(scheme, &self.metadata, [error, Some(scopes), Some(algorithms)], more, description));
        }
        fields
    }
}

fn challenge(
    scheme: Scheme,
    metadata: &str,
    [error, scopes, algorithms]: [Option<&str>; 3],
    more: &[(&str, Box<str>)],
    description: Option<&str>,
) -> HeaderValue {
    let name = match scheme {
        Scheme::Bearer => "Bearer",
        Scheme::Dpop => "DPoP",
    };
    let mut text = format!("{name} resource_metadata=\"{metadata}\"");
    let mut parameter = |name: &str, value: &str| {
        if !value.is_empty() {
            text.extend([", ", name, "=\"", value, "\""]);
        }
    };
    parameter("error", error.unwrap_or_default());
    parameter("scope", scopes.unwrap_or_default());
    parameter("algs", algorithms.unwrap_or_default());
    for (name, value) in more {
        parameter(name, value);
    }
    parameter("error_description", &sentence(description.unwrap_or_default()));
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Bearer"))
}

/// Whether a character is allowed between quotes without escaping: %x20-21 / %x23-5B / %x5D-7E (RFC 6750 section 3).
const fn is_plain(c: char) -> bool {
    matches!(c, ' ' | '!' | '#'..='[' | ']'..='~')
}

/// A URL without characters that cannot be quoted.
fn quotable(url: &str) -> String {
    url.chars().filter(|c| is_plain(*c) && *c != ' ').collect()
}

/// A description that no client mistakes for a parameter: some search the whole value for `scope=` or `error=`.
fn sentence(text: &str) -> String {
    let plain = text.chars().map(|c| match c {
        '"' | '`' => '\'',
        '=' => ':',
        c if is_plain(c) => c,
        c if c.is_whitespace() => ' ',
        _ => '?',
    });
    plain.take(LIMIT_DESCRIPTION).collect()
}

/// The valid scope tokens (RFC 6749 section 3.3), without `offline_access`, which servers must not request (MCP).
pub(super) fn usable<'a>(scopes: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = &'a str> {
    scopes.into_iter().filter(|scope| {
        !scope.is_empty() && *scope != "offline_access" && scope.chars().all(|c| is_plain(c) && c != ' ')
    })
}

fn joined<'a>(scopes: impl IntoIterator<Item = &'a str>) -> String {
    usable(scopes).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::Challenges;
    use crate::auth::{ProofError, Scheme, VerifyError};
    use crate::config::{Access, Authentication, Dpop};

    const METADATA: &str = "https://mcp.example.com/.well-known/oauth-protected-resource/crm/mcp";

    fn texts(fields: &[http::HeaderValue]) -> Vec<String> {
        fields.iter().map(|field| field.to_str().unwrap().replace(METADATA, "M")).collect()
    }

    #[test]
    fn writes_each_challenge_in_the_order_clients_read() {
        let challenges = Challenges::new(METADATA, ["crm:read", "offline_access"]);
        let expected = [
            (challenges.missing(), "Bearer resource_metadata=\"M\", scope=\"crm:read\""),
            (
                challenges.invalid(Scheme::Bearer, &VerifyError::Expired),
                "Bearer resource_metadata=\"M\", error=\"invalid_token\", scope=\"crm:read\", error_description=\"The access token expired\"",
            ),
            (
                challenges.malformed("More than one Authorization header"),
                "Bearer resource_metadata=\"M\", error=\"invalid_request\", error_description=\"More than one Authorization header\"",
            ),
            (
                challenges.insufficient(Scheme::Bearer, ["crm:read", "crm:write"], "update_contact needs crm:write"),
                "Bearer resource_metadata=\"M\", error=\"insufficient_scope\", scope=\"crm:read crm:write\", error_description=\"update_contact needs crm:write\"",
            ),
        ];
        for (fields, text) in expected {
            assert_eq!(texts(&fields), [text]);
        }
        assert_eq!(texts(&Challenges::new(METADATA, []).missing()), ["Bearer resource_metadata=\"M\""]);
    }

    #[test]
    fn an_error_stands_with_the_scheme_that_was_used() {
        let dpop = Dpop { algorithms: vec!["ES256".into(), "EdDSA".into()], ..Dpop::default() };
        let optional = Access { dpop: Some(dpop.clone()), ..Access::default() };
        let challenges = Challenges::new(METADATA, ["a"]).asking(&optional);
        let (bearer, proved) = (
            "Bearer resource_metadata=\"M\", scope=\"a\"",
            "DPoP resource_metadata=\"M\", scope=\"a\", algs=\"ES256 EdDSA\"",
        );
        assert_eq!(texts(&challenges.missing()), [bearer, proved]);
        assert_eq!(
            texts(&challenges.invalid(Scheme::Bearer, &VerifyError::Bound)),
            [
                "Bearer resource_metadata=\"M\", error=\"invalid_token\", scope=\"a\", error_description=\"The access token is not valid for this server\"",
                proved
            ]
        );
        assert_eq!(
            texts(&challenges.invalid(Scheme::Dpop, &ProofError::Replayed.into())),
            [
                bearer,
                "DPoP resource_metadata=\"M\", error=\"invalid_dpop_proof\", algs=\"ES256 EdDSA\", error_description=\"The proof of possession is not valid\""
            ]
        );
        assert_eq!(
            texts(&challenges.invalid(Scheme::Dpop, &VerifyError::NonceWanted { nonce: None })),
            [
                bearer,
                "DPoP resource_metadata=\"M\", error=\"use_dpop_nonce\", algs=\"ES256 EdDSA\", error_description=\"The proof must name the nonce of this answer\""
            ]
        );
        assert_eq!(
            texts(&challenges.insufficient(Scheme::Dpop, ["a", "b"], "x needs b")),
            [
                bearer,
                "DPoP resource_metadata=\"M\", error=\"insufficient_scope\", scope=\"a b\", algs=\"ES256 EdDSA\", error_description=\"x needs b\""
            ]
        );
        let required = Access { dpop: Some(Dpop { required: true, ..dpop }), ..Access::default() };
        let challenges = Challenges::new(METADATA, ["a"]).asking(&required);
        assert_eq!(texts(&challenges.missing()), [proved], "a plain token would not do");
        // Not advertised, but used.
        let quiet = Challenges::new(METADATA, ["a"]);
        assert_eq!(texts(&quiet.invalid(Scheme::Dpop, &VerifyError::Expired)).len(), 2);
    }

    #[test]
    fn rfc_9470_names_what_would_be_strong_enough() {
        let max_age = Some(std::time::Duration::from_mins(5));
        let authentication = Authentication { acr_values: vec!["phr".into(), "mfa".into()], max_age };
        let challenges = Challenges::new(METADATA, ["a", "b"]).asking(&Access { authentication, ..Access::default() });
        let challenges = challenges.held_by(|scope| [scope, "all"].into_iter().filter(|name| *name != "a").collect());
        for (held, scope) in [("b all", ""), ("all", ""), ("a b", ", scope=\"a b\""), ("", ", scope=\"a b\"")] {
            let scopes = held.split(' ').filter(|scope| !scope.is_empty()).collect();
            assert_eq!(
                texts(&challenges.invalid(Scheme::Bearer, &VerifyError::TooWeak { scopes })),
                [format!(
                    "Bearer resource_metadata=\"M\", error=\"insufficient_user_authentication\"{scope}, acr_values=\"phr mfa\", max_age=\"300\", error_description=\"A stronger or more recent authentication is needed\""
                )],
                "{held}"
            );
        }
    }

    #[test]
    fn a_description_cannot_break_out_or_be_taken_for_a_parameter() {
        let challenges = Challenges::new(METADATA, ["crm:read", "bad scope", "bad\"scope", "b\u{e4}d"]);
        for hostile in [
            "\", error=\"x",
            "a\r\nSet-Cookie: x",
            "scope=\"admin\"",
            "Scope=admin",
            "error=none",
            "\\\" , scope=x",
            "\u{202e}é\0\u{7f}",
            "scope\u{200b}=x",
            "\t=",
        ] {
            for value in challenges.insufficient(Scheme::Bearer, ["a", "b\"c", ""], hostile) {
                let text = value.to_str().unwrap();
                let (_, description) = text.split_once("error_description=\"").unwrap();
                let inner = description.strip_suffix('"').unwrap();
                assert!(!inner.contains(['"', '\\', '=', '\r', '\n']), "{text}");
                assert!(inner.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{text}");
                assert_eq!(text.matches("scope=").count(), 1, "{text}");
                assert_eq!(text.matches("error=").count(), 1, "{text}");
            }
        }
        assert!(challenges.missing()[0].to_str().unwrap().ends_with("scope=\"crm:read\""));
        assert!(challenges.malformed(&"x".repeat(5000))[0].len() < 600);
    }

    #[test]
    fn an_odd_metadata_url_stays_quoted() {
        let fields = Challenges::new("https://h/a\"b\r\nc", []).missing();
        assert_eq!(fields[0], "Bearer resource_metadata=\"https://h/abc\"");
    }
}
