// The login of a client that is a program of its own.
import { assert, suite } from './check.mjs';
import { drive } from './driven.mjs';
import { places, sorted } from './places.mjs';

/** `modes` are the program's, with what the version it then speaks begins with. */
export async function program(name, command, args, modes) {
  await suite(name, async (check) => {
    for (const place of await places()) {
      for (const [mode, version] of Object.entries(modes)) {
        const at = `${place.name}, ${mode}`;
        const calls = [place.read, place.write].map((call) => JSON.stringify(call));
        const facts = await check(`${at}: is refused, finds the issuer, registers and signs in`, async () => {
          const told = await drive(command, [...args, place.url, mode, ...calls], place.user);
          const [first] = told.asked;
          assert.equal(first.searchParams.get('code_challenge_method'), 'S256');
          assert.equal(first.searchParams.get('resource'), place.url);
          assert.match(String(told.version), version);
          return told;
        });
        if (!facts) continue;
        await check(`${at}: lists what the caller could call`, async () => {
          assert.deepEqual(place.tools.filter((tool) => !facts.tools.includes(tool)), []);
        });
        await check(`${at}: calls, and sees what masks leave`, async () => {
          assert.match(facts.read, place.shows);
          assert.doesNotMatch(facts.read, place.hides);
        });
        await check(`${at}: 403 names every scope, the user allows, the call succeeds`, async () => {
          assert.equal(facts.asked.length, 2);
          const scopes = sorted(facts.asked[1].searchParams.get('scope'));
          assert.deepEqual(scopes.filter((scope) => place.wide.includes(scope)), place.wide);
          assert.match(facts.write, place.wrote);
          assert.equal(facts.failed, false);
        });
      }
    }
  });
}
