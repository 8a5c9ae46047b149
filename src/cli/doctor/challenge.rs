//! Parses `WWW-Authenticate` as clients do (RFC 9110 section 11.6.1).

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// One challenge: its scheme and its parameters, names in lower case.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Challenge {
    pub(super) scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }
}

/// Every challenge of the answer, in order; what cannot be read ends the field it is in.
pub(super) fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let fields = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|field| field.to_str().ok());
    fields.flat_map(field).collect()
}

fn field(text: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let Some((word, after)) = token(rest) else { return found };
        let after = after.trim_start_matches([' ', '\t']);
        match (after.strip_prefix('='), found.last_mut()) {
            (Some(after), Some(challenge)) => {
                let Some((value, after)) = value(after.trim_start_matches([' ', '\t'])) else { return found };
                challenge.parameters.push((word.to_ascii_lowercase(), value));
                rest = after;
            }
            (Some(_), None) => return found,
            (None, _) => {
                found.push(Challenge { scheme: word.to_owned(), parameters: Vec::new() });
                rest = after;
            }
        }
    }
}

fn token(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|char: char| !(char.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(char)));
    let (word, rest) = text.split_at_checked(end.unwrap_or(text.len()))?;
    (!word.is_empty()).then_some((word, rest))
}

fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        return token(text).map(|(word, rest)| (word.to_owned(), rest));
    };
    let (mut value, mut chars) = (String::new(), quoted.chars());
    loop {
        match chars.next()? {
            '"' => return Some((value, chars.as_str())),
            '\\' => value.push(chars.next()?),
            char => value.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::WWW_AUTHENTICATE;
    use http::{HeaderMap, HeaderValue};

    use super::challenges;

    #[test]
    fn reads_what_clients_read() {
        for (fields, expected) in [
            (&["Bearer"][..], "Bearer[]"),
            (&["Bearer realm=\"a\", scope=\"x y\""], "Bearer[realm=a scope=x y]"),
            (
                &["Bearer error=invalid_token , Error_Description = \"a \\\"b\\\"\""],
                "Bearer[error=invalid_token error_description=a \"b\"]",
            ),
            (&["Basic realm=\"a, b\", DPoP algs=\"ES256\""], "Basic[realm=a, b] DPoP[algs=ES256]"),
            (&["Bearer a=\"1\"", "DPoP b=\"2\""], "Bearer[a=1] DPoP[b=2]"),
            (&["Bearer a=\"never closed"], "Bearer[]"),
            (&["Bearer a=\"1\" ; b"], "Bearer[a=1]"),
            (&["=x"], ""),
            (&["scope=\"x\""], ""),
            (&[], ""),
        ] {
            let mut headers = HeaderMap::new();
            for field in fields {
                headers.append(WWW_AUTHENTICATE, HeaderValue::from_str(field).unwrap());
            }
            let found: Vec<String> = challenges(&headers)
                .iter()
                .map(|challenge| {
                    let parameters: Vec<String> =
                        challenge.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
                    format!("{}[{}]", challenge.scheme, parameters.join(" "))
                })
                .collect();
            assert_eq!(found.join(" "), expected, "{fields:?}");
        }
    }
}
