use serde_json::{Value, json};

/// A request of a client, not yet bytes.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Ask {
    /// A request without body, to the sample server.
    pub(crate) fn new(method: &'static str) -> Self {
        let headers = vec![("Host".to_owned(), "gw.test".to_owned())];
        Self { method, target: "/crm/mcp".to_owned(), headers, body: Vec::new() }
    }

    /// A message of that text, posted.
    pub(crate) fn post(body: impl Into<Vec<u8>>) -> Self {
        let ask = Self { body: body.into(), ..Self::new("POST") };
        ask.header("Content-Type", "application/json").header("Accept", "application/json, text/event-stream")
    }

    /// A request of 2025-11-25.
    pub(crate) fn legacy(method: &str, params: &Value) -> Self {
        let message = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        Self::post(message.to_string()).header("MCP-Protocol-Version", "2025-11-25")
    }

    /// A request of 2026-07-28, with the headers that repeat its body.
    pub(crate) fn modern(method: &str, params: &Value) -> Self {
        let mut params = params.clone();
        let can = if method.starts_with("tasks/") {
            json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } })
        } else {
            json!({})
        };
        let stated = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": can,
        });
        match params.get_mut("_meta").and_then(Value::as_object_mut) {
            Some(meta) => meta.extend(stated.as_object().unwrap().clone()),
            None => params["_meta"] = stated,
        }
        let message = json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params });
        let ask = Self::post(message.to_string()).header("MCP-Protocol-Version", "2026-07-28");
        let ask = ask.header("Mcp-Method", method);
        let mirrored = match method {
            "resources/read" => &params["uri"],
            method if method.starts_with("tasks/") => &params["taskId"],
            _ => &params["name"],
        };
        match mirrored.as_str() {
            Some(name) => ask.header("Mcp-Name", name),
            None => ask,
        }
    }

    /// A call of a tool, in the era of that revision.
    pub(crate) fn call(revision: &str, tool: &str, arguments: &Value) -> Self {
        let params = json!({ "name": tool, "arguments": arguments });
        Self::of(revision, "tools/call", &params)
    }

    /// A request in the era of that revision.
    pub(crate) fn of(revision: &str, method: &str, params: &Value) -> Self {
        if revision == "2026-07-28" { Self::modern(method, params) } else { Self::legacy(method, params) }
    }

    /// With another field; one of that name stays.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a field in place of the one of that name.
    pub(crate) fn with(self, name: &str, value: &str) -> Self {
        self.without(name).header(name, value)
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
        self
    }

    pub(crate) fn token(self, token: &str) -> Self {
        self.header("Authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn session(self, id: &str) -> Self {
        self.header("Mcp-Session-Id", id)
    }

    pub(crate) fn target(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            text.extend([name, ": ", value, "\r\n"]);
        }
        if !self.body.is_empty() {
            text.extend(["Content-Length: ", &self.body.len().to_string(), "\r\n"]);
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}
