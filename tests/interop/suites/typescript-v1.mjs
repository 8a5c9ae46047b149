// @modelcontextprotocol/sdk, which speaks the revisions with `initialize`.
import { typescript } from '../lib/typescript.mjs';

await typescript('v1', { initialize: {} });
