//! Protected resource metadata, in the places and the order in which clients look (RFC 9728 section 3).

use http::Method;
use http::header::{ACCEPT, ACCESS_CONTROL_ALLOW_ORIGIN, ORIGIN};
use serde_json::Value;
use url::Url;

use super::report::{Report, Step, foreign};
use super::server::{PAGE, headers};
use crate::auth::explorer::{Explorer, Unseen};
use crate::auth::metadata::location;

/// The most items that are named; further ones are only counted.
const SHOWN: usize = 5;

/// The document clients find.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) resource: String,
    pub(super) authorization_servers: Vec<String>,
    pub(super) scopes: Vec<String>,
    /// Whether only DPoP-bound tokens are taken.
    pub(super) is_proof_required: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) metadata: Option<Metadata>,
    pub(super) is_at_path: bool,
}

/// Looks at the document the challenge names, at the one of the path and at the one of the origin; the first that is there
/// is examined.
pub(super) async fn search(explorer: &Explorer, url: &Url, named: Option<&str>, report: &mut Report) -> Found {
    let mut found = Found::default();
    if let Some(named) = named {
        match Url::parse(named) {
            Ok(place) => {
                found.metadata = read(explorer, &place, "metadata, named", report, true).await;
            }
            Err(_) => report.add(Step::failed(
                "metadata, named",
                format!("`{}` is not a URL", foreign(named)),
                "write the whole URL into resource_metadata",
            )),
        }
    }
    let resource = url.as_str();
    let root = format!("{}/", url.origin().ascii_serialization());
    let places = [("metadata, path", location(resource)), ("metadata, root", location(&root))];
    for (at, (name, place)) in places.into_iter().enumerate() {
        let Ok(place) = Url::parse(&place) else { continue };
        let is_needed = found.metadata.is_none() && at == 0;
        let there = read(explorer, &place, name, report, is_needed).await;
        found.is_at_path |= at == 0 && there.is_some();
        if found.metadata.is_none() {
            found.metadata = there;
        }
    }
    if let Some(metadata) = &found.metadata {
        report.add(resource_step(url, metadata));
        report.add(servers_step(metadata));
        report.add(scopes_step(metadata));
    }
    found
}

async fn read(
    explorer: &Explorer,
    place: &Url,
    name: &'static str,
    report: &mut Report,
    is_needed: bool,
) -> Option<Metadata> {
    let asked = headers([(ACCEPT, "application/json"), (ORIGIN, PAGE)]);
    let seen = match explorer.ask(Method::GET, place, asked, None).await {
        Ok(seen) => seen,
        Err(reason) => {
            let fix = match reason {
                Unseen::TooLarge => "serve an RFC 9728 document there: it is never that long",
                _ => "let the challenge name a document on the server's own origin",
            };
            report.add(Step::failed(name, foreign(&format!("{place}: {reason}")), fix));
            return None;
        }
    };
    let fix = "serve the RFC 9728 document there, as JSON with status 200 and without a redirect";
    if seen.status != 200 {
        let text = format!("{} at {}", seen.status, foreign(place.path()));
        // A resource with a path has no document at the root, unless it is the only one.
        let is_fine = seen.status == 404 && !is_needed;
        report.add(if is_fine { Step::unseen(name, text) } else { Step::failed(name, text, fix) });
        return None;
    }
    let document: Option<Value> = serde_json::from_slice(&seen.body).ok().filter(Value::is_object);
    let Some(document) = document else {
        report.add(Step::failed(name, format!("200 at {}, but no JSON object", foreign(place.path())), fix));
        return None;
    };
    let is_open = seen.headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).is_some_and(|origin| origin == "*" || origin == PAGE);
    report.add(if is_open {
        Step::good(name, format!("200 at {}", foreign(place.path())))
    } else {
        Step::doubtful(
            name,
            format!("200 at {}, but pages may not read it", foreign(place.path())),
            "add `Access-Control-Allow-Origin: *` for clients in browsers",
        )
    });
    let texts = |name: &str| -> Vec<String> {
        let items = document.get(name).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    Some(Metadata {
        resource: document.get("resource").and_then(Value::as_str).unwrap_or_default().to_owned(),
        authorization_servers: texts("authorization_servers"),
        scopes: texts("scopes_supported"),
        is_proof_required: document.get("dpop_bound_access_tokens_required") == Some(&Value::Bool(true)),
    })
}

fn resource_step(url: &Url, metadata: &Metadata) -> Step {
    const NAME: &str = "resource";
    let (shown, typed) = (foreign(&metadata.resource), url.as_str());
    if metadata.resource == typed || format!("{}/", metadata.resource) == typed && url.path() == "/" {
        return Step::good(NAME, "is the URL, byte for byte");
    }
    let fix = "let `resource` be what clients type: `public_url` and `path` in proxy.toml";
    if covers(&metadata.resource, url) {
        return Step::doubtful(
            NAME,
            format!("`{shown}` is not the URL, only its beginning: strict clients refuse it"),
            fix,
        );
    }
    Step::failed(NAME, format!("`{shown}` is another resource: clients refuse it (RFC 9728 section 3.3)"), fix)
}

/// Whether a lenient client takes `resource` for a name of `url`: same origin, and a prefix of its path.
pub(super) fn covers(resource: &str, url: &Url) -> bool {
    let Ok(resource) = Url::parse(resource) else { return false };
    let slash = |path: &str| if path.ends_with('/') { path.to_owned() } else { format!("{path}/") };
    resource.origin() == url.origin() && slash(url.path()).starts_with(&slash(resource.path()))
}

fn servers_step(metadata: &Metadata) -> Step {
    const NAME: &str = "issuers";
    match &*metadata.authorization_servers {
        [] => Step::failed(
            NAME,
            "authorization_servers is missing or empty",
            "name the issuer there (MCP, \"authorization server location\")",
        ),
        [one] => Step::good(NAME, foreign(one)),
        [first, rest @ ..] => {
            Step::good(NAME, format!("{} and {} more; most clients take the first", foreign(first), rest.len()))
        }
    }
}

fn scopes_step(metadata: &Metadata) -> Step {
    const NAME: &str = "scopes";
    let scopes = &metadata.scopes;
    if scopes.iter().any(|scope| scope == "offline_access") {
        return Step::doubtful(
            NAME,
            "offline_access is among them",
            "leave it out: it is between client and issuer (MCP 2026-07-28)",
        );
    }
    match scopes.len() {
        0 => Step::unseen(NAME, "scopes_supported is not said"),
        count if count > SHOWN => Step::doubtful(
            NAME,
            format!("scopes_supported has {count}: clients that ask for all of them ask users for too much"),
            "list only what a first call needs; step-up asks for the rest (`scopes_advertised`)",
        ),
        _ => Step::good(NAME, foreign(&scopes.join(" "))),
    }
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::covers;

    #[test]
    fn a_resource_covers_what_is_below_it_on_its_origin() {
        let url = Url::parse("https://h/a/mcp").unwrap();
        for (resource, expected) in [
            ("https://h/a/mcp", true),
            ("https://h/a/mcp/", true),
            ("https://h/a", true),
            ("https://h", true),
            ("https://h:443/", true),
            ("https://h/a/mc", false),
            ("https://h/a/mcp/b", false),
            ("http://h/a/mcp", false),
            ("https://i/a/mcp", false),
            ("a", false),
        ] {
            assert_eq!(covers(resource, &url), expected, "{resource}");
        }
    }
}
