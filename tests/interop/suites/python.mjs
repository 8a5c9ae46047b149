// The Python SDK's client.
import path from 'node:path';

import { home, repository } from '../lib/process.mjs';
import { program } from '../lib/program.mjs';

const python = path.join(home, 'python/bin/python');
const client = path.join(repository, 'tests/interop/programs/client.py');
await program('python', python, [client], { legacy: /^2025-/, auto: /^2026-07-28$/ });
