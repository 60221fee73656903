// Texts that would be script or markup, in everything that an attacker may have a say in, show as the texts that they are.
// Every page that a test opens is watched (see `visit`): a script that runs, a dialog, an element that the page does not make, a
// request to somebody else, or a report of the policy fails the test.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { PAYLOADS } from './payloads.js';
import { insert } from './rows.js';
import { ADMIN, DAY, open, rows, send, sealed, start, view, visit } from './world.js';

const ALL_COLUMNS = 'time,action,outcome,user,file,object,address,request,device,place,kept';
/** What of an entry the columns show, and its details. Files are shown by their names in the list. */
const IN_LIST = ['action_type', 'user_id', 'role', 'related_object_type', 'related_object_id', 'ip_address', 'request_id', 'device_info'];
const IN_DETAILS = [...IN_LIST, 'sub', 'file_path', 'error_message'];
/** What callers may say in a header: visible ASCII. */
const FOR_HEADERS = PAYLOADS.filter((text) => /^[ -~]+$/.test(text));
const AT_ONCE = 8;

let world;
before(async () => {
  world = await start();
});
after(() => world?.stop());

test('the list is long enough', () => assert.ok(PAYLOADS.length >= 500, `${PAYLOADS.length}`));

test('what callers say, through the service', async (t) => {
  // A refused link: who asked (token), with what (user agent), about what (business object). Each word is another payload.
  const said = [...PAYLOADS.keys()];
  const ask = async () => {
    for (let at = said.pop(); at !== undefined; at = said.pop()) {
      const payload = (by) => PAYLOADS[(at + by) % PAYLOADS.length];
      const claims = { sub: payload(0), user_id: payload(1), role: payload(2), org_id: 'org-callers' };
      const about = { related_object_type: payload(3), related_object_id: payload(4) };
      const agent = { 'User-Agent': FOR_HEADERS[at % FOR_HEADERS.length] };
      const body = { file_path: 'org-callers/accounting/receipt/receipt-1/x.jpg', ...about };
      const { status } = await send(world, claims, 'POST', '/signed-url', body, agent);
      assert.equal(status, 403);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, ask));
  const admin = { ...ADMIN, org_id: 'org-callers' };
  for (const payload of PAYLOADS.slice(0, 20)) {
    await send(world, admin, 'GET', `/audit-logs?${new URLSearchParams({ not_role: payload, limit: '1' })}`);
  }
  await sealed(world, admin);
  // Their details are those of rows, which the next test opens one by one.
  await everyEntryShows(t, 'org-callers', PAYLOADS.length + 20, 10);
});

test('what only a row holds that somebody else wrote', async (t) => {
  const at = Date.now() - DAY;
  const entries = PAYLOADS.map((_, number) => {
    const payload = (by) => PAYLOADS[(number + by) % PAYLOADS.length];
    // The stored names of an entry's metadata: every text there is.
    const metadata = Object.fromEntries([...'fghkmoprstuw'].map((name, by) => [name, payload(20 + by)]));
    return {
      at: at + number,
      org_id: 'org-rows',
      action_type: 'UPLOAD',
      error_message: payload(0),
      file_path: payload(1),
      request_id: payload(2),
      ip_address: payload(3),
      device_info: payload(4),
      user_id: payload(5),
      role: payload(6),
      metadata,
    };
  });
  await insert(world, entries);
  await everyEntryShows(t, 'org-rows', PAYLOADS.length, 1);
});

test('what the service never says: payloads in every text of every answer', async (t) => {
  let number = 0;
  const poisoned = (value) => {
    if (typeof value === 'string') return PAYLOADS[number++ % PAYLOADS.length];
    if (Array.isArray(value)) return value.map(poisoned);
    if (value === null || typeof value !== 'object') return value;
    return Object.fromEntries(Object.entries(value).map(([name, value]) => [name, poisoned(value)]));
  };
  const page = await visit(t, world, {
    as: 'admin',
    before: (page) =>
      page.route(`${world.api}/**`, async (route) => {
        const answer = await route.fetch();
        const text = await answer.text();
        const isJson = answer.headers()['content-type'].includes('json');
        const body = isJson ? JSON.stringify(poisoned(JSON.parse(text))) : PAYLOADS.slice(0, 200).join('\n');
        await route.fulfill({ response: answer, body });
      }),
  });
  await insert(world, PAYLOADS.slice(0, 100).map((_, by) => ({ at: Date.now() - DAY - by })));
  for (const q of ['', 'from:-2d', 'file:x', 'from:-2d user:7']) {
    await open(page, view(q, { cols: ALL_COLUMNS }));
    await page.waitForLoadState('networkidle');
  }
  // A problem's words, too.
  await page.route(`${world.api}/**`, (route) => {
    const problem = { status: 500, code: PAYLOADS[number++ % PAYLOADS.length], detail: PAYLOADS.slice(0, 99).join(' '), request_id: PAYLOADS[3] };
    return route.fulfill({ status: 500, contentType: 'application/problem+json', body: JSON.stringify(problem) });
  });
  await open(page, view('from:-3d'));
  await page.getByText(PAYLOADS[0]).first().waitFor();
});

test('what a link says that somebody was sent', async (t) => {
  const page = await visit(t, world, { as: 'admin' });
  for (let at = 0; at < PAYLOADS.length; at += 20) {
    const some = PAYLOADS.slice(at, at + 20);
    const terms = some.map((text) => `-user:"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`);
    await open(page, view(terms.join(' ')));
    const chips = page.getByRole('list', { name: 'Filters in use' });
    await chips.getByText(some[0], { exact: true }).first().waitFor();
    const shown = await chips.textContent();
    for (const text of some) assert.ok(shown.includes(text), text);
  }
  // The same as the fragment itself, and in its other parts.
  for (const text of PAYLOADS.slice(0, 40)) {
    await open(page, `#${text}`);
    await open(page, view(text, { entry: text, tz: text, cols: text }));
  }
  await page.getByLabel('Filter', { exact: true }).waitFor();
});

/**
 * Goes through the whole log of an organisation, and holds every entry of the list against the service's answer; and every so
 * many-th one's details and bytes.
 */
async function everyEntryShows(t, org, count, every) {
  const logs = await everything(org);
  assert.ok(logs.length >= count, `${logs.length} entries of ${count}`);
  const byId = new Map(logs.map((log) => [log.id, log]));
  const page = await visit(t, world, {
    before: (page) => page.route('**/dev/tokens', (route) => route.fulfill({ json: identities(org) })),
    as: 'admin',
    fragment: view('', { cols: ALL_COLUMNS }),
  });
  let seen = 0;
  for (let number = 1; ; number++) {
    await page.getByText(`Page ${number}`, { exact: true }).waitFor();
    for (const { id, row, details, raw } of await page.evaluate(readAll, every)) {
      const entry = byId.get(id);
      // The reading of this page itself came later.
      if (!entry) continue;
      seen += 1;
      for (const text of texts(entry, IN_LIST)) assert.ok(row.includes(text), `${text} in the list`);
      if (details === undefined) continue;
      for (const text of [...texts(entry, IN_DETAILS), ...texts(entry.metadata, Object.keys(entry.metadata))]) {
        assert.ok(details.includes(text), `${text} in the details`);
      }
      const { log } = await send(world, { ...ADMIN, org_id: org }, 'GET', `/audit-logs/${id}`);
      assert.equal(raw, log.raw);
    }
    // On paper, too.
    if (number === 2) await page.pdf();
    const older = page.getByRole('button', { name: 'Older', exact: true });
    if (await older.isDisabled()) break;
    await older.click();
  }
  assert.equal(seen, logs.length);
}

const texts = (object, names) => names.map((name) => object[name]).filter((value) => value !== null && value !== undefined).map(String);

/** Runs in the page: tells what is to be read of each entry, and opens every so many-th. */
async function readAll(every) {
  const found = [];
  // What is read is text: laying out a hundred rows each time takes most of the time, and shows nobody anything.
  document.documentElement.hidden = true;
  for (const [at, row] of [...document.querySelectorAll('tr[data-id]')].entries()) {
    const entry = { id: row.dataset.id, row: row.textContent };
    found.push(entry);
    if (at % every !== 0) continue;
    row.querySelector('.toggle').click();
    const opened = () => document.querySelector(`tr[data-id="${entry.id}"] + .opened`);
    while (!opened()?.querySelector('.raw')) await new Promise((resolve) => setTimeout(resolve, 5));
    Object.assign(entry, { details: opened().textContent, raw: opened().querySelector('.raw').textContent });
  }
  document.documentElement.hidden = false;
  return found;
}

/** The organisation's whole log, as the service tells it. */
async function everything(org) {
  const claims = { ...ADMIN, org_id: org };
  const logs = [];
  for (let params = 'limit=500'; ; ) {
    const page = await send(world, claims, 'GET', `/audit-logs?${params}`);
    logs.push(...page.logs);
    if (!page.next_cursor) return logs;
    params = `cursor=${encodeURIComponent(page.next_cursor)}&limit=500`;
  }
}

/** What the stack would offer if the organisation were its own. */
function identities(org) {
  const [sub, role] = ['1', 'admin'];
  const expires_at = new Date(Date.now() + 3_600_000).toISOString();
  return { identities: [{ org_id: org, sub, role, token: world.token({ ...ADMIN, org_id: org }), expires_at }] };
}
