use std::sync::Arc;

/// The identifiers of one server, in every spelling accepted in tokens; compared byte for byte.
///
/// An `http` or `https` identifier is also accepted with its scheme and host in lower case, with or without its default
/// port, and with or without one trailing slash. All other identifiers are accepted as written only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audiences(Arc<[Box<str>]>);

impl Audiences {
    /// The spellings of all `identifiers`.
    pub fn new<'a>(identifiers: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all: Vec<Box<str>> = Vec::new();
        for identifier in identifiers.into_iter().filter(|identifier| !identifier.is_empty()) {
            all.push(identifier.into());
            all.extend(spellings(identifier).into_iter().map(Into::into));
        }
        all.sort_unstable();
        all.dedup();
        Self(all.into())
    }

    /// Whether `audience` is one of the spellings.
    pub fn accepts(&self, audience: &str) -> bool {
        self.0.iter().any(|accepted| **accepted == *audience)
    }

    /// Every accepted spelling.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }
}

fn spellings(identifier: &str) -> Vec<String> {
    let Some((scheme, rest)) = identifier.split_once("://") else { return Vec::new() };
    let scheme = scheme.to_ascii_lowercase();
    let default_port = match scheme.as_str() {
        "http" => ":80",
        "https" => ":443",
        _ => return Vec::new(),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let authority = authority.to_ascii_lowercase();
    let host = authority.strip_suffix(default_port).unwrap_or(&authority);
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let mut hosts = vec![host.to_owned()];
    if !has_port {
        hosts.push(format!("{host}{default_port}"));
    }
    let mut paths = vec![path.to_owned()];
    if !path.contains(['?', '#']) {
        paths.push(path.strip_suffix('/').map_or_else(|| format!("{path}/"), ToOwned::to_owned));
    }
    let of = |host: &String| paths.iter().map(|path| format!("{scheme}://{host}{path}")).collect::<Vec<_>>();
    hosts.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::Audiences;

    #[test]
    fn accepts_the_configured_identifier_in_its_equivalent_spellings_only() {
        let cases: [(&str, &[&str], &[&str]); 7] = [
            (
                "https://mcp.example.com/crm/mcp",
                &[
                    "https://mcp.example.com/crm/mcp",
                    "https://mcp.example.com/crm/mcp/",
                    "https://mcp.example.com:443/crm/mcp",
                ],
                &[
                    "https://mcp.example.com/crm/mcp//",
                    "https://mcp.example.com",
                    "https://mcp.example.com/",
                    "https://mcp.example.com/crm",
                    "https://mcp.example.com/crm/mcp/x",
                    "https://mcp.example.com/CRM/mcp",
                    "http://mcp.example.com/crm/mcp",
                    "https://mcp.example.com:8443/crm/mcp",
                    "https://mcp.example.com/ops/mcp",
                    "https://mcp.example.com.evil/crm/mcp",
                    "https://mcp.example.com/crm/mcp?x",
                    "https://mcp.example.com/crm/mcp#x",
                    "https://mcp.example.com/crm/%6dcp",
                    "xhttps://mcp.example.com/crm/mcp",
                    " https://mcp.example.com/crm/mcp",
                    "",
                ],
            ),
            (
                "HTTPS://MCP.Example.com:443/crm/mcp/",
                &["HTTPS://MCP.Example.com:443/crm/mcp/", "https://mcp.example.com/crm/mcp"],
                &["https://mcp.example.com/crm/MCP", "https://MCP.example.com/crm/mcp"],
            ),
            ("https://h", &["https://h", "https://h/", "https://h:443/"], &["https://h//", "https://h/x"]),
            (
                "https://h:8443/a",
                &["https://h:8443/a", "https://h:8443/a/"],
                &["https://h/a", "https://h:443/a", "https://h:8443:443/a"],
            ),
            ("http://[::1]:80/a", &["http://[::1]/a", "http://[::1]:80/a"], &["http://[::1]:8080/a"]),
            ("api://default", &["api://default"], &["api://default/", "API://default"]),
            (
                "00000002-0000-0ff1-ce00-000000000000",
                &["00000002-0000-0ff1-ce00-000000000000"],
                &["00000002-0000-0ff1-ce00-000000000000/"],
            ),
        ];
        for (identifier, accepted, refused) in cases {
            let audiences = Audiences::new([identifier]);
            for audience in accepted {
                assert!(audiences.accepts(audience), "{identifier} {audience}");
            }
            for audience in refused {
                assert!(!audiences.accepts(audience), "{identifier} {audience}");
            }
        }
        assert!(!Audiences::new([""]).accepts(""));
    }
}
