// The rmcp fixture: where its programs are, and a policy under which nothing of it is hidden.
import path from 'node:path';

import { home, start } from './process.mjs';

const built = path.join(home, 'rmcp/debug');
export const client = path.join(built, 'client');

/** Starts the server; gives the URL of its endpoint. */
export async function fixture() {
  const program = await start('fixture', path.join(built, 'server'), [], { ready: /^listening (\S+)/ });
  return { url: program.ready[1], program };
}

/**
 * Every tool, prompt, resource and method of the fixture, by name where the product asks for names, with masks that
 * meet none of the texts the conformance suite compares. `greet` needs a scope more.
 */
export const policy = `
[policy]
name = "fixture"

[[rule]]
id = "fixture"
tools = ["test_*", "json_schema_2020_12_tool", "slow_compute", "failing_job", "protocol_error_job", "confirm_delete", "multi_input"]
resources = ["test://**"]
resource_templates = ["test://**"]
prompts = ["test_*"]
scopes = ["fixture:use"]

[[rule]]
id = "fixture-greet"
tools = ["greet"]
scopes = ["fixture:use", "fixture:greet"]

[[rule]]
id = "fixture-methods"
methods = ["tasks/get", "tasks/update", "tasks/cancel", "sampling/createMessage", "elicitation/create", "roots/list", "notifications/tasks", "notifications/elicitation/complete"]
scopes = ["fixture:use"]

[[mask]]
id = "cards"
on = ["arguments", "result"]
entities = ["CREDIT_CARD", "IBAN_CODE"]
action = "mask"
keep_last = 4

[[mask]]
id = "mail"
on = ["result"]
entities = ["EMAIL_ADDRESS"]
action = "redact"

[[mask]]
id = "secrets"
on = ["arguments", "result"]
entities = ["SECRET"]
action = "redact"
`;

/** What the authorization server grants for the fixture. */
export const scopes = 'fixture:use fixture:greet';
