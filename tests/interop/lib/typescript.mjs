// The login of a TypeScript client, from the first refusal to the call that needed more.
import { assert, refused, suite } from './check.mjs';
import { connect, pasted, words } from './client.mjs';
import { places, sorted } from './places.mjs';

export async function typescript(version, modes) {
  await suite(`typescript-${version}`, async (check) => {
    for (const place of await places()) {
      for (const [mode, options] of Object.entries(modes)) {
        const at = `${place.name}, ${mode}`;
        const session = await check(`${at}: is refused, finds the issuer, registers and signs in`, async () => {
          const made = await connect(version, place.url, place.user, { options });
          discovered(made, place);
          return made;
        });
        if (!session) continue;
        await check(`${at}: lists what the caller could call`, async () => {
          const { tools } = await session.client.listTools();
          const names = tools.map((tool) => tool.name);
          assert.deepEqual(place.tools.filter((name) => !names.includes(name)), []);
        });
        await check(`${at}: calls, and sees what masks leave`, async () => {
          const text = words(await session.call(place.read.name, place.read.arguments));
          assert.match(text, place.shows);
          assert.doesNotMatch(text, place.hides);
        });
        await check(`${at}: 403 names every scope, the user allows, the call succeeds`, async () => {
          const text = words(await session.call(place.write.name, place.write.arguments));
          const refusal = session.seen.find(({ status }) => status === 403);
          assert.ok(refusal, 'there was no 403');
          const challenge = refusal.headers.get('www-authenticate');
          assert.match(challenge, /^Bearer .*error="insufficient_scope"/);
          assert.deepEqual(sorted(/scope="([^"]*)"/.exec(challenge)?.[1]), place.wide);
          assert.equal(session.memory.asked.length, 2);
          assert.deepEqual(sorted(session.memory.asked[1].searchParams.get('scope')).filter((s) => place.wide.includes(s)), place.wide);
          assert.match(text, place.wrote);
        });
        await check(`${at}: closes`, () => session.close());
        await check(`${at}: a client that cannot log in again is shown the 403 and its text`, async () => {
          const client = await pasted(version, place.url, await place.token(), options);
          const error = await refused(() => client.callTool(place.write));
          assert.match(describe(error), /403|[Ii]nsufficient/);
          assert.match(describe(error), new RegExp(`${place.write.name} needs ${place.needs}`));
          await client.close();
        });
      }
    }
  });
}

/** What a client's user gets to see of an error. */
function describe(error) {
  return [error.message, error.code, error.status, error.data?.text, error.errorDescription].join(' ');
}

/** 401, the metadata at the resource's path, a registration, PKCE and the resource indicator. */
function discovered({ memory, seen }, place) {
  const [first] = seen.filter(({ url }) => url === place.url);
  assert.equal(first.status, 401);
  const challenge = first.headers.get('www-authenticate');
  const { origin, pathname } = new URL(place.url);
  const metadata = `${origin}/.well-known/oauth-protected-resource${pathname}`;
  assert.ok(challenge.startsWith(`Bearer resource_metadata="${metadata}"`), challenge);
  assert.ok(!challenge.includes('error='), challenge);
  assert.ok(seen.some(({ url, status }) => url === metadata && status === 200), 'the metadata was not read');
  assert.ok(memory.client.client_id, 'the client did not register');
  const asked = memory.asked[0].searchParams;
  assert.equal(asked.get('code_challenge_method'), 'S256');
  assert.equal(asked.get('resource'), place.url);
  assert.deepEqual(sorted(asked.get('scope')).filter((scope) => place.wide.includes(scope)), place.base);
}
