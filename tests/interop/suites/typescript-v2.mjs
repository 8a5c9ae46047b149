// @modelcontextprotocol/client: once as it comes, once with the revision of 2026-07-28.
import { typescript } from '../lib/typescript.mjs';

await typescript('v2', {
  initialize: {},
  '2026-07-28': { versionNegotiation: { mode: { pin: '2026-07-28' } } },
});
