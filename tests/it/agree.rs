//! `explain`, `test` and the running proxy decide the same: policies and requests are made up, and asked of all three.

use std::fmt::Write as _;

use portcullis::cli::{Cli, Streams};
use portcullis::config::Problems;
use portcullis::json::{Document, Limits};
use portcullis::policy::lock::{Lock, canonical};
use serde_json::{Map, Value, json};

use crate::support::{Answer, Ask, Folder, Heard, Proxy, Setup, Upstream, json_answer, token_of};

/// Policies that are made up; `PORTCULLIS_AGREE=200` asks for more of them, from a seed of its own.
const POLICIES: u64 = 4;
const REQUESTS: usize = 25;
const ANSWER: &str = "mail ana@example.com card 4111 1111 1111 1111";

/// Numbers that only depend on the seed (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((word ^ (word >> 31)) % sides as u64).unwrap()
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }

    /// Once in `sides`.
    fn once_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    fn some(&mut self, of: &[&'static str]) -> Vec<&'static str> {
        let mut some: Vec<_> = of.iter().copied().filter(|_| self.once_in(2)).collect();
        if some.is_empty() {
            some.push(*self.pick(of));
        }
        some
    }
}

const SCOPES: [&str; 4] = ["crm:read", "crm:write", "crm:admin", "role:admin"];
const TOOLS: [&str; 12] = [
    "*",
    "get_*",
    "pay",
    "{pay,delete_contact}",
    "p?y",
    "delete_*",
    "Pay",
    "get_contact",
    "**",
    "?et_contact",
    "search/all",
    "unknown",
];
const WORDS: [(&str, &str); 20] = [
    ("amount", "{ maximum = 100 }"),
    ("amount", "{ minimum = 1, maximum = 50 }"),
    ("amount", "{ enum = [1, 2, 5] }"),
    ("amount", "{ equals = 5 }"),
    ("amount", "{ forbidden = true }"),
    ("owner", "{ equals = \"${claims.email}\" }"),
    ("owner", "{ equals = \"${claims.sub}\" }"),
    ("owner", "{ enum = [\"ana\", \"max\"] }"),
    ("owner", "{ pattern = '^(ana|max)$' }"),
    ("owner", "{ required = true }"),
    ("note", "{ max_length = 5 }"),
    ("note", "{ min_length = 2 }"),
    ("note", "{ forbidden = true }"),
    ("force", "{ equals = true, required = true }"),
    ("force", "{ equals = false }"),
    ("filter.region", "{ pattern = '^emea$' }"),
    ("filter.region", "{ required = true }"),
    ("\"/filter/region\"", "{ enum = [\"emea\", \"apac\"] }"),
    ("id", "{ pattern = '^c-[0-9]+$' }"),
    ("nowhere", "{ maximum = 3 }"),
];
const WHEN: [&str; 23] = [
    "client.id.startsWith('a-')",
    "claims.sub == 'ana'",
    "has(claims.groups) && 'admins' in claims.groups",
    "claims.groups.exists(g, g == 'admins')",
    "claims.email.endsWith('@example.com')",
    "claims.level > 3",
    "args.amount > 10",
    "has(args.amount) && args.amount < 100",
    "args.tags.all(t, t != 'x')",
    "size(args.note) < 4",
    "args.owner == claims.sub",
    "tool.annotations.readOnlyHint",
    "tool.annotations.destructiveHint",
    "tool.name.startsWith('get')",
    "server == 'crm'",
    "request.method == 'tools/call'",
    "client.ip == '127.0.0.1'",
    "client.id.startsWith('it-')",
    "now.unix > 1000",
    "args.filter.region == 'emea'",
    "has(args.filter) && has(args.filter.region)",
    "type(args.amount) == int",
    "claims['https://x/y'] == 'z'",
];
const UNTRUSTED: [&str; 4] = [
    "has(untrusted.name) && untrusted.name == 'bad'",
    "untrusted.headers['user-agent'].contains('curl')",
    "untrusted.protocol_version == '2025-11-25'",
    "untrusted.version == '1'",
];

fn rule(dice: &mut Dice, at: usize) -> String {
    let deny = dice.once_in(4);
    let mut text = format!("[[rule]]\nid = \"r{at}\"\n");
    if deny {
        text += "effect = \"deny\"\n";
    }
    match dice.roll(12) {
        0 => text += "prompts = [\"*\"]\n",
        1 => text += "resources = [\"crm://**\"]\n",
        2 => text += "methods = [\"tools/call\"]\ntools = [\"get_*\", \"pay\"]\n",
        3 => text += "methods = [\"completion/complete\", \"logging/setLevel\"]\n",
        _ => writeln!(text, "tools = {:?}", [*dice.pick(&TOOLS), *dice.pick(&TOOLS)]).unwrap(),
    }
    let anonymous = !deny && dice.once_in(6);
    if anonymous {
        text += "anonymous = true\n";
    } else if !deny || dice.once_in(4) {
        if dice.once_in(2) {
            writeln!(text, "scopes = {:?}", dice.some(&SCOPES)).unwrap();
        }
        if dice.once_in(4) {
            writeln!(text, "scopes_any = {:?}", dice.some(&SCOPES)).unwrap();
        }
        if dice.once_in(6) {
            text += "step_up = false\n";
        }
    }
    if dice.once_in(5) {
        writeln!(text, "on_deny = \"{}\"", dice.pick(&["tool_error", "error", "http_403"])).unwrap();
    }
    if dice.once_in(5) {
        text += "reason = \"Not so\"\n";
    }
    if dice.once_in(7) {
        text += "mode = \"shadow\"\n";
    }
    if dice.once_in(3) {
        let when = if deny && dice.once_in(2) { *dice.pick(&UNTRUSTED) } else { *dice.pick(&WHEN) };
        writeln!(text, "when = \"{when}\"").unwrap();
    }
    if dice.once_in(3) {
        text += "[rule.args]\n";
        let mut seen = Vec::new();
        for _ in 0..=dice.roll(2) {
            let (key, word) = dice.pick(&WORDS);
            let first = key.trim_matches(['"', '/']).split(['.', '/']).next().unwrap();
            if !seen.contains(&first) {
                seen.push(first);
                writeln!(text, "{key} = {word}").unwrap();
            }
        }
        if dice.once_in(3) {
            text += "additional = true\n";
        }
    }
    text
}

fn policy(dice: &mut Dice) -> String {
    let mut text = "[policy]\n".to_owned();
    writeln!(text, "list = \"{}\"", dice.pick(&["acquirable", "allowed", "all"])).unwrap();
    writeln!(text, "on_deny = \"{}\"", dice.pick(&["tool_error", "tool_error", "error", "http_403"])).unwrap();
    if dice.once_in(3) {
        text += "[scopes]\n\"crm:write\" = [\"crm:read\"]\n\"crm:admin\" = [\"crm:write\"]\n";
    }
    for at in 0..=dice.roll(5) {
        text += &rule(dice, at);
    }
    if dice.once_in(2) {
        let action = dice.pick(&["redact", "block", "report", "mask"]);
        let keep = if *action == "mask" { "keep_last = 4\n" } else { "" };
        let some = dice.some(&["arguments", "result"]);
        writeln!(text, "[[mask]]\nid = \"m\"\non = {some:?}\nentities = [\"EMAIL_ADDRESS\", \"CREDIT_CARD\"]").unwrap();
        writeln!(text, "action = \"{action}\"\n{keep}").unwrap();
    }
    text
}

/// Whether a made up policy is one.
fn loads(policy: &str) -> bool {
    let folder = Folder::new();
    let mut problems = Problems::new();
    portcullis::policy::load(&[folder.write("crm.toml", policy)], &mut problems);
    if problems.has_errors() && std::env::var_os("PORTCULLIS_AGREE").is_some() {
        println!("{}", problems.render(false).lines().next().unwrap_or_default());
    }
    !problems.has_errors()
}

/// What the upstream offers, and what was approved of it.
fn tools() -> Vec<Value> {
    let pay = json!({ "type": "object", "properties": {
        "amount": { "type": "number" }, "owner": { "type": "string" }, "note": { "type": "string", "default": "hello" },
        "force": { "type": "boolean" }, "tags": { "type": "array" },
        "filter": { "type": "object", "properties": { "region": { "type": "string" } } } } });
    let id = json!({ "type": "object", "properties": { "id": { "type": "string" } }, "required": ["id"] });
    let any = json!({ "type": "object" });
    vec![
        json!({ "name": "pay", "inputSchema": pay }),
        json!({ "name": "get_contact", "inputSchema": id, "annotations": { "readOnlyHint": true } }),
        json!({ "name": "delete_contact", "inputSchema": any, "annotations": { "destructiveHint": true } }),
        json!({ "name": "search/all", "inputSchema": any }),
    ]
}

fn lock() -> String {
    let mut lock = Lock::default();
    for tool in tools() {
        let document = Document::parse(tool.to_string().into(), &Limits::ANSWER).unwrap();
        lock.approve(tool["name"].as_str().unwrap(), canonical(document.root()));
    }
    lock.write("crm")
}

fn answered(heard: &Heard) -> Value {
    match heard.json()["method"].as_str().unwrap_or_default() {
        "tools/list" => json!({ "tools": tools(), "ttlMs": 60_000 }),
        "prompts/list" => json!({ "prompts": [{ "name": "draft" }, { "name": "other" }] }),
        "resources/list" => {
            json!({ "resources": [{ "uri": "crm://a/b", "name": "b" }, { "uri": "crm://c", "name": "c" }] })
        }
        "prompts/get" => json!({ "messages": [] }),
        "resources/read" => json!({ "contents": [] }),
        _ => json!({ "content": [{ "type": "text", "text": ANSWER }] }),
    }
}

/// One request, as each of the three is told of it.
#[derive(Clone, Debug)]
struct Asked {
    /// Nobody, or claims besides those every token has.
    claims: Option<Map<String, Value>>,
    /// The option of `explain`, which is the key of `call` too, and its value.
    about: (&'static str, &'static str),
    args: Option<Value>,
    revision: &'static str,
    agent: Option<&'static str>,
    /// Name and version.
    client: Option<&'static str>,
}

fn arguments(dice: &mut Dice) -> Value {
    let mut args = Map::new();
    let choices: [(&str, &[Value]); 8] = [
        ("amount", &[json!(5), json!(1), json!(75), json!(500), json!("5"), json!(5.5), json!(1e300), json!(true)]),
        ("owner", &[json!("ana"), json!("ana@example.com"), json!("bob"), json!(7)]),
        ("note", &[json!(""), json!("hi"), json!("a longer note"), json!("mail max@example.com"), json!(["x"])]),
        ("force", &[json!(true), json!(false), json!("true")]),
        ("filter", &[json!({ "region": "emea" }), json!({}), json!({ "region": 1 }), json!("emea"), json!({ "x": 1 })]),
        ("tags", &[json!([]), json!(["x"]), json!(["a", "b"]), json!("x")]),
        ("id", &[json!("c-1"), json!("x"), json!(1)]),
        ("Amount", &[json!(5)]),
    ];
    for (at, (name, values)) in choices.iter().enumerate() {
        if dice.once_in(if at < 7 { 3 } else { 12 }) {
            args.insert((*name).to_owned(), dice.pick(values).clone());
        }
    }
    Value::Object(args)
}

/// Of a locked server, tools nobody approved are not asked for: whether the upstream lists them only the proxy knows.
fn asked(dice: &mut Dice, at: usize, locked: bool) -> Asked {
    let claims = (!dice.once_in(8)).then(|| {
        let mut claims = Map::new();
        // Another client each time: who was asked for wider scopes twice is not asked again.
        claims.insert("client_id".to_owned(), json!(format!("it-{at}")));
        claims.insert("sub".to_owned(), json!(dice.pick(&["ana", "max"])));
        let scopes: Vec<_> = SCOPES.into_iter().filter(|_| dice.once_in(2)).collect();
        claims.insert("scope".to_owned(), json!(scopes.join(" ")));
        for (name, value) in [
            ("email", json!("ana@example.com")),
            ("groups", json!(["admins"])),
            ("groups", json!([])),
            ("level", json!(4)),
            ("roles", json!(["admin"])),
            ("oid", json!(format!("o-{at}"))),
            ("appid", json!(format!("a-{at}"))),
            ("https://x/y", json!("z")),
        ] {
            // Without these two a token of an issuer that names callers by them is none.
            if dice.once_in(3) || matches!(name, "oid" | "appid") {
                claims.insert(name.to_owned(), value);
            }
        }
        claims
    });
    let about = match dice.roll(12) {
        0 => ("list", *dice.pick(&["tools", "prompts", "resources"])),
        1 => ("prompt", *dice.pick(&["draft", "nothing"])),
        2 => ("resource", *dice.pick(&["crm://a/b", "crm://c", "file:///x"])),
        3 => ("method", *dice.pick(&["ping", "logging/setLevel"])),
        4 if !locked => ("tool", *dice.pick(&["Pay", "unknown"])),
        _ => ("tool", *dice.pick(&["pay", "pay", "pay", "get_contact", "delete_contact", "search/all"])),
    };
    let args = (about.0 == "tool" && !dice.once_in(10)).then(|| arguments(dice));
    let revision = match about {
        ("method", _) => "2025-11-25",
        _ => *dice.pick(&["2025-11-25", "2026-07-28"]),
    };
    let agent = dice.once_in(2).then(|| *dice.pick(&["curl/8", "node"]));
    let client = (revision == "2026-07-28" && dice.once_in(2)).then(|| *dice.pick(&["bad", "good"]));
    Asked { claims, about, args, revision, agent, client }
}

impl Asked {
    /// The request on the wire.
    fn wire(&self, token: Option<&str>) -> Ask {
        let (kind, name) = self.about;
        let (method, mut params) = match kind {
            "list" => (format!("{name}/list"), json!({})),
            "prompt" => ("prompts/get".to_owned(), json!({ "name": name })),
            "resource" => ("resources/read".to_owned(), json!({ "uri": name })),
            "method" if name == "logging/setLevel" => (name.to_owned(), json!({ "level": "info" })),
            "method" => (name.to_owned(), json!({})),
            _ => ("tools/call".to_owned(), json!({ "name": name })),
        };
        if let Some(args) = &self.args {
            params["arguments"] = args.clone();
        }
        if let Some(client) = self.client {
            params["_meta"] = json!({ "io.modelcontextprotocol/clientInfo": { "name": client, "version": "1" } });
        }
        let mut ask = Ask::of(self.revision, &method, &params);
        if let Some(agent) = self.agent {
            ask = ask.header("User-Agent", agent);
        }
        match token {
            Some(token) => ask.token(token),
            None => ask,
        }
    }

    fn explain(&self, config: &str, locked: bool) -> Vec<String> {
        let mut words: Vec<String> = [
            "portcullis",
            "explain",
            "-c",
            config,
            "--format",
            "json",
            "--ip",
            "127.0.0.1",
            "--protocol",
            self.revision,
        ]
        .map(ToOwned::to_owned)
        .into();
        match &self.claims {
            Some(claims) => words.extend(["--claims".to_owned(), Value::Object(claims.clone()).to_string()]),
            None => words.push("--anonymous".to_owned()),
        }
        let (kind, name) = self.about;
        words.extend([format!("--{kind}"), name.to_owned()]);
        if let Some(args) = &self.args {
            words.extend(["--args".to_owned(), args.to_string()]);
        }
        let defined = tools().into_iter().find(|tool| kind == "tool" && tool["name"] == name && !locked);
        if let Some(tool) = defined {
            words.extend(["--definition".to_owned(), tool.to_string()]);
        }
        let mut untrusted = Map::new();
        if let Some(client) = self.client {
            untrusted.extend([("name".to_owned(), json!(client)), ("version".to_owned(), json!("1"))]);
        }
        if let Some(agent) = self.agent {
            untrusted.insert("headers".to_owned(), json!({ "user-agent": agent }));
        }
        words.extend(["--untrusted".to_owned(), Value::Object(untrusted).to_string()]);
        words
    }

    /// A `[[test]]` that expects what was seen.
    fn case(&self, name: &str, now: &str, expect: &str) -> String {
        let mut text = format!("[[test]]\nname = \"{name}\"\n");
        match &self.claims {
            Some(claims) => writeln!(text, "claims = {}", inline(&Value::Object(claims.clone()))).unwrap(),
            None => text += "anonymous = true\n",
        }
        let (kind, about) = self.about;
        let args = self.args.as_ref().map(|args| format!(", args = {}", inline(args))).unwrap_or_default();
        writeln!(text, "call = {{ {kind} = \"{about}\"{args} }}\nclient = {{ ip = \"127.0.0.1\" }}").unwrap();
        writeln!(text, "now = {now}").unwrap();
        let mut untrusted = vec![format!("protocol_version = \"{}\"", self.revision)];
        untrusted.extend(self.client.map(|client| format!("name = \"{client}\", version = \"1\"")));
        untrusted.extend(self.agent.map(|agent| format!("headers = {{ \"user-agent\" = \"{agent}\" }}")));
        writeln!(text, "untrusted = {{ {} }}\nexpect = {{ {expect} }}", untrusted.join(", ")).unwrap();
        if kind == "list" && about == "tools" {
            writeln!(text, "definitions = {}", inline(&Value::Array(tools()))).unwrap();
        }
        text
    }
}

/// A JSON value as TOML.
fn inline(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| format!("{} = {}", json!(name), inline(value)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Exit code, standard output and standard error of a command.
fn run(words: &[String]) -> (u8, String, String) {
    use clap::Parser as _;
    let cli = Cli::parse_from(words);
    let (mut input, mut out, mut err) = (&b""[..], Vec::new(), Vec::new());
    let mut streams =
        Streams { input: &mut input, out: &mut out, err: &mut err, out_color: false, err_color: false, can_ask: false };
    let exit = tokio::task::block_in_place(|| portcullis::cli::run(&cli, &mut streams)) as u8;
    (exit, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

/// The answer with the request id of `explain`.
fn anonymised(answer: &Answer) -> String {
    let id = answer.header("x-request-id").unwrap_or("-");
    let body = String::from_utf8_lossy(&answer.body).replace(id, "00000000-0000-0000-0000-000000000000");
    let body = body.replace("\"id\":7", "\"id\":1");
    format!("{} {:?} {body}", answer.status, answer.header("www-authenticate"))
}

/// Asks the running proxy: the answer, what the upstream heard, and the line of the audit.
async fn asks(proxy: &Proxy, upstream: &Upstream, asked: &Asked) -> (Answer, Option<Heard>, Value) {
    let token = asked.claims.as_ref().map(|claims| {
        let mut all = token_of(&proxy.issuer, "");
        all.extend(claims.clone());
        proxy.mint(&all)
    });
    upstream.take();
    let answer = proxy.ask(&asked.wire(token.as_deref())).await;
    let uses = ["tools/call", "prompts/get", "resources/read"];
    let heard = upstream.take().into_iter().find(|heard| uses.iter().any(|used| heard.json()["method"] == *used));
    let id = answer.header("x-request-id").unwrap().to_owned();
    let line = proxy.audit().into_iter().find(|line| line["request_id"] == id).unwrap_or_default();
    (answer, heard, line)
}

/// What is decided differently, if anything is.
async fn compare(seed: u64, keys: &str) -> Option<String> {
    let mut dice = Dice(seed);
    let policy = std::iter::repeat_with(|| policy(&mut dice)).find(|policy| loads(policy)).unwrap();
    let upstream = Upstream::answering(|heard| {
        json_answer(200, &json!({ "jsonrpc": "2.0", "id": heard.json()["id"], "result": answered(heard) }).to_string())
    })
    .await;
    upstream.offer(&Value::Array(tools()));
    let locked = seed.is_multiple_of(2);
    let setup = Setup::new(upstream.url()).policy(&policy).file("crm.lock", lock()).issuer_keys(keys);
    let setup = if locked { setup.server("lock = \"crm.lock\"") } else { setup };
    let proxy = setup.start().await;
    let config = proxy.folder.path("proxy.toml").display().to_string();
    let (mut cases, mut different) = (String::new(), Vec::new());
    for at in 0..REQUESTS {
        let asked = asked(&mut dice, at, locked);
        let (answer, heard, line) = asks(&proxy, &upstream, &asked).await;
        let (_, out, err) = run(&asked.explain(&config, locked));
        let told: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{policy}\n{asked:?}\n{err}"));
        let seen = match &heard {
            Some(heard) => format!("upstream {}", heard.json()["params"]["arguments"]),
            None => anonymised(&answer),
        };
        let explained = match told["answer"].as_object() {
            Some(answer) => {
                let challenge = answer["headers"]["www-authenticate"].as_str();
                format!("{} {challenge:?} {}", answer["status"], answer["body"].as_str().unwrap())
            }
            None => format!("upstream {}", told["upstream_arguments"]),
        };
        let local = asked.about.0 == "list" || asked.about.0 == "method";
        if seen != explained && !(local && explained.starts_with("upstream") && answer.status == 200) {
            different.push(format!("explain {asked:?}\n  proxy    {seen}\n  explain  {explained}\n  audit    {line}"));
        }
        let (decision, rule) = (line["decision"].as_str().unwrap_or_default(), line["policy"]["rule"].as_str());
        let mut expect = match decision {
            "allow" | "deny" | "step_up" => format!("decision = \"{decision}\""),
            _ => continue,
        };
        if !locked && asked.about.0 == "tool" {
            continue;
        }
        if let (Some(rule), None) = (rule, line["error"].as_str().filter(|error| *error == "blocked")) {
            write!(expect, ", rule = \"{rule}\"").unwrap();
        }
        if asked.about == ("list", "tools") && decision == "allow" {
            let listed = answer.json()["result"]["tools"].as_array().cloned().unwrap_or_default();
            write!(expect, ", listed = {}", inline(&listed.iter().map(|tool| tool["name"].clone()).collect())).unwrap();
        }
        cases += &asked.case(&at.to_string(), line["time"].as_str().unwrap(), &expect);
    }
    let audit = proxy.folder.path("audit.jsonl").display().to_string();
    let rules = proxy.folder.path("crm.toml").display().to_string();
    let replay = |rules: &str| {
        run(&["portcullis", "replay", "-c", &config, "--format", "json", &audit, "--policies", rules]
            .map(ToOwned::to_owned))
    };
    let (exit, out, err) = replay(&rules);
    if exit != 0 {
        different.push(format!("replay\n{out}{err}"));
    }
    proxy.folder.write("crm.toml", format!("{policy}\n{cases}"));
    let (exit, out, err) = run(&["portcullis", "test", "-c", &config].map(ToOwned::to_owned));
    if exit != 0 {
        different.push(format!("test\n{out}{err}"));
    }
    if different.is_empty() { None } else { Some(format!("seed {seed}\n{policy}\n{}", different.join("\n"))) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explain_test_and_the_proxy_decide_the_same() {
    let more = std::env::var("PORTCULLIS_AGREE").ok().and_then(|more| more.parse().ok());
    let (from, count) = more.map_or((0, POLICIES), |more: u64| (1000, more));
    let mut different = Vec::new();
    for seed in from..from + count {
        for keys in
            ["", "scope_prefixes = { roles = \"role:\" }", "client_claim = [\"appid\"]\nsubject_claim = [\"oid\"]"]
        {
            different.extend(compare(seed, keys).await);
        }
    }
    assert!(different.is_empty(), "{} of {count} policies: {}", different.len(), different.join("\n"));
}
