//! The client of a `[[test]]`: its address and what it says of itself.

use std::net::IpAddr;

use http::HeaderValue;

use super::super::context::Untrusted;
use super::super::table::{Keys, Report, Table, Text, Words};
use crate::config::Problem;
use crate::config::suggest::{closest, list};
use crate::mcp::Revision;

pub(in crate::policy) const CLIENT: Keys = Keys { table: "`client`", known: &["ip"], later: &[] };

pub(in crate::policy) const UNTRUSTED: Keys =
    Keys { table: "`untrusted`", known: &["name", "version", "protocol_version", "headers"], later: &[] };

pub(in crate::policy) const HEADERS: Keys =
    Keys { table: "`untrusted.headers`", known: &Untrusted::HEADERS, later: &[] };

/// The revision of a case that does not set one. Decisions do not depend on it unless a rule reads it.
const REVISION: Revision = Revision::V2026_07_28;

const REVISIONS: Words<Revision> = Words {
    known: &[
        ("2025-03-26", Revision::V2025_03_26),
        ("2025-06-18", Revision::V2025_06_18),
        ("2025-11-25", Revision::V2025_11_25),
        ("2026-07-28", Revision::V2026_07_28),
    ],
    later: &[],
};

/// The client of a case, apart from its token.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// The address it connects from; `None` if unknown.
    pub(crate) ip: Option<IpAddr>,
    /// The protocol revision of the request.
    pub(crate) revision: Revision,
    /// What the client says of itself, as [`Untrusted::of`] reads it from a request: the revision, and the rest as the case
    /// sets it.
    pub(crate) untrusted: Untrusted,
}

impl Client {
    /// Reads `client` and `untrusted`; `None` if one of them is wrong.
    pub(super) fn read(table: &Table<'_>, report: &mut Report<'_>) -> Option<Self> {
        let ip = if table.has("client") { address(table, report).map(Some) } else { Some(None) };
        let said =
            if table.has("untrusted") { untrusted(table, report) } else { Some((REVISION, Untrusted::default())) };
        let (revision, untrusted) = said?;
        let untrusted = Untrusted { protocol_version: Some(revision.as_str().into()), ..untrusted };
        Some(Self { ip: ip?, revision, untrusted })
    }
}

fn address(table: &Table<'_>, report: &mut Report<'_>) -> Option<IpAddr> {
    let client = inner(table, "client", "client = { ip = \"10.2.3.4\" }", report)?;
    if let Some(span) = client.key_span("id") {
        let problem = Problem::error(client.source, span, "`client.id` is what the token says", "");
        report.error(problem.help("write it among the claims: `claims = { sub = \"ana\", client_id = \"app\" }`"));
        return None;
    }
    client.check(&CLIENT, report);
    let Some(ip) = client.text("ip", report) else {
        if !client.has("ip") {
            report.error(client.problem("`client` says nothing", "").help("write `client = { ip = \"10.2.3.4\" }`"));
        }
        return None;
    };
    if let Ok(address) = ip.get_ref().parse() {
        return Some(address);
    }
    let problem = Problem::error(client.source, ip.span(), "`ip` is not an IP address", "");
    report.error(problem.help("one address, without port or prefix length: `\"10.2.3.4\"` or `\"2001:db8::7\"`"));
    None
}

fn untrusted(table: &Table<'_>, report: &mut Report<'_>) -> Option<(Revision, Untrusted)> {
    let said = inner(table, "untrusted", "untrusted = { name = \"inspector\", version = \"1.0\" }", report)?;
    said.check(&UNTRUSTED, report);
    let revision =
        if said.has("protocol_version") { said.word("protocol_version", &REVISIONS, report) } else { Some(REVISION) };
    let headers = if said.has("headers") { headers(&said, report) } else { Some(Vec::new()) };
    if said.has("name") != said.has("version") {
        let problem = said.problem("`name` and `version` of a client come together", "one is missing");
        report.error(problem.help("`clientInfo` has both, or the client says neither: write both or none"));
    }
    let (name, version) = (text(&said, "name", report), text(&said, "version", report));
    Some((revision?, Untrusted { name, version, protocol_version: None, headers: headers? }))
}

fn text(table: &Table<'_>, key: &'static str, report: &mut Report<'_>) -> Option<Box<str>> {
    table.text(key, report).map(|text| text.into_inner().into())
}

/// The headers that rules can read, with values they can read.
fn headers(said: &Table<'_>, report: &mut Report<'_>) -> Option<Vec<(Box<str>, Box<str>)>> {
    let table = inner(said, "headers", "headers = { user-agent = \"curl/8\" }", report)?;
    let mut all = Vec::new();
    let mut sound = true;
    for (name, _) in table.entries() {
        let Some(known) = Untrusted::HEADERS.into_iter().find(|known| *known == name.get_ref().as_str()) else {
            report.error(unseen(&table, &name));
            sound = false;
            continue;
        };
        match table.text(known, report) {
            Some(value) if HeaderValue::from_str(value.get_ref()).is_ok_and(|value| value.to_str().is_ok()) => {
                all.push((known.into(), value.into_inner().into()));
            }
            Some(value) => {
                let message = format!("`{known}` holds what rules never see in a header");
                let problem = Problem::error(table.source, value.span(), message, "");
                report.error(problem.help("headers with other than printable ASCII characters count as not sent"));
                sound = false;
            }
            None => sound = false,
        }
    }
    sound.then_some(all)
}

fn unseen(table: &Table<'_>, name: &Text) -> Problem {
    let message = format!("rules do not see the header `{}`", name.get_ref());
    let problem = Problem::error(table.source, name.span(), message, "");
    match closest(name.get_ref(), Untrusted::HEADERS) {
        Some(near) => problem.suggest(name.span(), near, format!("did you mean `{near}`?")),
        None => problem.help(format!("they see {}", list(Untrusted::HEADERS.into_iter()))),
    }
}

fn inner<'a>(table: &Table<'a>, key: &'static str, example: &str, report: &mut Report<'_>) -> Option<Table<'a>> {
    let value = table.value(key)?;
    let inner = table.inner(value);
    if inner.is_none() {
        let problem = Problem::error(table.source, value.span(), format!("`{key}` must be a table"), "");
        report.error(problem.help(format!("write `{example}`")));
    }
    inner
}
