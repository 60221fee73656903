// What goes wrong between the page and the service: nothing is shown twice, left out or asked for in vain.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { insert } from './rows.js';
import { ADMIN, DAY, open, paste, person, rows, send, start, view, visit } from './world.js';

/** Three pages: the entries of one address. */
const MANY = 250;
const WEEK = view('from:-7d ip:198.51.100.77');

let world;
before(async () => {
  world = await start();
  const at = Date.now() - DAY;
  await insert(world, Array.from({ length: MANY }, (_, number) => ({
    at: at + number * 1000, action_type: 'VIEW', user_id: 7, ip_address: '198.51.100.77',
    file_path: `accounting/receipt/receipt-${number}/scan.pdf`,
  })));
});
after(() => world?.stop());

const LIST = /\/audit-logs\?/;
const ids = (page) => page.$$eval('tr[data-id]', (all) => all.map(({ dataset }) => dataset.id));
const press = (page, name) => page.getByRole('button', { name, exact: true }).click();
const shows = (page, number) => page.getByText(`Page ${number}`, { exact: true }).waitFor();

/** Every second request for entries of a page is refused: pages are fetched in two looks, of which the second fails once. */
async function halves(page) {
  let fails = false;
  await page.route(LIST, async (route) => {
    const url = new URL(route.request().url());
    const limit = Number(url.searchParams.get('limit') ?? 100);
    if (limit < 100 && fails) {
      fails = false;
      return route.fulfill({ status: 503, contentType: 'application/problem+json', body: '{"code":"unavailable","detail":"Later"}' });
    }
    // A look that finds 60 at most, as one does that has to look far.
    url.searchParams.set('limit', String(Math.min(limit, 60)));
    return route.continue({ url: url.href });
  });
  return () => (fails = true);
}

test('a page that failed half-way is shown whole when it is tried again', async (t) => {
  const page = await visit(t, world, { fragment: WEEK, as: 'admin' });
  const breakNext = await halves(page);
  await shows(page, 1);
  const first = await ids(page);
  breakNext();
  await press(page, 'Older');
  await press(page, 'Try again');
  await shows(page, 2);
  const second = await ids(page);
  assert.equal(second.length, 100);
  assert.ok(second[0] < first.at(-1));
  await press(page, 'Older');
  await shows(page, 3);
  assert.equal(new Set([...first, ...second, ...(await ids(page))]).size, MANY);

  breakNext();
  await press(page, 'Newer');
  await press(page, 'Try again');
  await shows(page, 2);
  assert.deepEqual(await ids(page), second);
  breakNext();
  await press(page, 'Newer');
  await press(page, 'Try again');
  await shows(page, 1);
  assert.deepEqual(await ids(page), first);
});

test('what is newer belongs to the first page, and live ends with it', async (t) => {
  const page = await visit(t, world, { fragment: view('from:-7d -action:AUDIT_READ'), as: 'admin' });
  await shows(page, 1);
  await press(page, 'Live');
  await page.getByText('Following live').waitFor();
  await send(world, person(7, 'accountant'), 'POST', '/signed-url', { file_path: 'org-123/accounting/receipt/none/none.jpg' });
  await rows(page).getByText('none.jpg').first().waitFor();
  await press(page, 'Older');
  await shows(page, 2);
  assert.equal(await page.getByRole('button', { name: 'Live', exact: true }).getAttribute('aria-pressed'), 'false');
  assert.ok(await page.getByText('Following live').isHidden());
  assert.ok(await page.locator('.pill').isHidden());
  assert.equal((await ids(page)).length, 100);
});

test('live says that there is no connection', async (t) => {
  const page = await visit(t, world, { fragment: view('from:-7d'), as: 'admin' });
  await shows(page, 1);
  await page.route(LIST, (route) => route.abort());
  await press(page, 'Live');
  await page.getByText('Live: no connection').waitFor();
  await page.unroute(LIST);
  await page.getByText('Following live').waitFor();
});

test('an entry of a link is read once, and one that is not there is not asked for again and again', async (t) => {
  const { logs } = await send(world, ADMIN, 'GET', '/audit-logs?limit=1&action_type=VIEW');
  const page = await visit(t, world, { fragment: `${WEEK}&entry=${logs[0].id}` });
  const asked = [];
  page.on('request', (request) => /\/audit-logs\/0/.test(request.url()) && asked.push(new URL(request.url()).searchParams.has('cursor')));
  await paste(page, world.token(ADMIN));
  await page.getByRole('button', { name: 'Verify', exact: true }).waitFor();
  assert.deepEqual(asked, [true], 'covered by the query that shows it');

  asked.length = 0;
  await open(page, `${WEEK}&entry=01ARZ3NDEKTSV4RRFFQ69G5FAV`);
  await page.getByText('cannot be shown').waitFor();
  await press(page, 'Live');
  const looks = () => page.waitForResponse(LIST);
  await looks();
  await looks();
  assert.equal(asked.length, 1);
});

test('another entry than the one asked for is not shown in its place', async (t) => {
  const { logs } = await send(world, ADMIN, 'GET', '/audit-logs?limit=2&action_type=VIEW');
  const page = await visit(t, world, { fragment: `${view('from:-7d action:UPLOAD')}&entry=${logs[0].id}`, as: 'admin' });
  await page.getByRole('region', { name: `Entry ${logs[0].id}` }).waitFor();
  const { log } = await send(world, ADMIN, 'GET', `/audit-logs/${logs[1].id}`);
  await page.route(/\/audit-logs\/0/, (route) => route.fulfill({ json: { log } }));
  await open(page, `${view('from:-6d action:UPLOAD')}&entry=${logs[0].id.slice(0, -1)}0`);
  await page.getByText('answered with another entry').waitFor();
});

test('a link that is not understood asks for nothing until it is put right', async (t) => {
  const page = await visit(t, world, {});
  const asked = [];
  page.on('request', (request) => LIST.test(request.url()) && asked.push(request.url()));
  await open(page, view('from:-7d action:DELTE user:7'));
  await paste(page, world.token(ADMIN));
  await page.getByRole('heading', { name: 'This filter is not understood' }).waitFor();
  assert.deepEqual(asked, []);
  const field = page.getByRole('searchbox', { name: 'Filter' }).or(page.getByRole('textbox', { name: 'Filter' }));
  assert.equal(await field.inputValue(), 'from:-7d action:DELTE user:7');
  await field.fill('from:-7d action:DELETE user:7');
  await field.press('Enter');
  await page.getByRole('heading', { name: 'No entry matches' }).waitFor();
});

test('an open entry stays behind with its page', async (t) => {
  const page = await visit(t, world, { fragment: WEEK, as: 'admin' });
  await shows(page, 1);
  await rows(page).first().locator('.toggle').click();
  await page.getByRole('button', { name: 'Verify', exact: true }).waitFor();
  const asked = [];
  page.on('request', (request) => /\/audit-logs\/0/.test(request.url()) && asked.push(request.url()));
  await press(page, 'Older');
  await shows(page, 2);
  assert.ok(!page.url().includes('entry='));
  assert.equal(await page.getByRole('region', { name: /^Entry / }).count(), 0);
  assert.deepEqual(asked, []);
});

test('the keyboard goes on in the list after a page was turned', async (t) => {
  const page = await visit(t, world, { fragment: WEEK, as: 'admin' });
  await shows(page, 1);
  await page.getByRole('button', { name: 'Older', exact: true }).focus();
  await page.keyboard.press('Enter');
  await shows(page, 2);
  await page.waitForFunction(() => document.activeElement?.closest('.list'));
});

test('bars and list come back together', async (t) => {
  const page = await visit(t, world, { fragment: WEEK, as: 'admin' });
  await shows(page, 1);
  await page.context().setOffline(true);
  await open(page, view('from:-7d'));
  await page.getByRole('heading', { name: 'Offline' }).waitFor();
  await page.context().setOffline(false);
  await rows(page).first().waitFor();
  await page.locator('.bars [role=option]').first().waitFor();
});

test('somebody else begins with a view of their own', async (t) => {
  const page = await visit(t, world, { fragment: view('from:-7d user:somebody-private'), before: (page) => page.clock.install() });
  const asked = [];
  page.on('request', (request) => LIST.test(request.url()) && asked.push(request.url()));
  await paste(page, world.token({ ...ADMIN, exp: Math.floor(Date.now() / 1000) + 600 }));
  await page.getByRole('heading', { name: 'No entry matches' }).waitFor();
  asked.length = 0;
  await page.clock.fastForward(600_000);
  await paste(page, world.token({ ...ADMIN, org_id: 'org-456' }));
  await page.getByText('org-456').first().waitFor();
  await page.waitForFunction(() => !document.querySelector('[aria-busy=true]'));
  assert.ok(!decodeURIComponent(page.url()).includes('somebody-private'));
  assert.ok(asked.every((url) => !url.includes('somebody-private')), asked.join());
});
