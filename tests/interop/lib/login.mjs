// What a user's browser does, without one: follows redirects, keeps cookies, presses a button of the login form.

/** Signs `user` in at `authorizationUrl` and gives the URL the client is called back with. */
export async function signIn(authorizationUrl, user) {
  const back = new URL(authorizationUrl).searchParams.get('redirect_uri');
  const cookies = new Map();
  let request = { url: String(authorizationUrl), init: {} };
  for (let hop = 0; hop < 12; hop += 1) {
    const headers = { ...request.init.headers, cookie: [...cookies].map(([k, v]) => `${k}=${v}`).join('; ') };
    const response = await fetch(request.url, { ...request.init, headers, redirect: 'manual' });
    for (const line of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
      cookies.set(name, value);
    }
    const location = response.headers.get('location');
    if (location) {
      const next = new URL(location, request.url).href;
      if (next.startsWith(back)) return new URL(next);
      request = { url: next, init: {} };
      continue;
    }
    const page = await response.text();
    if (!response.ok) throw new Error(`login: ${response.status} at ${request.url}: ${page.slice(0, 400)}`);
    request = press(page, request.url, user);
  }
  throw new Error('login: too many redirects');
}

/** The request a browser makes when the button of `user` is pressed. */
function press(page, url, user) {
  const form = /<form\b[^>]*>[\s\S]*?<\/form>/i.exec(page)?.[0];
  if (!form) throw new Error(`login: no form at ${url}: ${page.slice(0, 400)}`);
  if (!form.includes(`name="user" value="${user}"`)) throw new Error(`login: ${user} cannot sign in at ${url}`);
  const attribute = (tag, name) => new RegExp(`\\b${name}="([^"]*)"`, 'i').exec(tag)?.[1] ?? '';
  const fields = new URLSearchParams();
  for (const [input] of form.matchAll(/<input\b[^>]*>/gi)) fields.set(attribute(input, 'name'), attribute(input, 'value'));
  fields.set('user', user);
  const action = new URL(attribute(form, 'action') || url, url).href;
  return { url: action, init: { method: 'POST', body: fields, headers: { origin: new URL(url).origin } } };
}
