//! `portcullis audit`.

use super::Folder;

/// A file as a proxy writes it: a start, a call of Ana's with both lines, a step-up, a denial, a mask that blocked, and what
/// is no record.
const FILE: &str = r#"{"v":1,"time":"2026-11-22T12:00:00.000Z","event":"start","id":"a","request_id":"a","instance":"i","seq":1}
{"v":1,"time":"2026-11-22T12:04:10.000Z","event":"call","id":"b","request_id":"b","decision":"allow","shadow":false,"server":"crm","method":"tools/call","tool":"get_contact","subject":{"iss":"https://i","sub":"ana","scopes":[]},"policy":{"version":"sha256:0","rule":"crm-read","reason":null,"missing_scopes":[]},"instance":"i","seq":2}
{"v":1,"time":"2026-11-22T12:04:11.000Z","event":"end","id":"c","request_id":"b","decision":"allow","shadow":false,"server":"crm","method":"tools/call","tool":"get_contact","subject":{"iss":"https://i","sub":"ana","scopes":[]},"policy":{"version":"sha256:0","rule":"crm-read","reason":null,"missing_scopes":[]},"masked":[{"mask":"pii","entity":"EMAIL_ADDRESS","action":"redact","direction":"result","count":2}],"http":200,"duration_ms":2.400,"upstream_ms":1.600,"instance":"i","seq":3}
{"v":1,"time":"2026-11-22T12:04:12.000Z","event":"call","id":"d","request_id":"d","decision":"step_up","shadow":false,"server":"crm","method":"tools/call","tool":"update_contact","subject":{"iss":"https://i","sub":"ana","scopes":[]},"policy":{"version":"sha256:0","rule":"crm-update","reason":null,"missing_scopes":["crm:write"]},"http":403,"error":"insufficient_scope","duration_ms":0.300,"instance":"i","seq":4}
{"v":1,"time":"2026-11-22T12:04:13.000Z","event":"call","id":"e","request_id":"e","decision":"deny","shadow":false,"server":"wiki","method":"tools/call","tool":"delete_page\u001b[2J","subject":{"iss":"https://i","sub":"max","scopes":[]},"policy":{"version":"sha256:1","rule":"no-delete","reason":null,"missing_scopes":[]},"http":200,"error":"policy_denied","duration_ms":0.200,"instance":"i","seq":5}
{"v":1,"time":"2026-11-22T12:04:14.000Z","event":"end","id":"f","request_id":"f","decision":"allow","shadow":false,"server":"crm","method":"tools/call","tool":"get_notes","subject":{"iss":"https://i","sub":"max","scopes":[]},"policy":{"version":"sha256:0","rule":"crm-read","reason":null,"missing_scopes":[]},"http":200,"error":"blocked","duration_ms":9.000,"instance":"i","seq":6}
no record
"#;

#[test]
fn tail_shows_the_last_decisions_and_what_happened_besides() {
    let folder = Folder::new("tail");
    folder.file("audit.jsonl", FILE);
    let start = "2026-11-22 12:00:00 start    \n";
    let allowed =
        "2026-11-22 12:04:11 allow    ana  get_contact        masked EMAIL_ADDRESS×2   rule=crm-read  2.4ms\n";
    let step_up = "2026-11-22 12:04:12 step_up  ana  update_contact     crm:write   insufficient_scope   rule=crm-update  0.3ms\n";
    let denied = "2026-11-22 12:04:13 deny     max  delete_page\\u{1b}[2J policy_denied   rule=no-delete  0.2ms\n";
    let blocked = "2026-11-22 12:04:14 allow    max  get_notes          blocked   rule=crm-read  9.0ms\n";
    let foreign = "warning: 1 line is no record of Portcullis\n";
    for (arguments, out) in [
        ("", [start, allowed, step_up, denied, blocked].concat()),
        (" -n 2", [denied, blocked].concat()),
        (" --deny", [step_up, denied, blocked].concat()),
        (" --deny --server crm", [step_up, blocked].concat()),
        (" --server hr", String::new()),
        (" -n 1 --deny --server crm --format json", format!("{}\n", FILE.lines().nth(5).unwrap())),
    ] {
        let expected = format!("exit 1\n--- out\n{out}--- err\n{foreign}");
        assert_eq!(folder.run(&format!("audit tail @/audit.jsonl{arguments}")), expected, "{arguments}");
        assert_eq!(folder.run_with(&format!("audit tail -{arguments}"), FILE), expected, "{arguments}");
    }
    let all = [start, allowed, step_up, denied, blocked].concat();
    let followed = folder.run_with("audit tail -n 1 --follow -", FILE);
    assert_eq!(followed, format!("exit 1\n--- out\n{all}--- err\n{foreign}"), "standard input is followed to its end");
    let painted = folder.run("audit tail -n 1 --color always @/audit.jsonl");
    assert!(painted.contains("12:04:14 \x1b[32mallow   \x1b[0m max"), "{painted}");
}

#[test]
fn tail_reads_the_file_of_the_configuration() {
    let folder = Folder::new("tail-config");
    let sink = format!("{}[audit]\nsinks = [{{ type = \"file\", path = \"audit.jsonl\" }}]\n", super::GOOD);
    let said = folder.run("audit tail --config @/proxy.toml");
    assert!(
        said.starts_with("exit 2\n--- out\n--- err\nerror: with @/proxy.toml the audit goes to standard output"),
        "{said}"
    );
    folder.file("proxy.toml", &sink);
    let said = folder.run("audit tail --config @/proxy.toml");
    assert_eq!(
        said,
        "exit 2\n--- out\n--- err\nerror: cannot read @/audit.jsonl: No such file or directory (os error 2)\n"
    );
    folder.file("audit.jsonl", FILE.strip_suffix("no record\n").unwrap());
    let said = folder.run("audit tail --config @/proxy.toml -n 1 --deny --server wiki");
    assert!(said.starts_with("exit 0\n--- out\n2026-11-22 12:04:13 deny     max"), "{said}");
    folder.file("proxy.toml", "");
    assert!(folder.run("audit tail --config @/proxy.toml").starts_with("exit 78\n"));
}

#[test]
fn export_names_what_it_cannot_export_and_goes_on() {
    let folder = Folder::new("export");
    let text = FILE.replacen("{\"v\":1", "{\"v\":2", 1) + &"x".repeat(70_000) + "\n\n";
    folder.file("audit.jsonl", &text);
    folder.file("more.jsonl", FILE.lines().next().unwrap());
    let bad = "warning: @/audit.jsonl:1: not a record of version 1 of Portcullis\nwarning: @/audit.jsonl:7: not JSON\n\
        warning: @/audit.jsonl:8: longer than 64 KiB\nerror: 3 lines are no records of Portcullis, 6 are\n";
    for format in ["ocsf", "ecs", "cef"] {
        let said = folder.run(&format!("audit export @/audit.jsonl @/more.jsonl --format {format}"));
        let (head, err) = said.split_once("--- err\n").unwrap();
        assert_eq!(err, bad);
        let events: Vec<&str> = head.strip_prefix("exit 1\n--- out\n").unwrap().lines().collect();
        assert_eq!(events.len(), 6, "{said}");
        assert!(events[3].contains("delete_page"), "{said}");
    }
    let said = folder.run_with("audit export - --format cef --ocsf-version 1.8", FILE.lines().next().unwrap());
    let event = "CEF:0|Portcullis|Portcullis|1|start|start|1|rt=1795348800000 cat=start outcome=success externalId=a \
        deviceExternalId=i cs6Label=request id cs6=a portcullisSeq=1 portcullisTime=2026-11-22T12:00:00.000Z\n";
    assert_eq!(said, format!("exit 0\n--- out\n{event}--- err\n"));
    let missing = folder.run("audit export @/missing --format cef");
    assert!(missing.starts_with("exit 2\n--- out\n--- err\nerror: cannot read @/missing: No such file"), "{missing}");
}

#[test]
fn report_writes_a_page_and_figures_of_a_period() {
    let folder = Folder::new("report");
    folder.file("audit.jsonl", FILE);
    let bad = "warning: @/audit.jsonl:7: not JSON\nerror: 1 line is no record of Portcullis, 6 are\n";
    let said = folder.run("audit report @/audit.jsonl --html @/report.html");
    assert_eq!(said, format!("exit 1\n--- out\n--- err\n{bad}"));
    let page = std::fs::read_to_string(folder.0.join("report.html")).unwrap();
    assert!(page.starts_with("<!doctype html>") && page.ends_with("</html>\n"), "{page}");
    let mode = std::fs::metadata(folder.0.join("report.html")).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
    assert!(
        page.contains("It was not verified that the files are unchanged") && !page.contains("line of a chain"),
        "{page}"
    );
    let printed = folder.run_with("audit report - --html -", FILE);
    assert!(printed.starts_with("exit 1\n--- out\n<!doctype html>"), "{printed}");
    let said = folder.run("audit report @/audit.jsonl --format json --from 2026-11-22T12:04:12Z --to 2026-11-23");
    let (out, err) = said.strip_prefix("exit 1\n--- out\n").unwrap().split_once("--- err\n").unwrap();
    assert_eq!(err, bad);
    let told: serde_json::Value = serde_json::from_str(out).unwrap();
    assert_eq!((&told["schema_version"], &told["verified"]), (&1.into(), &false.into()));
    assert_eq!((&told["calls"]["all"], &told["period"]["records_outside"]), (&2.into(), &3.into()));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, FILE.as_bytes());
    assert_eq!(told["files"][0]["sha256"], data_encoding::HEXLOWER.encode(digest.as_ref()));
    for (arguments, expected) in [
        ("@/audit.jsonl --format json --from 2027-01-01", format!("{bad}error: there is no record of this period\n")),
        (
            "@/missing --format json",
            "error: cannot read @/missing: No such file or directory (os error 2)\n".to_owned(),
        ),
    ] {
        let said = folder.run(&format!("audit report {arguments}"));
        assert_eq!(said, format!("exit 2\n--- out\n--- err\n{expected}"));
    }
    let said = folder.run("audit report @/audit.jsonl --html @/nowhere/report.html");
    assert!(
        said.starts_with("exit 69\n") && said.contains("error: cannot write @/nowhere/report.html: No such file"),
        "{said}"
    );
}
