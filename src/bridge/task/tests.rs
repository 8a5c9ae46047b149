use serde_json::{Value as Json, json};

use super::*;

fn document(value: &Json) -> Document {
    Document::parse(value.to_string().into(), &Limits::ANSWER).unwrap()
}

fn read(bytes: &Bytes) -> Json {
    Document::parse(bytes.clone(), &Limits::ANSWER).unwrap();
    serde_json::from_slice(bytes).unwrap()
}

/// A task of 2025-11-25 and the same in the extension, with `status` copied.
fn task(status: &str) -> (Json, Json) {
    let times = ("2025-11-25T10:30:00Z", "2025-11-25T10:40:00Z");
    let old = json!({ "taskId": "t", "status": status, "createdAt": times.0, "lastUpdatedAt": times.1, "ttl": 60_000,
        "pollInterval": 5_000, "statusMessage": "m" });
    let new = json!({ "taskId": "t", "status": status, "createdAt": times.0, "lastUpdatedAt": times.1, "ttlMs": 60_000,
        "pollIntervalMs": 5_000, "statusMessage": "m" });
    (old, new)
}

fn with(mut object: Json, members: &Json) -> Json {
    object.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    object
}

#[test]
fn a_call_that_goes_on_is_a_task_of_its_own() {
    let (old, new) = task("working");
    let related = json!({ "io.modelcontextprotocol/related-task": { "taskId": "t" } });
    let cases = [
        (old.clone(), json!({}), new.clone()),
        (old.clone(), json!({ "_meta": related }), new.clone()),
        (
            old.clone(),
            json!({ "_meta": with(related, &json!({ "a/b": 1 })) }),
            with(new.clone(), &json!({ "_meta": { "a/b": 1 } })),
        ),
        // Invalid times, and members whose names only the extension defines.
        (
            json!({ "taskId": "t", "status": "working", "createdAt": "c", "ttl": null }),
            json!({}),
            json!({ "taskId": "t", "status": "working", "createdAt": "c", "lastUpdatedAt": "c", "ttlMs": null }),
        ),
        (
            json!({ "taskId": "t", "status": "working", "ttl": 1.5, "pollInterval": "5", "ttlMs": 9, "result": {},
                "inputRequests": {}, "requestState": "s", "resultType": "complete", "pollIntervalMs": 1 }),
            json!({}),
            json!({ "taskId": "t", "status": "working", "ttlMs": null }),
        ),
        (
            json!({ "taskId": "t", "status": "working", "ttl": -1, "pollInterval": -1 }),
            json!({}),
            json!({ "taskId": "t", "status": "working", "ttlMs": null }),
        ),
    ];
    for (old, beside, new) in cases {
        let answer = document(&json!({ "jsonrpc": "2.0", "id": 1, "result": with(json!({ "task": old }), &beside) }));
        let (task, id) = begun(&answer).unwrap();
        assert_eq!(&*id, "t");
        let wanted = json!({ "jsonrpc": "2.0", "id": "a", "result": with(new, &json!({ "resultType": "task" })) });
        assert_eq!(read(&created(&answer, task, b"\"a\"")), wanted, "{old}");
    }
    for none in [json!({}), json!({ "task": {} }), json!({ "task": { "taskId": 1 } }), json!({ "taskId": "t" })] {
        assert!(begun(&document(&json!({ "id": 1, "result": none }))).is_none(), "{none}");
    }
}

#[test]
fn what_came_of_a_task_is_told_with_how_it_stands() {
    let related = json!({ "io.modelcontextprotocol/related-task": { "taskId": "t" } });
    let text = json!([{ "type": "text", "text": "x" }]);
    let cases = [
        ("working", json!({ "result": { "content": [] } }), "working", json!({})),
        ("cancelled", json!({ "error": { "code": 1 } }), "cancelled", json!({})),
        (
            "completed",
            json!({ "result": { "content": text, "_meta": related } }),
            "completed",
            json!({ "result": { "resultType": "complete", "content": text } }),
        ),
        (
            "failed",
            json!({ "result": { "content": text, "isError": true } }),
            "completed",
            json!({ "result": { "resultType": "complete", "content": text, "isError": true } }),
        ),
        (
            "failed",
            json!({ "error": { "code": -32_603, "message": "m" } }),
            "failed",
            json!({ "error": { "code": -32_603, "message": "m" } }),
        ),
        (
            "completed",
            json!({ "error": { "code": -32_602, "message": "gone" } }),
            "failed",
            json!({ "error": { "code": -32_602, "message": "gone" } }),
        ),
    ];
    for (status, outcome, word, more) in cases {
        let (old, _) = task(status);
        let (_, new) = task(word);
        let (old, outcome) = (document(&old), document(&outcome));
        let wanted = with(with(new, &more), &json!({ "resultType": "complete" }));
        let told = got(old.root(), Details::Outcome(&outcome), b"7").unwrap();
        assert_eq!(read(&told), json!({ "jsonrpc": "2.0", "id": 7, "result": wanted }), "{status}");
        let mut params = wanted;
        params.as_object_mut().unwrap().remove("resultType");
        params["_meta"] = json!({ "io.modelcontextprotocol/subscriptionId": "s" });
        let wanted = json!({ "jsonrpc": "2.0", "method": "notifications/tasks", "params": params });
        assert_eq!(read(&news(old.root(), Details::Outcome(&outcome), b"\"s\"").unwrap()), wanted, "{status}");
    }
    assert!(got(document(&task("paused").0).root(), Details::Asks(&[]), b"7").is_none());
    assert!(got(document(&json!({ "taskId": "t" })).root(), Details::Asks(&[]), b"7").is_none());
}

#[test]
fn what_a_task_asks_is_told_by_its_key() {
    let (old, new) = task("input_required");
    let old = document(&old);
    let meta = json!({ "io.modelcontextprotocol/related-task": { "taskId": "t" } });
    let asked = json!({ "jsonrpc": "2.0", "id": 3, "method": "elicitation/create", "params": { "message": "?", "_meta": meta } });
    let questions =
        [("k".into(), document(&asked)), ("l".into(), document(&json!({ "id": 4, "method": "roots/list" })))];
    let requests = json!({ "k": { "method": "elicitation/create", "params": { "message": "?" } },
        "l": { "method": "roots/list", "params": {} } });
    let wanted = with(new, &json!({ "resultType": "complete", "inputRequests": requests }));
    let told = got(old.root(), Details::Asks(&questions), b"7").unwrap();
    assert_eq!(read(&told), json!({ "jsonrpc": "2.0", "id": 7, "result": wanted }));
    // Without known requests the task is still working.
    let (_, working) = task("working");
    let told = read(&got(old.root(), Details::Asks(&[]), b"7").unwrap());
    assert_eq!(told["result"], with(working, &json!({ "resultType": "complete" })));
}

#[test]
fn tools_run_as_tasks_where_the_server_says_so_in_the_revision_that_has_them() {
    let tasks = json!({ "tasks": { "requests": { "tools": { "call": {} } } } });
    let cases = [
        ("2025-11-25", tasks.clone(), true),
        ("2025-06-18", tasks, false),
        ("2025-11-25", json!({ "tasks": { "list": {} } }), false),
        ("2025-11-25", json!({}), false),
    ];
    for (version, capabilities, runs) in cases {
        let opened = json!({ "result": { "protocolVersion": version, "capabilities": capabilities } });
        assert_eq!(runs_tools(&document(&opened)), runs, "{opened}");
    }
}
