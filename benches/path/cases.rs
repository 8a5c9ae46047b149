//! What is asked and what is answered.

/// One kind of call.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Name of the tool called; none is `tools/list`.
    tool: Option<&'static str>,
    shape: Shape,
    /// What the answer through Portcullis must hold and must not.
    pub(crate) expect: &'static str,
    pub(crate) reject: &'static str,
}

#[derive(Clone, Copy)]
enum Shape {
    Json(fn() -> String),
    /// So many events, the last of which is the answer.
    Events(usize),
}

pub(crate) const CASES: [Case; 6] = [
    Case {
        name: "call-300b",
        tool: Some("search_contacts"),
        shape: Shape::Json(|| text(TEXT)),
        expect: "Quarterly review",
        reject: "isError\":true",
    },
    Case {
        name: "call-masked",
        tool: Some("get_contact"),
        shape: Shape::Json(|| {
            text("Jane Roe, jane.roe@example.com, paid with 4111 1111 1111 1111, prefers calls in the morning")
        }),
        expect: "[EMAIL_ADDRESS], paid with ************1111",
        reject: "jane.roe@",
    },
    Case {
        name: "list-20-tools",
        tool: None,
        shape: Shape::Json(tools),
        expect: "search_contacts",
        reject: "delete_contact",
    },
    Case {
        name: "sse-1-event",
        tool: Some("list_invoices"),
        shape: Shape::Events(1),
        expect: "Quarterly review",
        reject: "isError\":true",
    },
    Case {
        name: "sse-20-events",
        tool: Some("export_contacts"),
        shape: Shape::Events(20),
        expect: "\"progress\":19",
        reject: "isError\":true",
    },
    Case {
        name: "call-64k",
        tool: Some("get_report"),
        shape: Shape::Json(|| text(&TEXT.repeat(64 * 1024 / TEXT.len()))),
        expect: "Quarterly review",
        reject: "isError\":true",
    },
];

const TEXT: &str = "Quarterly review of the northern region: revenue and pipeline are ahead of the forecast, two open tickets \
                    are with the vendor, the renewal of the contract is pending and will be decided by the team on Monday. ";

impl Case {
    pub(crate) fn named(name: &str) -> &'static Self {
        CASES.iter().find(|case| case.name == name).unwrap()
    }

    /// The body of the request.
    pub(crate) fn request(&self) -> String {
        match self.tool {
            Some(tool) => format!(
                r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{{"query":"open tickets of the northern region, newest first, with the notes of the last call","limit":20}}}}}}"#
            ),
            None => r#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}"#.into(),
        }
    }

    /// The case a request is of.
    pub(crate) fn of(request: &[u8]) -> Option<usize> {
        let marks = |case: &Case| case.tool.map_or("\"tools/list\"".into(), |tool| format!("\"{tool}\""));
        CASES.iter().position(|case| memchr::memmem::find(request, marks(case).as_bytes()).is_some())
    }

    /// The answer, but for the id; `true` for an event stream.
    pub(crate) fn answer(&self) -> (bool, Vec<String>) {
        match self.shape {
            Shape::Json(result) => (false, vec![result()]),
            Shape::Events(count) => {
                let progress = |at| {
                    format!(
                        r#""method":"notifications/progress","params":{{"progressToken":7,"progress":{at},"message":"{}"}}"#,
                        TEXT.get(..150).unwrap_or(TEXT).trim()
                    )
                };
                (true, (1..count).map(progress).chain([text(TEXT)]).collect())
            }
        }
    }
}

fn text(text: &str) -> String {
    format!(r#""result":{{"content":[{{"type":"text","text":"{text}"}}],"isError":false}}"#)
}

/// Twenty tools of some 580 bytes.
fn tools() -> String {
    let verbs = ["search", "get", "create", "update", "delete"];
    let things = ["contacts", "contact", "note", "ticket"];
    let tools: Vec<String> = verbs
        .iter()
        .flat_map(|verb| things.map(|thing| format!("{verb}_{thing}")))
        .map(|name| {
            format!(
                r#"{{"name":"{name}","title":"{name}","description":"Runs {name} on the sample back office. It takes a few typed arguments and answers with one block of text. Use it when the user asks for it.","inputSchema":{{"type":"object","properties":{{"query":{{"type":"string","description":"free text","maxLength":4096}},"limit":{{"type":"integer","minimum":0,"maximum":2000000}},"cursor":{{"type":"string"}},"newest_first":{{"type":"boolean"}}}},"additionalProperties":true}},"annotations":{{"readOnlyHint":true}}}}"#
            )
        })
        .collect();
    format!(r#""result":{{"tools":[{}]}}"#, tools.join(","))
}
