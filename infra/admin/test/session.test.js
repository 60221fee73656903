// Signing in, in Chromium: with an identity provider of the tests, with a pasted token, and on the local stack.

import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, test } from 'node:test';
import { chromium } from 'playwright-core';
import { CHROMIUM, startStack } from '../../local/stack.js';
import { startPages } from './pages.js';
import { startProvider } from './provider.js';

const CLIENT = 'audit-page';
/** A view with everything that somebody may have forgotten to encode, or to leave alone. */
const FRAGMENT = "#q=user:1%20-action:%22A%20B%22+%2B&from=-7d&a=%C3%A4'(x)*!~%7e%7E//?code=1&state=2#:~x%";

let stack, provider, pages, browser, context, page, broken;

before(async () => {
  stack = await startStack();
  provider = await startProvider(jwt);
  pages = await startPages(stack.api, provider.issuer);
  browser = await chromium.launch(CHROMIUM);
});
after(async () => {
  await browser?.close();
  pages?.close();
  provider?.close();
  await stack?.stop();
});
beforeEach(async () => {
  Object.assign(provider, { faults: {}, asked: [] });
  context = await browser.newContext();
  context.setDefaultTimeout(10_000);
  broken = [];
  page = await newPage({ oidc: { issuer: provider.issuer, client_id: CLIENT } });
});
afterEach(async () => {
  await context.close();
  assert.deepEqual(broken, [], 'no error and no violation of the policy');
});

/** A page that will find this configuration. */
async function newPage(config = {}) {
  pages.config = { api: '/api/storage', ...config };
  const page = await context.newPage();
  page.on('pageerror', (error) => broken.push(error.message));
  page.on('console', (message) => /Content Security|Trusted/.test(message.text()) && broken.push(message.text()));
  return page;
}

const url = (fragment = '') => `${pages.origin}/admin/${fragment}`;
/** A token that the service takes, unless these claims make it another. */
const jwt = (claims = {}) => stack.token({ user_id: 1, role: 'admin', ...claims });
const dialog = (on = page) => on.getByRole('dialog', { name: 'Audit log' });
const account = (on = page) => on.getByRole('button', { name: /^Account/ });
const problem = (on = page) => on.getByRole('alert');
const shown = (on = page) => on.locator('output');

async function signInAtProvider(fragment) {
  await page.goto(url(fragment));
  await page.getByRole('button', { name: 'Continue with single sign-on' }).click();
}

async function pasteToken(token, on) {
  const field = on.getByLabel('Access token');
  const summary = on.getByText('Paste a token instead');
  await on.getByRole('group', { name: 'Ways to sign in' }).locator('button').first().waitFor();
  if (!(await field.isVisible()) && (await summary.isVisible())) await summary.click();
  await field.fill(token);
  await on.getByRole('button', { name: 'Sign in', exact: true }).click();
}

/** Waits until the page shows this. */
async function says(locator, pattern) {
  await locator.filter({ hasText: pattern }).waitFor();
}

/** All that the browser keeps for the page, as one text. */
function kept(on = page) {
  return on.evaluate(async () => {
    const databases = [];
    for (const { name } of await indexedDB.databases()) {
      const db = await new Promise((done) => (indexedDB.open(name).onsuccess = (event) => done(event.target.result)));
      for (const store of db.objectStoreNames) {
        const all = db.transaction(store).objectStore(store).getAll();
        databases.push(await new Promise((done) => (all.onsuccess = () => done(all.result))));
      }
    }
    const caches_ = await Promise.all((await caches.keys()).map(async (name) => (await (await caches.open(name)).keys()).map((r) => r.url)));
    const fields = [...document.querySelectorAll('input, textarea')].map((field) => field.value);
    return JSON.stringify([{ ...localStorage }, { ...sessionStorage }, databases, caches_, document.cookie, location.href, history.state, fields, name]);
  });
}

async function assertKeepsNothingOf(token, on = page) {
  const text = (await kept(on)) + JSON.stringify(await context.cookies());
  for (const part of token.split('.')) assert.ok(!text.includes(part), `a part of the token in ${text}`);
  assert.equal(await on.evaluate(() => sessionStorage.length), 0);
}

/** The token that the page sends to the service. */
async function tokenOf(on) {
  const request = on.waitForRequest(/\/audit-logs/);
  await on.evaluate(() => load());
  return (await request).headers().authorization.replace('Bearer ', '');
}

test('with single sign-on one comes back to the same view, signed in, and nothing is left behind', async () => {
  await signInAtProvider(FRAGMENT);
  await says(shown(), 'an answer');
  assert.equal(page.url(), url(FRAGMENT), 'byte for byte');
  await account().filter({ hasText: 'admin · org-123' }).waitFor();
  assert.equal(await dialog().isVisible(), false);

  const [asked] = provider.asked;
  assert.equal(asked.tenant, 'a&b', 'the endpoint keeps its own parameters');
  assert.equal(asked.redirect_uri, url());
  assert.equal(asked.scope, 'openid');
  assert.equal(asked.code_challenge_method, 'S256');
  for (const name of ['state', 'nonce', 'code_challenge']) assert.match(asked[name], /^[\w-]{43}$/);
  assert.equal(new Set([asked.state, asked.nonce, asked.code_challenge]).size, 3);
  assert.ok(!JSON.stringify(asked).includes('user:1'), 'the provider does not see the view');
  await assertKeepsNothingOf(await tokenOf(page));
});

test('while the person is at the provider, only what the return needs is kept', async () => {
  await page.route(`${provider.issuer}/authorize*`, (route) => route.fulfill({ body: 'who are you?' }));
  await signInAtProvider(FRAGMENT);
  await page.waitForURL(/authorize/);
  await page.goto(url('dom.js'));
  const storage = await page.evaluate(() => JSON.parse(JSON.stringify(sessionStorage)));
  assert.deepEqual(Object.keys(storage), ['sign-in']);
  const { fragment, ...rest } = JSON.parse(storage['sign-in']);
  assert.equal(fragment, FRAGMENT);
  assert.deepEqual(Object.keys(rest).sort(), ['nonce', 'state', 'verifier']);
  await page.goto(url());
  await dialog().waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0, 'who does not come back with a code begins anew');
});

const refusals = [
  ['a wrong state', { answer: { state: 'x'.repeat(43) } }, /not begun in this tab/],
  ['a state cut short', { answer: { state: 'x' } }, /not begun in this tab/],
  ['no state', { answer: { state: null } }, /not begun in this tab/],
  ['another issuer in the answer', { answer: { iss: 'https://evil.example' } }, /another identity provider/],
  ['no issuer where one was promised', { answer: { iss: null }, discovery: { authorization_response_iss_parameter_supported: true } }, /does not say which/],
  ['another issuer in its description', { discovery: { issuer: 'https://evil.example' } }, /does not go by the name/],
  ['no PKCE', { discovery: { code_challenge_methods_supported: ['plain'] } }, /PKCE/],
  ['an endpoint that is a script', { discovery: { authorization_endpoint: 'javascript:alert(1)' } }, /authorization_endpoint/],
  ['a wrong nonce', { id: { nonce: 'x' } }, /not for this sign-in/],
  ['no nonce', { id: { nonce: undefined } }, /not for this sign-in/],
  ['an id token of another issuer', { id: { iss: 'https://evil.example' } }, /not for this sign-in/],
  ['an id token for another client', { id: { aud: 'other' } }, /not for this sign-in/],
  ['an id token for another client, too', { id: { aud: [CLIENT, 'other'] } }, /not for this sign-in/],
  ['an id token that has ended', { id: { exp: 1 } }, /not for this sign-in/],
  ['an id token that is none', { token: { id_token: 'x' } }, /not a token/],
  ['a token of another kind', { token: { token_type: 'DPoP' } }, /no access token/],
  ['no token', { token: { access_token: undefined } }, /no access token/],
  ['an opaque token', { token: { access_token: 'opaque' } }, /three parts/],
  ['a token without organisation', { claims: { org_id: undefined } }, /org_id/],
  ['a code that was used', { answer: { code: 'used' } }, /The code is not good/],
  ['denied', { answer: { code: null, error: 'access_denied', error_description: 'no' } }, /did not let you in/],
  ['an error', { answer: { code: null, error: 'server_error', error_description: '<b>Down</b>' } }, /refused: <b>Down<\/b>\./],
  ['an error that nobody asked for', { answer: { state: 'x', error: 'e', error_description: 'Call 555-1234' } }, /not begun in this tab/],
];
test('single sign-on is refused for what is wrong with it, and the next attempt is a fresh one', async () => {
  await page.goto(url(FRAGMENT));
  for (const [name, faults, text] of refusals) {
    provider.faults = faults;
    await page.getByRole('button', { name: 'Continue with single sign-on' }).click();
    await says(problem(), text);
    assert.doesNotMatch(await problem().textContent(), /555/, name);
    assert.equal(page.url(), url(FRAGMENT), `${name}: the view is kept, and the code is gone from the address`);
    assert.equal(await page.evaluate(() => sessionStorage.length), 0, name);
    assert.equal(await shown().textContent(), '', name);
  }
  provider.faults = {};
  await page.getByRole('button', { name: 'Continue with single sign-on' }).click();
  await says(shown(), 'an answer');
  assert.equal(page.url(), url(FRAGMENT));
});

test('single sign-on says so when the provider cannot be reached', async () => {
  await page.route(`${provider.issuer}/**`, (route) => route.abort());
  await signInAtProvider('');
  await says(problem(), 'cannot be reached');
});

test('an answer that was used once is worth nothing, in this tab or another', async () => {
  await signInAtProvider(FRAGMENT);
  await account().waitFor();
  for (const on of [page, await newPage(pages.config)]) {
    await on.goto(provider.back);
    await says(problem(on), 'not begun in this tab, or was used before');
    assert.equal(on.url(), url());
  }
});

test('the browser’s Back button from the provider finds the page ready for another attempt', async () => {
  await page.route(`${provider.issuer}/authorize*`, (route) => route.fulfill({ body: 'who are you?' }));
  await signInAtProvider(FRAGMENT);
  await page.waitForURL(/authorize/);
  await page.goBack();
  assert.equal(page.url(), url(FRAGMENT));
  await page.unroute(`${provider.issuer}/authorize*`);
  await page.getByRole('button', { name: 'Continue with single sign-on' }).click();
  await says(shown(), 'an answer');
});

test('a pasted token signs in, however it was copied, and is kept nowhere', async () => {
  page = await newPage();
  const token = jwt({ role: 'auditor', user_id: undefined, sub: 'jane.doe@example.com' });
  await page.goto(url(FRAGMENT));
  await pasteToken(` Bearer ${token.slice(0, 50)}\n  ${token.slice(50)}\n`, page);
  await account().filter({ hasText: 'Account: auditor · org-123' }).waitFor();
  assert.equal(await tokenOf(page), token);
  await assertKeepsNothingOf(token);
  assert.equal(page.url(), url(FRAGMENT));
});

test('what is no token is refused with the reason', async () => {
  page = await newPage();
  await page.goto(url());
  const part = (json) => Buffer.from(JSON.stringify(json)).toString('base64url');
  const cases = [
    ['hello', /three parts/],
    ['a.b.c', /three parts/],
    [`${part({})}.${part(null)}.x`, /three parts/],
    [jwt().split('.').slice(0, 2).join('.'), /three parts/],
    [jwt({ org_id: undefined }), /“org_id”/],
    [jwt({ org_id: 7 }), /“org_id”/],
    [jwt({ role: '' }), /“role”/],
    [jwt({ sub: undefined }), /“sub”/],
    [jwt({ exp: undefined }), /when it ends/],
    [jwt({ exp: '9999999999' }), /when it ends/],
    [jwt({ exp: 1 }), /ended on/],
  ];
  for (const [token, text] of cases) {
    await pasteToken(token, page);
    await says(problem(), text);
    assert.equal(await page.getByLabel('Access token').inputValue(), '');
  }
  assert.equal(await account().isVisible(), false);
});

test('a token that the service refuses leads back to the dialog', async () => {
  page = await newPage();
  await page.goto(url());
  await pasteToken(`${jwt().slice(0, -6)}AAAAAA`, page);
  await says(problem(), 'did not accept your sign-in');
  await pasteToken(jwt(), page);
  await dialog().waitFor({ state: 'hidden' });
  await says(shown(), 'an answer');
});

test('the form of the last time is not offered while the next is fetched', async () => {
  page = await newPage();
  await page.goto(url());
  await pasteToken(jwt(), page);
  await says(shown(), 'an answer');
  let answer;
  const held = new Promise((resolve) => (answer = resolve));
  await page.route('**/dev/tokens', (route) => held.then(() => route.continue()));
  await page.evaluate(() => expired());
  await says(problem(), 'did not accept');
  // It would be wiped under the hand of whoever is pasting.
  assert.equal(await page.getByRole('group', { name: 'Ways to sign in' }).getByRole('button').count(), 0);
  answer();
  await pasteToken(jwt(), page);
  await dialog().waitFor({ state: 'hidden' });
});

test('on the local stack one click signs in', async () => {
  page = await newPage();
  await page.goto(url());
  await page.getByRole('button', { name: 'auditor user 2 · org-123' }).click();
  await says(shown(), 'an answer');
  await account().filter({ hasText: 'auditor · org-123' }).waitFor();
  await assertKeepsNothingOf(await tokenOf(page));
});

test('the dialog cannot be dismissed by somebody who is not signed in', async () => {
  page = await newPage();
  await page.goto(url());
  await dialog().waitFor();
  for (let i = 0; i < 4; i += 1) await page.keyboard.press('Escape');
  await page.mouse.click(5, 5);
  assert.equal(await dialog().isVisible(), true);
});

/** A page on which a session of these seconds has begun, and its clock, which only the test moves. */
async function sessionOf(seconds, claims = {}) {
  page = await newPage();
  await page.clock.install();
  const begins = Math.ceil(Date.now() / 1000) + 1;
  await page.clock.pauseAt(begins * 1000);
  await page.goto(url(FRAGMENT));
  await pasteToken(jwt({ exp: begins + seconds, ...claims }), page);
  await says(shown(), 'an answer');
}

test('the end of a session is announced two minutes before; then its view is covered, and kept', async () => {
  await sessionOf(600);
  const banner = page.getByRole('status').filter({ hasText: 'Your session ends at' });
  await page.clock.runFor(470_000);
  assert.equal(await banner.count(), 0);
  await page.clock.runFor(11_000);
  await banner.waitFor();
  assert.equal(await shown().isVisible(), true);

  await page.clock.runFor(120_000);
  await says(problem(), 'Your session has ended');
  assert.equal(await banner.count(), 0);
  assert.equal(await shown().isVisible(), false, 'nobody reads the rows');
  assert.equal(page.url(), url(FRAGMENT));
  await page.emulateMedia({ media: 'print' });
  assert.equal(await shown().isVisible(), false, 'nor prints them');
  await page.emulateMedia({ media: 'screen' });

  await pasteToken(jwt({ exp: Math.floor(Date.now() / 1000) + 3600 }), page);
  await shown().waitFor();
  assert.equal(await shown().textContent(), 'an answer');
  assert.equal(page.url(), url(FRAGMENT));
  assert.deepEqual(await page.evaluate(() => changes), [false, false]);
});

test('one can sign in again before the end, or not now', async () => {
  await sessionOf(100);
  await page.getByRole('button', { name: 'Sign in again' }).click();
  await page.getByRole('button', { name: 'Not now' }).click();
  assert.equal(await dialog().isVisible(), false);
  await page.getByRole('button', { name: 'Sign in again' }).click();
  await page.clock.runFor(110_000);
  await says(problem(), 'Your session has ended');
  assert.equal(await page.getByRole('button', { name: 'Not now' }).isVisible(), false, 'now one must');
  await page.keyboard.press('Escape');
  assert.equal(await dialog().isVisible(), true);
});

test('a token that is being pasted when the session ends stays in its field', async () => {
  await sessionOf(100);
  await page.getByRole('button', { name: 'Sign in again' }).click();
  await page.getByText('Paste a token instead').click();
  await page.getByLabel('Access token').fill('half of it');
  const asked = [];
  page.on('request', (request) => asked.push(request.url()));
  await page.clock.runFor(110_000);
  await says(problem(), 'Your session has ended');
  assert.deepEqual(asked.filter((url) => url.endsWith('/dev/tokens')), []);
  assert.equal(await page.getByLabel('Access token').inputValue(), 'half of it');
});

test('a session that ended while the machine slept is over at the first look', async () => {
  await sessionOf(600);
  await page.clock.setSystemTime(Date.now() + 3_600_000);
  await page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
  await says(problem(), 'Your session has ended');
});

test('somebody else, another role or organisation see nothing of the view before', async () => {
  for (const claims of [{ sub: '2' }, { role: 'auditor' }, { org_id: 'org-456' }]) {
    await sessionOf(600);
    await page.evaluate(() => expired());
    await says(problem(), 'did not accept');
    await pasteToken(jwt({ exp: Math.floor(Date.now() / 1000) + 3600, ...claims }), page);
    await says(shown(), 'nothing of somebody else');
    assert.deepEqual(await page.evaluate(() => changes), [false, true]);
  }
});

test('the late refusal of an earlier token does not end the session', async () => {
  page = await newPage();
  await page.goto(url());
  const earlier = jwt({ jti: 'earlier' });
  await pasteToken(earlier, page);
  await says(shown(), 'an answer');
  await page.evaluate(() => expired());
  await dialog().waitFor();
  await pasteToken(jwt(), page);
  await dialog().waitFor({ state: 'hidden' });
  await page.evaluate((token) => expired(token), earlier);
  assert.equal(await dialog().isVisible(), false);
});

test('who signs out leaves nothing on the page or in its address', async () => {
  page = await newPage();
  await page.goto(url(FRAGMENT));
  await pasteToken(jwt(), page);
  await says(shown(), 'an answer');
  await account().click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await dialog().waitFor();
  assert.equal(await shown().textContent(), '');
  assert.equal(page.url(), url());
});

test('the view is for whoever it was of: somebody else who signs in at the provider begins without', async () => {
  const again = async () => {
    await page.evaluate(() => expired());
    await page.getByRole('button', { name: 'Continue with single sign-on' }).click();
  };
  for (const claims of [{ sub: '2' }, { org_id: 'org-456' }]) {
    provider.faults = {};
    await signInAtProvider(FRAGMENT);
    await says(shown(), 'an answer');
    await again();
    await says(shown(), 'an answer');
    assert.equal(page.url(), url(FRAGMENT), 'the same person');

    // Nor after an attempt that failed, and one that was given up.
    provider.faults = { token: { access_token: undefined } };
    await again();
    await says(problem(), 'no access token');
    await page.route(`${provider.issuer}/authorize*`, (route) => route.fulfill({ body: 'who are you?' }));
    await page.getByRole('button', { name: 'Continue with single sign-on' }).click();
    await page.waitForURL(/authorize/);
    await page.goBack();
    await page.unroute(`${provider.issuer}/authorize*`);
    provider.faults = { claims };
    await page.getByRole('button', { name: 'Continue with single sign-on' }).click();
    await account().waitFor();
    await dialog().waitFor({ state: 'hidden' });
    assert.equal(page.url(), url());
    await page.goto('about:blank');
  }
});

test('a host that merges slashes changes nothing', async () => {
  const merged = `${pages.origin}//admin/`;
  await context.route((asked) => asked.href.startsWith(merged), (route) => route.continue({ url: route.request().url().replace(merged, url()) }));
  await page.goto(`${merged}?code=1&state=2${FRAGMENT}`);
  await says(problem(), 'not begun in this tab');
  assert.equal(page.url(), merged + FRAGMENT);

  page = await newPage();
  await page.goto(merged + FRAGMENT);
  await pasteToken(jwt(), page);
  await says(shown(), 'an answer');
  await account().click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await dialog().waitFor();
  assert.equal(await shown().textContent(), '');
  assert.equal(page.url(), merged);
});

test('who signs out sees nothing of the page, though the next cannot be loaded', async () => {
  page = await newPage();
  await page.goto(url(FRAGMENT));
  await pasteToken(jwt(), page);
  await says(shown(), 'an answer');
  await page.route(url(), (route) => route.fulfill({ status: 204 }));
  await account().click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await shown().waitFor({ state: 'detached' });
});

test('the browser’s Back button does not bring back who was signed in', async () => {
  const own = await chromium.launch({ ...CHROMIUM, ignoreDefaultArgs: ['--disable-back-forward-cache'] });
  try {
    pages.config = { api: '/api/storage' };
    page = await own.newPage();
    /** There and back; what the browser kept says so in the tab's name. */
    const thereAndBack = async (kept) => {
      await page.evaluate(() => addEventListener('pageshow', ({ persisted }) => (name = persisted ? 'as it was' : '')));
      await page.goto(url('dom.js'));
      await page.evaluate((kept) => kept && sessionStorage.setItem('sign-in', kept), kept);
      await page.evaluate(() => setTimeout(() => history.back()));
      await page.waitForFunction(() => name === 'as it was' && document.querySelector('dialog[open]'));
    };
    await page.goto(url(FRAGMENT));
    await dialog().waitFor();
    await page.evaluate(() => (globalThis.isSame = true));
    await thereAndBack('{}');
    assert.equal(await page.evaluate(() => isSame), true, 'without a session it stays');
    assert.equal(await page.evaluate(() => sessionStorage.length), 0);

    await pasteToken(jwt(), page);
    await says(shown(), 'an answer');
    await thereAndBack();
    await dialog().waitFor();
    assert.equal(await page.evaluate(() => globalThis.isSame), undefined);
    assert.equal(await shown().textContent(), '');
    assert.equal(page.url(), url(FRAGMENT));
  } finally {
    await own.close();
  }
});

test('a configuration that is wrong says what is to be put right', async () => {
  const oidc = { issuer: 'https://id.example', client_id: 'x' };
  const cases = [
    [{}, /"api" is not an address/],
    [{ api: 'javascript:alert(1)' }, /"api" does not begin with https/],
    [{ api: 'http://api.example/api/storage' }, /"api" does not begin with https/],
    [{ api: 'https://user:secret@api.example' }, /a user, "\?" or "#"/],
    [{ api: '/api', audit_key: ['x'] }, /unknown member "audit_key"/],
    [{ api: '/api', audit_keys: 'x' }, /"audit_keys" is not a list/],
    [{ api: '/api', oidc: { ...oidc, issuer: 'http://id.example' } }, /"issuer" does not begin/],
    [{ api: '/api', oidc: { issuer: oidc.issuer } }, /"client_id" is missing/],
    [[], /is not an object/],
  ];
  page = await newPage();
  for (const [config, text] of cases) {
    pages.config = config;
    await page.goto('about:blank');
    await page.goto(url());
    await says(shown(), text);
    assert.match(await shown().textContent(), /^config\.json: .*\.$/);
  }
  pages.config = null;
  await page.reload();
  await says(shown(), /not beside the page \(status 404\)/);
});
