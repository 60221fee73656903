// `config.json`; who is signed in, and for how long; OpenID Connect.

import { button, facts, fill, h, icon, messageOf, submitted } from './dom.js';

/** So long before its end a session says so. */
const NOTICE_MS = 120_000;
/** Of what is kept while the person is at the provider. */
const KEY = 'sign-in';
/** By how much the provider's clock may differ. */
const LEEWAY_S = 60;
const WHO = /** @type {const} */ (['sub', 'org_id', 'role']);

/** With an absolute `api`, or an error that tells the operator what to put right. @returns {Promise<Config>} */
export async function loadConfig() {
  const answer = await fetch('config.json', { cache: 'no-cache' }).catch(() => Response.error());
  check(answer.status, 'it cannot be reached. Check your connection, then reload');
  check(answer.ok, `it is not beside the page (status ${answer.status})`);
  const { api, audit_keys = [], oidc } = members('it', await answer.json().catch(() => null), ['api', 'audit_keys', 'oidc']);
  check(Array.isArray(audit_keys) && audit_keys.every((key) => typeof key === 'string'), '"audit_keys" is not a list of verifier keys');
  const config = { api: url('"api"', api, location.href), audit_keys };
  if (oidc === undefined) return config;
  const { issuer, client_id, scope = 'openid' } = members('"oidc"', oidc, ['issuer', 'client_id', 'scope']);
  url('"issuer"', issuer);
  check(client_id, '"client_id" is missing');
  return { ...config, oidc: { issuer, client_id, scope } };
}

/** With a misspelt `audit_keys` no key would be pinned, unnoticed. @type {(name: string, json: any, known: string[]) => Record<string, any>} */
function members(name, json, known) {
  check(json instanceof Object && !Array.isArray(json), `${name} is not an object of JSON`);
  const unknown = Object.keys(json).find((key) => !known.includes(key));
  check(!unknown, `${name} has an unknown member "${unknown}"; it may have: ${known.join(', ')}`);
  return json;
}

/** Tokens are sent by https, on this machine, or to the page's own origin. @type {(name: string, value: any, page?: string) => string} */
function url(name, value, page) {
  check(value && typeof value === 'string' && URL.canParse(value, page), `${name} is not an address`);
  const { protocol, hostname, origin, username, search, hash, href } = new URL(value, page);
  const isNear = isLoopback(hostname) || (page && origin === location.origin);
  check(protocol === 'https:' || (protocol === 'http:' && isNear), `${name} does not begin with https://`);
  check(!(username || search || hash), `${name} has a user, "?" or "#" in it`);
  return href;
}

/** @type {(condition: unknown, otherwise: string) => void} */
function check(condition, otherwise) {
  if (!condition) throw new Error(`config.json: ${otherwise}.`);
}

/** @param {string} host */
const isLoopback = (host) => ['localhost', '127.0.0.1', '[::1]'].includes(host);

/** @type {(config: Config) => Session} */
export function createSession({ oidc }) {
  /** In memory and nowhere else. @type {string | null} */
  let token = null;
  /** They outlast the session, for comparison with the next. @type {Claims | null} */
  let claims = null;
  /** Whose view is in the address, if that is known. @type {string | undefined} */
  let owner;
  const dialog = createDialog(accept, oidc && { host: new URL(oidc.issuer).host, leave: () => leave(oidc, owner) });
  const account = createAccount(() => dialog.show('', true), signOut);
  document.body.append(account.notice, dialog.element);
  // A timer until the end would not count the machine's sleep.
  setInterval(look, 1000);
  document.addEventListener('visibilitychange', look);
  // The browser's Back button may bring the page back as it was, from the provider too.
  addEventListener('pageshow', ({ persisted }) => {
    if (!persisted) return;
    if (!claims) return takeReturned();
    // Signed out since, perhaps.
    clear();
    location.reload();
  });

  const left = () => (claims?.exp ?? 0) * 1000 - Date.now();
  const current = () => (left() > 0 ? token : null);

  async function signIn() {
    if (current()) return;
    const signedIn = new Promise((resolve) => session.addEventListener('change', resolve, { once: true }));
    const returned = takeReturned();
    owner ??= returned.pending.owner;
    dialog.show();
    if (oidc && returned.isAnswer) void dialog.attempt('Signing you in …', async () => accept(await redeem(oidc, returned)));
    await signedIn;
  }

  function signOut() {
    clear();
    // Without a fragment it is loaded anew.
    location.replace(pageUrl());
  }

  function clear() {
    token = null;
    document.body.replaceChildren();
  }

  /** @param {string} [refused] */
  function expired(refused) {
    if (refused && refused !== token) return;
    end(current() ? 'The service did not accept your sign-in. Sign in again.' : undefined);
  }

  /** @param {string} given */
  function accept(given) {
    const before = claims;
    const now = claimsOf(given);
    const person = JSON.stringify([now.sub, now.org_id]);
    if (owner && owner !== person) history.replaceState(null, '', pageUrl());
    owner = person;
    token = given;
    claims = now;
    account.update(now);
    look();
    const other = before !== null && WHO.some((name) => before[name] !== now[name]);
    session.dispatchEvent(new CustomEvent('change', { detail: { other } }));
    dialog.close();
  }

  function look() {
    if (left() <= 0) end();
    else if (token && claims) account.warn(left() <= NOTICE_MS ? claims.exp : null);
  }

  function end(text = 'Your session has ended. Sign in again to go on where you were.') {
    if (!token) return;
    token = null;
    account.warn(null);
    dialog.show(text);
  }

  const session = Object.assign(new EventTarget(), { element: account.element, token: current, claims: () => claims, signIn, signOut, expired });
  return session;
}

/** Its errors are for whoever brought the token. @param {string} token */
function claimsOf(token) {
  const claims = /** @type {Claims} */ (payload(token));
  const missing = WHO.find((name) => typeof claims[name] !== 'string' || !claims[name]);
  if (missing) throw new Error(`The token has no “${missing}”: it was not made for this service.`);
  if (!Number.isFinite(claims.exp)) throw new Error('The token does not say when it ends (“exp”).');
  const end = new Date(claims.exp * 1000);
  if (+end <= Date.now()) throw new Error(`This token ended on ${end.toLocaleString()}. Get a new one, or set this computer’s clock.`);
  return claims;
}

/** What a JWT says. Only the service verifies it. @type {(token: string) => Record<string, unknown>} */
function payload(token) {
  const [, part = '', signature] = token.split('.');
  try {
    const bytes = Uint8Array.from(atob(part.replaceAll('-', '+').replaceAll('_', '/')), (c) => c.charCodeAt(0));
    const json = JSON.parse(new TextDecoder().decode(bytes));
    if (signature && json instanceof Object) return json;
  } catch {
    // Said below.
  }
  throw new Error('This is not a token: a JWT, three parts with dots between them.');
}

/** Of the local stack. @returns {Promise<Identity[]>} */
async function identities() {
  if (!isLoopback(location.hostname)) return [];
  const answer = fetch('/dev/tokens', { cache: 'no-store', signal: AbortSignal.timeout(2000) });
  return answer.then((found) => found.json()).then((json) => json.identities ?? []).catch(() => []);
}

// The code flow with PKCE, for a page that can keep no secret (RFC 7636, 9207, 9700).

/** Leaves for the provider; the way back is another load of the page. @param {Provider} provider @param {string} [owner] */
async function leave(provider, owner) {
  must(crypto.subtle, 'Single sign-on needs a page of https.');
  const to = new URL((await discover(provider)).authorization_endpoint);
  const [state, nonce, verifier] = [random(), random(), random()];
  const challenge = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier));
  const params = {
    response_type: 'code',
    client_id: provider.client_id,
    redirect_uri: pageUrl(),
    scope: provider.scope,
    state,
    nonce,
    code_challenge: base64url(new Uint8Array(challenge)),
    code_challenge_method: 'S256',
  };
  for (const [name, value] of Object.entries(params)) to.searchParams.set(name, value);
  sessionStorage.setItem(KEY, JSON.stringify({ state, nonce, verifier, fragment: location.hash, owner }));
  location.assign(to);
}

/** What the provider sent back, if it did, is taken out of address and storage; the view's fragment is put back. @returns {Returned} */
function takeReturned() {
  /** @type {any} */
  let pending = {};
  try {
    pending = JSON.parse(sessionStorage.getItem(KEY) ?? '{}');
    sessionStorage.removeItem(KEY);
  } catch {
    // Where nothing may be kept, nothing was.
  }
  const params = new URLSearchParams(location.search);
  const isAnswer = ['state', 'code', 'error'].some((name) => params.has(name));
  if (isAnswer) history.replaceState(null, '', pageUrl() + (pending.fragment ?? location.hash));
  return { isAnswer, params, pending };
}

/** @type {(provider: Provider, returned: Returned) => Promise<string>} */
async function redeem(provider, { params, pending }) {
  // First: of an answer that nobody here asked for, not a word is shown.
  must(params.get('state') === pending.state, 'This sign-in was not begun in this tab, or was used before.');
  const iss = params.get('iss');
  must(iss === null || iss === provider.issuer, 'The answer is of another identity provider.');
  refuse(params.get('error'), params.get('error_description'));

  const { token_endpoint, authorization_response_iss_parameter_supported } = await discover(provider);
  must(iss !== null || !authorization_response_iss_parameter_supported, 'The answer does not say which identity provider it is of.');
  const body = new URLSearchParams({
    grant_type: 'authorization_code',
    code: params.get('code') ?? '',
    redirect_uri: pageUrl(),
    client_id: provider.client_id,
    code_verifier: pending.verifier,
  });
  const { status, json } = await ask(token_endpoint, { method: 'POST', body });
  refuse(status === 200 ? null : (json.error ?? `status ${status}`), json.error_description);
  const { access_token, token_type, id_token } = json;
  must(typeof access_token === 'string' && /^bearer$/i.test(token_type), 'The identity provider sent no access token.');
  if (id_token !== undefined) checkIdToken(payload(String(id_token)), provider, pending.nonce);
  return access_token;
}

/** No signature is needed: it came over TLS (OpenID Connect Core 3.1.3.7). @type {(claims: Record<string, unknown>, provider: Provider, nonce: string) => void} */
function checkIdToken({ iss, aud, azp, exp, nonce: answered }, { issuer, client_id }, nonce) {
  const readers = [aud].flat();
  const isFor = readers.includes(client_id) && (azp === undefined ? readers.length === 1 : azp === client_id);
  const isNow = Number(exp) > Date.now() / 1000 - LEEWAY_S;
  must(iss === issuer && isFor && isNow && answered === nonce, 'The answer is not for this sign-in.');
}

/** @param {Provider} provider */
async function discover({ issuer }) {
  const { json } = await ask(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
  must(json.issuer === issuer, 'The identity provider does not go by the name in config.json.');
  must([json.code_challenge_methods_supported ?? 'S256'].flat().includes('S256'), 'The identity provider does not know PKCE (S256).');
  for (const name of ['authorization_endpoint', 'token_endpoint']) {
    // As safe as the issuer's, which was checked.
    must(URL.canParse(json[name]) && new URL(json[name]).protocol === new URL(issuer).protocol, `The identity provider has no “${name}”.`);
  }
  return json;
}

/** @type {(url: string, request?: RequestInit) => Promise<{ status: number, json: any }>} */
async function ask(url, request) {
  const answer = await fetch(url, { cache: 'no-store', credentials: 'omit', referrerPolicy: 'no-referrer', ...request }).catch(() => Response.error());
  must(answer.status, 'The identity provider cannot be reached.');
  return { status: answer.status, json: (await answer.json().catch(() => null)) ?? {} };
}

/** @type {(error: unknown, description: unknown) => void} */
function refuse(error, description) {
  must(error !== 'access_denied', 'The identity provider did not let you in.');
  must(error === null, `The identity provider refused: ${description || error}.`);
}

/** @type {(condition: unknown, otherwise: string) => void} */
function must(condition, otherwise) {
  if (!condition) throw new Error(`${otherwise} Try again; if it stays so, ask your administrator.`);
}

/** Whole: a path that begins with "//" would be another host. */
const pageUrl = () => location.origin + location.pathname;

const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

/** @param {Uint8Array} bytes */
function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

// What people see of it.

/**
 * @param {(token: string) => void} accept throws what is wrong with a token
 * @param {{ host: string, leave: () => Promise<void> }} [provider]
 */
function createDialog(accept, provider) {
  const problem = h('p', { class: 'bad', role: 'alert' });
  const state = h('p', { class: 'muted', role: 'status' });
  const ways = h('fieldset', { 'aria-label': 'Ways to sign in' });
  const later = button({ class: 'quiet', onclick: close }, 'Not now');
  // Where the browser does not know `closedby`, Escape closes any dialog.
  const stay = () => element.getAttribute('closedby') === 'none' && element.showModal();
  const element = h('dialog', { class: 'signin', 'aria-labelledby': 'signin-title', onclose: stay },
    h('img', { src: 'icon.svg', alt: '', width: 48, height: 48 }),
    h('h2', { id: 'signin-title' }, 'Audit log'),
    h('p', { class: 'muted' }, 'See who did what with your organisation’s files, and prove that no entry was changed.'),
    problem, ways, state, later);

  function show(text = '', mayClose = false) {
    element.setAttribute('closedby', mayClose ? 'any' : 'none');
    later.hidden = !mayClose;
    tell(text);
    // Nothing is replaced under anybody’s hand.
    if (element.open) return;
    fill(ways);
    if (provider) offerProvider(provider);
    else void offerTokens();
    element.showModal();
  }

  function close() {
    element.setAttribute('closedby', 'any');
    element.close();
  }

  /** @param {string} text */
  const tell = (text) => fill(problem, text && [icon('warning'), h('span', {}, text)]);

  /** @type {(doing: string, work: () => unknown) => Promise<void>} */
  async function attempt(doing, work) {
    tell('');
    fill(state, doing);
    ways.disabled = true;
    try {
      await work();
    } catch (error) {
      tell(messageOf(error));
    }
    ways.disabled = false;
    fill(state);
  }

  /** @param {string} token */
  const take = (token) => attempt('Signing you in …', () => accept(token));

  /** @param {NonNullable<typeof provider>} provider */
  function offerProvider({ host, leave }) {
    fill(ways,
      button({ class: 'primary', autofocus: true, onclick: () => attempt(`Going to ${host} …`, leave) }, 'Continue with single sign-on'),
      h('p', { class: 'muted' }, `At ${host}. You come back to this view.`));
  }

  async function offerTokens() {
    const buttons = (await identities()).map(({ org_id, sub, role, token }) => button({ class: 'signin-identity', onclick: () => take(token) },
      h('strong', {}, role), h('span', { class: 'muted' }, `user ${sub} · ${org_id}`), icon('right')));
    const paste = pasteForm();
    if (buttons.length === 0) fill(ways, paste);
    else fill(ways, h('h3', {}, 'Development identities'), buttons, h('details', {}, h('summary', {}, 'Paste a token instead'), paste));
    (buttons[0] ?? paste.querySelector('textarea'))?.focus();
  }

  function pasteForm() {
    // No password, which browsers offer to keep; no spelling, which some have checked elsewhere.
    const field = h('textarea', { id: 'signin-token', class: 'mono', rows: 3, required: true, autocomplete: 'off', spellcheck: 'false' });
    const send = submitted(() => {
      // As copied from terminals and headers: with line breaks, with “Bearer”.
      const token = field.value.trim().replace(/^Bearer\s/i, '').replace(/\s/g, '');
      field.value = '';
      void take(token);
    });
    return h('form', { onsubmit: send },
      h('label', { for: 'signin-token' }, 'Access token'),
      field,
      h('p', { class: 'muted' }, 'A JWT of your identity provider. It is kept in this tab’s memory only.'),
      h('button', { class: 'primary' }, 'Sign in'));
  }

  return { element, show, close, attempt };
}

/** @param {() => void} signIn @param {() => void} signOut */
function createAccount(signIn, signOut) {
  const notice = h('div', { class: 'session-ends warn', role: 'status' });
  const opener = button({ class: 'quiet', popovertarget: 'account' });
  const below = () => (panel.style.top = `${opener.getBoundingClientRect().bottom + 6}px`);
  const panel = h('div', { id: 'account', popover: 'auto', onbeforetoggle: below });

  /** @param {Claims} claims */
  function update({ sub, user_id = sub, org_id, role, exp }) {
    fill(opener, h('span', { class: 'unseen' }, 'Account: '), h('span', { class: 'account-name' }, `${role} · ${org_id}`), icon('down'));
    fill(panel,
      facts(['User', `${user_id}`], ['Role', role], ['Organisation', org_id], ['Signed in until', clock(exp)]),
      button({ onclick: signOut }, icon('leave'), 'Sign out'));
  }

  /** @param {number | null} exp */
  function warn(exp) {
    if (!exp) fill(notice);
    else if (!notice.hasChildNodes()) {
      fill(notice, icon('clock'), h('span', {}, `Your session ends at ${clock(exp)}. Your view is kept.`), button({ onclick: signIn }, 'Sign in again'));
    }
  }

  return { element: h('div', {}, opener, panel), notice, update, warn };
}

/** @param {number} exp in seconds */
const clock = (exp) => new Date(exp * 1000).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'short' });
