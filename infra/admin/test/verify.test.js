// The badge and the verification of an entry, in Chromium, against a log that the test keeps and tampers with.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { after, before, beforeEach, test } from 'node:test';
import { chromium } from 'playwright-core';
import * as log from './log.js';

const ADMIN = new URL('../../../admin-ui/', import.meta.url);
const ORG = 'org-123';
const NAME = 'example.org/audit';
const ORIGIN = `${NAME}/${ORG}`;
const [KEY, OTHER_KEY] = [log.key(Buffer.alloc(32, 1)), log.key(Buffer.alloc(32, 2))];
const CSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
const PAGE = `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Log</title>
<link rel="stylesheet" href="/app.css"><script type="module" src="/test.js"></script>
<main id="main"></main><p id="announcements" role="status" class="unseen"></p></html>`;
const SCRIPT = `
import { createDetails } from './entries.js';
import { Api } from './log.js';
import { createBadge, createVerify } from './seal.js';
window.show = ({ org, keys, entry }) => {
  const config = { api: '/api/storage', audit_keys: keys };
  const api = new Api(config.api, () => 'token', () => {});
  window.life?.abort();
  window.life = new AbortController();
  const { signal } = window.life;
  window.badge = createBadge({ api, config, org, signal });
  window.details = () => document.body.append(createDetails(entry.shown, { api, config, org, signal, zone: 'UTC' }));
  const { id, raw, leafHash, shown } = entry;
  document.querySelector('#main').replaceChildren(badge.element, createVerify({ api, config, org, signal, entry: shown, raw, leafHash, cursor: 'CURSOR' }).element);
};
window.ready = true;`;

/** The service: its log, and what somebody makes of its answers. */
let service;
let server;
let browser;
let context;
let page;
let violations;

const raw = (index) => JSON.stringify({ a: 'UPLOAD', f: `epcr/pdf/${index}.pdf`, i: `ID${index}`, m: { b: index }, n: index, o: ORG, q: 'q', r: 'admin', t: 1_795_322_744_575, u: 1, w: 'w' });
const shown = (index) => ({
  id: `ID${index}`, user_id: 1, role: 'admin', timestamp: '2026-11-22T04:45:44.575Z', ip_address: '', device_info: '', action_type: 'UPLOAD', file_path: `${ORG}/epcr/pdf/${index}.pdf`,
  related_object_type: null, related_object_id: null, metadata: { file_size: index }, success: 'true', error_message: null, request_id: 'q', kept_until: '2033-12-22T04:45:44Z', seq: index,
});
const leaves = (size, salt = '') => Array.from({ length: size }, (_, index) => (salt && index === 0 ? salt : raw(index)));

function answer(path, params) {
  const { leaves, key, origin, head } = service;
  const note = log.checkpoint(origin, leaves, key);
  if (path === '/checkpoint') return note;
  if (path === '/keys') return { origin, keys: [{ vkey: key.vkey(origin), valid_from: '2026-01-01T00:00:00Z' }] };
  if (path === '/summary') return { as_of: { tree_size: leaves.length, time: new Date().toISOString(), ...head } };
  if (path === '/consistency') {
    const from = Number(params.get('from'));
    if (from > leaves.length) return { status: 400, code: 'invalid_from', detail: 'Invalid from' };
    return { from, to: leaves.length, proof: log.consistency(from, leaves).map((hash) => hash.toString('base64')), checkpoint: note };
  }
  const [, index, isProof] = path.match(/^\/ID(\d+)(\/proof)?$/).map((part) => (/^\d/.test(part) ? Number(part) : part));
  if (!isProof) return { log: { ...shown(index), raw: raw(index), leaf_hash: log.leafHash(raw(index)).toString('hex') } };
  return log.tlogProof(index, leaves, note);
}

before(async () => {
  server = createServer(async (request, response) => {
    const { pathname, searchParams } = new URL(request.url, 'http://localhost');
    const send = (status, type, body) => response.writeHead(status, { 'Content-Type': type, 'Content-Security-Policy': CSP }).end(body);
    if (pathname === '/') return send(200, 'text/html', PAGE);
    if (pathname === '/test.js') return send(200, 'text/javascript', SCRIPT);
    if (pathname.startsWith('/api/storage/audit-logs')) {
      const path = pathname.slice('/api/storage/audit-logs'.length);
      service.asked.push(`${path}${searchParams.size ? `?${searchParams}` : ''}`);
      let answered = answer(path, searchParams);
      answered = service.tamper(path, answered, searchParams) ?? answered;
      const body = typeof answered === 'string' ? answered : JSON.stringify(answered);
      response.setHeader('Retry-After', '1');
      return send(answered.status ?? 200, 'application/json', body);
    }
    const file = await readFile(new URL(`.${pathname}`, ADMIN)).catch(() => undefined);
    send(file ? 200 : 404, pathname.endsWith('.css') ? 'text/css' : 'text/javascript', file);
  });
  server.listen(0, 'localhost');
  await once(server, 'listening');
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'] });
});
after(async () => {
  await browser?.close();
  server.close();
});

beforeEach(async (t) => {
  service = { leaves: leaves(20), key: KEY, origin: ORIGIN, head: {}, tamper: () => undefined, asked: [] };
  context = await browser.newContext();
  violations = [];
  page = await open();
  t.after(async () => {
    await context.close();
    assert.deepEqual(violations, []);
  });
});

/** A tab that shows the badge and one entry. */
async function open(options) {
  const tab = await context.newPage();
  tab.on('console', (message) => message.type() === 'error' && !/^Failed to load resource/.test(message.text()) && violations.push(message.text()));
  tab.on('pageerror', (error) => violations.push(error.message));
  await tab.goto(`http://localhost:${server.address().port}/`);
  await tab.waitForFunction(() => window.ready);
  await show(tab, options);
  return tab;
}

/** The badge and entry 7, or what somebody made of it. */
function show(tab, { keys = [KEY.vkey(NAME)], entry = {}, org = ORG } = {}) {
  const honest = { raw: raw(7), leafHash: log.leafHash(raw(7)).toString('hex'), shown: shown(7) };
  return tab.evaluate((given) => window.show(given), { org, keys, entry: { ...honest, ...entry } });
}

/** What the verification comes to: the steps, and the verdict. */
async function verify(tab = page) {
  await tab.getByRole('button', { name: /^Verify/ }).click();
  const verdict = tab.locator('.verdict:not([hidden])');
  await verdict.waitFor();
  return { steps: await tab.locator('.steps li').evaluateAll((items) => items.map((item) => item.className)), verdict: await verdict.innerText(), level: await verdict.getAttribute('class') };
}

/** What the badge says after one more look. */
async function badge(tab = page, asOf) {
  await tab.evaluate((asOf) => window.badge.refresh(asOf), asOf);
  const element = tab.locator('button.badge');
  return `${(await element.getAttribute('class')).replace('badge ', '')}: ${await element.innerText()}`;
}

const TITLES = ['The bytes say what is shown', 'The hash is that of the bytes', 'The log contains the hash', 'The log is signed', 'The log continues what was seen before'];

/** It must fail at this step, and nothing after it be done. */
function assertFails({ steps, verdict, level }, step) {
  assert.equal(level, 'verdict bad', verdict);
  assert.match(verdict, new RegExp(`^Not proven: ${TITLES[step]}`));
  assert.deepEqual(steps, [...Array(step).fill('good'), 'bad']);
}

test('an entry is proven, with its cursor and no more requests than that', async () => {
  const { steps, verdict, level } = await verify();
  assert.equal(level, 'verdict good');
  assert.match(verdict, /^Proven: this entry stands unchanged at place 7 \(from 0\) of 20\.$/);
  assert.deepEqual(steps, Array(5).fill('good'));
  assert.deepEqual(service.asked, ['/ID7/proof?cursor=CURSOR']);
  assert.equal(await page.locator('#announcements').innerText(), verdict);
});

test('whatever is altered, the step that finds it is red', async (t) => {
  const proofs = (change) => (path, answered) => (path.endsWith('/proof') ? change(answered) : undefined);
  const line = (number, replacement) => proofs((text) => text.split('\n').map((old, index) => (index === number ? replacement(old) : old)).join('\n'));
  const otherHash = () => Buffer.alloc(32, 3).toString('base64');
  const forged = leaves(20).with(7, raw(8));
  const cases = [
    ['the bytes', 0, { entry: { raw: raw(7).replace('7.pdf', '8.pdf') } }],
    ['bytes and hash', 2, { entry: { raw: raw(7).replace('"n":7', '"n":9'), leafHash: log.leafHash(raw(7).replace('"n":7', '"n":9')).toString('hex') } }],
    ['what is shown', 0, { entry: { shown: { ...shown(7), user_id: 2 } } }],
    ['the organisation', 0, { org: 'org-12' }],
    ['the hash', 1, { entry: { leafHash: log.leafHash(raw(8)).toString('hex') } }],
    ['the place that is shown', 2, { entry: { shown: { ...shown(7), seq: 8 } } }],
    ['the proof’s place', 2, {}, line(1, () => 'index 6')],
    ['a hash of the proof', 2, {}, line(3, otherHash)],
    ['a hash less', 2, {}, proofs((text) => text.split('\n').toSpliced(3, 1).join('\n'))],
    ['no proof', 2, {}, proofs(() => '')],
    ['the proof of another entry', 2, {}, proofs(() => log.tlogProof(8, service.leaves, log.checkpoint(ORIGIN, service.leaves, KEY)))],
    ['the size', 3, {}, proofs((text) => text.replace('\n20\n', '\n24\n'))],
    ['the root', 2, {}, proofs((text) => text.replace(/\n20\n.*\n/, `\n20\n${otherHash()}\n`))],
    ['the signature', 3, {}, proofs((text) => text.replace(/ (\S{8})(\S+)\n$/, (_, id, rest) => ` ${id}${rest.slice(0, 20)}${rest[20] === 'A' ? 'B' : 'A'}${rest.slice(21)}\n`))],
    ['the key', 3, {}, proofs(() => log.tlogProof(7, service.leaves, log.checkpoint(ORIGIN, service.leaves, OTHER_KEY)))],
    ['the log of another organisation', 3, {}, proofs(() => log.tlogProof(7, service.leaves, log.checkpoint(`${NAME}/org-1`, service.leaves, KEY)))],
    ['the log of another name', 3, {}, proofs(() => log.tlogProof(7, service.leaves, log.checkpoint(`other.org/audit/${ORG}`, service.leaves, KEY)))],
    ['the tree, signed anew', 2, {}, proofs(() => log.tlogProof(7, forged, log.checkpoint(ORIGIN, forged, KEY)))],
    ['the pinned key', 3, { keys: [OTHER_KEY.vkey(NAME)] }],
    ['config.json', 3, { keys: [`${KEY.vkey(NAME)}x`] }],
  ];
  for (const [what, step, options, tamper] of cases) {
    await t.test(what, async () => {
      service.tamper = tamper ?? (() => undefined);
      await page.evaluate(() => localStorage.clear());
      await show(page, options);
      assertFails(await verify(), step);
    });
  }
});

test('without a pinned key it is consistent, and not green', async () => {
  const tab = await open({ keys: [] });
  const { steps, level, verdict } = await verify(tab);
  assert.deepEqual([steps, level], [Array(5).fill('good'), 'verdict warn']);
  assert.match(verdict, /^Consistent, key not pinned/);
  assert.match(await badge(tab), /^idle: Consistent, key not pinned · 20 entries · /);
  // Not even the service's own key: it lists another one.
  service.tamper = (path) => (path === '/keys' ? { keys: [{ vkey: OTHER_KEY.vkey(ORIGIN) }] } : undefined);
  assertFails(await verify(await open({ keys: [] })), 3);
});

test('a key may be pinned under the name of one log, beside old ones', async () => {
  const tab = await open({ keys: [OTHER_KEY.vkey(ORIGIN), OTHER_KEY.vkey('other.org'), KEY.vkey(ORIGIN)] });
  assert.equal((await verify(tab)).level, 'verdict good');
});

test('a log that grows continues; the badge asks for one proof', async () => {
  assert.match(await badge(), /^good: Sealed · 20 entries · /);
  service.leaves = leaves(33);
  service.asked = [];
  assert.match(await badge(page, { tree_size: 33, time: new Date().toISOString() }), /^good: Sealed · 33 entries · /);
  assert.deepEqual(service.asked, ['/consistency?from=20']);
  assert.equal((await verify()).level, 'verdict good');
  // Another tab has seen the same.
  service.leaves = leaves(40);
  const other = await open();
  assert.match((await verify(other)).verdict, /of 40/);
  assert.match(await badge(), /^good: Sealed · 40/);
});

test('a proof that is older than what is known by now is no rollback', async () => {
  await badge();
  let proof;
  service.tamper = (path, answered) => {
    if (!path.endsWith('/proof')) return undefined;
    // The log grows after the proof was made, and its newest checkpoint is seen before the proof arrives.
    proof = answered;
    service.leaves = leaves(30);
    return { status: 409, code: 'not_sealed_yet', detail: 'Not sealed yet' };
  };
  await page.getByRole('button', { name: 'Verify' }).click();
  await page.getByText('Not sealed yet, again in 1 s').waitFor();
  service.tamper = (path) => (path.endsWith('/proof') ? proof : undefined);
  assert.match(await badge(), /^good: Sealed · 30/);
  await page.locator('.verdict.good').getByText('place 7 (from 0) of 20.').waitFor();
});

for (const [what, change, message] of [
  ['another history of the same size', () => leaves(20, 'forged'), /two logs of 20 leaves/],
  ['a shorter log', () => leaves(15), /15 leaves, and had 20 before/],
]) {
  test(`${what} is a broken log, and stays one`, async () => {
    await badge();
    const honest = service.leaves;
    const earlier = log.checkpoint(ORIGIN, honest, KEY);
    service.leaves = change();
    const later = log.checkpoint(ORIGIN, service.leaves, KEY);
    assertFails(await verify(await open()), 4);
    assert.equal(await badge(), 'bad: Log broken');
    // It is not forgotten, even if the service answers as before.
    service.leaves = honest;
    const reopened = await open();
    assert.equal(await badge(reopened), 'bad: Log broken');
    assertFails(await verify(reopened), 4);
    await reopened.locator('button.badge').click();
    const dialog = reopened.getByRole('dialog');
    assert.match(await dialog.innerText(), message);
    for (const [name, note] of [['earlier', earlier], ['later', later]]) {
      const download = reopened.waitForEvent('download');
      await dialog.getByRole('button', { name: `Save the ${name}` }).click();
      assert.equal(await readFile(await (await download).path(), 'utf8'), note);
    }
    // Until somebody forgets it on purpose.
    await dialog.getByText('remembered since').click();
    await dialog.getByRole('button', { name: 'Forget them' }).click();
    await reopened.getByRole('button', { name: /^Sealed · 20/ }).waitFor();
  });
}

test('a log that is gone, or has another name, is not valid', async () => {
  await badge();
  service.tamper = () => ({ status: 409, code: 'not_sealed_yet', detail: 'Not sealed yet' });
  const head = { tree_size: 20, time: new Date().toISOString() };
  assert.equal(await badge(page, head), 'bad: Seal not valid');
  service.tamper = () => undefined;
  service.origin = `other.org/${ORG}`;
  assert.equal(await badge(await open({ keys: [] })), 'bad: Seal not valid');
  service.origin = ORIGIN;
  assert.match(await badge(await open()), /^good/);
});

for (const [what, size, tamper] of [
  ['another history that is longer', 25, () => undefined],
  ['a false proof between two true checkpoints', 25, (path, answered) => (path === '/consistency' ? { ...answered, proof: answered.proof.slice(1) } : undefined)],
  ['a false proof of one checkpoint', 20, (path, answered) => (path === '/consistency' ? { ...answered, proof: [Buffer.alloc(32).toString('base64')] } : undefined)],
]) {
  test(`${what} is red as long as it is so, and not kept as evidence`, async () => {
    await badge();
    const stored = await page.evaluate(() => JSON.stringify(localStorage));
    const earlier = log.checkpoint(ORIGIN, service.leaves, KEY);
    service.leaves = leaves(size, tamper('/consistency', { proof: [] }) ? '' : 'forged');
    const later = log.checkpoint(ORIGIN, service.leaves, KEY);
    service.tamper = tamper;
    for (const tab of [page, page, await open()]) assert.equal(await badge(tab), 'bad: Seal not valid');
    if (size > 20) assertFails(await verify(), 4);
    await page.locator('button.badge').click();
    const dialog = page.getByRole('dialog');
    assert.match(await dialog.innerText(), new RegExp(`${size} leaves is not proved to continue the one of 20`));
    for (const [name, note] of [['earlier', earlier], ['later', later]]) {
      const download = page.waitForEvent('download');
      await dialog.getByRole('button', { name: `Save the ${name}` }).click();
      assert.equal(await readFile(await (await download).path(), 'utf8'), note);
    }
    assert.equal(await page.evaluate(() => JSON.stringify(localStorage)), stored);
    service.tamper = () => undefined;
    service.leaves = leaves(30);
    assert.match(await badge(), /^good: Sealed · 30/);
  });
}

test('a broken log is red, even if nothing is said of how far it came', async () => {
  await badge();
  service.leaves = leaves(20, 'forged');
  service.tamper = (path) => (path === '/summary' ? { status: 503, code: 'unavailable', detail: 'It said so.' } : undefined);
  assert.equal(await badge(), 'bad: Log broken');
});

test('the badge is late when the log is', async () => {
  const ago = (minutes) => new Date(Date.now() - minutes * 60_000).toISOString();
  assert.match(await badge(page, { tree_size: 20, time: ago(64) }), /^good/);
  assert.match(await badge(page, { tree_size: 20, time: ago(66) }), /^warn: Late · newest entry 1/);
  assert.match(await badge(page, { tree_size: 25, time: ago(0.5) }), /^good/);
  assert.match(await badge(page, { tree_size: 25, time: ago(2) }), /^good/);
  const tab = await open();
  assert.match(await badge(tab, { tree_size: 25, time: ago(2) }), /^warn: Late · 5 not sealed/);
  service.leaves = leaves(25);
  assert.match(await badge(tab, { tree_size: 25, time: ago(2) }), /^good/);
});

test('what the service says of its newest entry must be credible', async () => {
  const at = (minutes) => new Date(Date.now() + minutes * 60_000).toISOString();
  const odd = /^warn: Its time is not credible$/;
  for (const head of [{ time: null }, { time: undefined }, { time: 'soon' }, { time: at(2) }, { tree_size: 19 }, { tree_size: undefined }]) {
    service.head = head;
    assert.match(await badge(), odd, JSON.stringify(head));
    // What was asked for before the checkpoint may be behind it: then it is asked for anew.
    assert.match(await badge(page, { tree_size: 19, time: at(0) }), odd, JSON.stringify(head));
  }
  service.head = {};
  assert.match(await badge(page, { tree_size: 20, time: at(2) }), odd);
  assert.match(await badge(page, { tree_size: 20, time: null }), odd);
  assert.match(await badge(page, { tree_size: 20, time: at(0.5) }), /^good/);
  assert.match(await badge(page, { tree_size: 19, time: at(0) }), /^good/);
  await page.locator('button.badge').click();
  await page.getByText('What this proves').click();
  assert.match(await page.getByRole('dialog').innerText(), /nor that the list is new and complete/);
});

test('an entry that should be sealed by now, and is not, is a warning', async () => {
  service.tamper = (path) => (path.endsWith('/proof') ? { status: 409, code: 'not_sealed_yet', detail: 'It said so.' } : undefined);
  const at = (ms) => {
    const t = Date.now() - ms;
    const entry = JSON.parse(raw(7));
    const bytes = JSON.stringify({ ...entry, t });
    const until = new Date(t);
    until.setUTCFullYear(until.getUTCFullYear() + 7);
    until.setUTCDate(until.getUTCDate() + 30);
    const { seq, ...unplaced } = { ...shown(7), timestamp: new Date(t).toISOString(), kept_until: `${until.toISOString().slice(0, 19)}Z` };
    return { placed: { ...unplaced, seq }, unplaced, raw: bytes, leafHash: log.leafHash(bytes).toString('hex') };
  };
  for (const [ms, name, level] of [[0, 'placed', 'warn'], [0, 'unplaced', 'idle'], [120_000, 'unplaced', 'warn']]) {
    const { [name]: entry, raw, leafHash } = at(ms);
    await show(page, { entry: { shown: entry, raw, leafHash } });
    const result = await verify();
    assert.equal(result.level, `verdict ${level}`, `${name} ${ms}`);
    assert.match(result.verdict, /sealer/);
  }
});

test('what would change the order in which bytes are read is shown as what it is; what is saved is exact', async () => {
  const odd = raw(7).replace('7.pdf', '\u202efdp.7');
  const leafHash = log.leafHash(odd).toString('hex');
  service.tamper = (path) => (path === '/ID7' ? { log: { ...shown(7), raw: odd, leaf_hash: leafHash } } : undefined);
  await show(page, { entry: { raw: odd, leafHash } });
  const { verdict } = await verify();
  assert.match(verdict, /\\u202efdp\.7/);
  assert.doesNotMatch(await page.locator('#main').innerText(), /\u202e/);
  await page.evaluate(() => window.details());
  await page.getByText('The exact bytes that are sealed').click();
  assert.equal(await page.locator('pre.raw').innerText(), odd.replace('\u202e', '\\u202e'));
  const download = page.waitForEvent('download');
  await page.locator('.details').getByRole('button', { name: 'Save the bytes' }).click();
  assert.equal(await readFile(await (await download).path(), 'utf8'), odd);
});

test('a badge that is gone asks for nothing', async () => {
  await badge();
  await page.evaluate(() => window.life.abort());
  service.asked = [];
  await page.evaluate(async () => {
    const { changes } = await import('./proof.js');
    changes.dispatchEvent(new Event('change'));
    await new Promise((done) => setTimeout(done, 300));
  });
  assert.deepEqual(service.asked, []);
});

test('what cannot be checked is not red, and says why', async () => {
  const answers = [
    [404, 'log_not_sealed', 'Not sealed', /does not seal/, 'warn'],
    [409, 'not_sealed_yet', 'Not sealed yet', /sealer/],
    [403, 'forbidden', 'Seal not checked', /said/],
    [503, 'unavailable', 'Seal not checked', /said/],
  ];
  for (const [status, code, title, next, expected = 'idle'] of answers) {
    service.tamper = () => ({ status, code, detail: 'It said so.' });
    assert.equal(await badge(page, { tree_size: 20, time: new Date().toISOString() }), `${expected}: ${title}`);
    if (code === 'not_sealed_yet') continue;
    const { verdict, level, steps } = await verify();
    assert.equal(level, `verdict ${expected}`);
    assert.match(verdict, next);
    assert.deepEqual(steps, ['good', 'good']);
  }
  // Without a pinned key nothing says that it should be sealed.
  service.tamper = () => ({ status: 404, code: 'log_not_sealed', detail: 'It said so.' });
  assert.equal(await badge(await open({ keys: [] })), 'idle: Not sealed');
  await context.setOffline(true);
  assert.equal(await badge(), 'idle: Seal not checked · offline');
  assert.match((await verify()).verdict, /when you are online/);
});

for (const [what, script] of [
  ['WebCrypto', () => Object.defineProperty(crypto, 'subtle', { value: undefined })],
  ['Ed25519', () => {
    const { importKey } = SubtleCrypto.prototype;
    SubtleCrypto.prototype.importKey = function (format, key, algorithm, ...rest) {
      if (algorithm === 'Ed25519') return Promise.reject(new DOMException('Unrecognized name', 'NotSupportedError'));
      return importKey.call(this, format, key, algorithm, ...rest);
    };
  }],
]) {
  test(`without ${what} the page says so, and offers the files`, async () => {
    await context.addInitScript(script);
    const tab = await open();
    assert.equal(await badge(tab), 'idle: Seal not checked');
    const { verdict, level } = await verify(tab);
    assert.equal(level, 'verdict idle');
    assert.match(verdict, /This browser cannot verify/);
    for (const [name, file, content] of [['bytes', 'ID7.json', raw(7)], ['proof', 'ID7.tlog-proof', answer('/ID7/proof')]]) {
      const download = tab.waitForEvent('download');
      await tab.getByRole('button', { name: `Save the ${name}` }).click();
      assert.equal((await download).suggestedFilename(), file);
      assert.equal(await readFile(await (await download).path(), 'utf8'), content);
    }
  });
}

test('where nothing can be stored, it is remembered as long as the page', async () => {
  await context.addInitScript(() => Object.defineProperty(window, 'localStorage', { get: () => { throw new DOMException('denied', 'SecurityError'); } }));
  const tab = await open();
  assert.match(await badge(tab), /^good/);
  service.leaves = leaves(20, 'forged');
  assert.equal(await badge(tab), 'bad: Log broken');
  service.leaves = leaves(20);
  assert.equal(await badge(tab), 'bad: Log broken');
});

test('only checkpoints are stored', async () => {
  for (const size of [20, 21, 22, 23, 24, 25, 26]) {
    service.leaves = leaves(size);
    await badge();
  }
  await verify();
  const stored = await page.evaluate(() => Object.entries(localStorage));
  assert.equal(stored.length, 1);
  const { seen, ...more } = JSON.parse(stored[0][1]);
  assert.deepEqual(more, {});
  assert.deepEqual(seen.map(({ note }) => note), [20, 23, 24, 25, 26].map((size) => log.checkpoint(ORIGIN, leaves(size), KEY)));
  assert.ok(!stored[0].join().includes('token') && !stored[0].join().includes('epcr'));
});
