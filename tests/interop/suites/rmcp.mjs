// The client of the crate rmcp.
import { client } from '../lib/fixture.mjs';
import { program } from '../lib/program.mjs';

await program('rmcp', client, [], { legacy: /^2025-/, modern: /^2026-07-28$/ });
