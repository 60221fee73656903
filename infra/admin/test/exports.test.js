// Exports: what is asked for, and what is asked for again.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { ApiError } from '../../../admin-ui/log.js';
import { filterOf, insist } from '../../../admin-ui/exports.js';
import { parse } from '../../../admin-ui/query.js';
import { CHROMIUM } from '../../local/stack.js';

/** Answers these, one after the other; an error is thrown. */
function answering(...answers) {
  return async () => {
    const answer = answers.shift();
    if (answer instanceof Error) throw answer;
    return answer;
  };
}

const never = new AbortController().signal;
const SOON = 0.001;

test('a filter goes into an export as it goes into a search, without its order', () => {
  const { query } = parse('from:-7d -action:AUDIT_READ action:DELETE action:PURGE user:7 order:oldest');
  assert.deepEqual(filterOf(query, 'UTC', 0), {
    action_type: ['DELETE', 'PURGE'], not_action_type: 'AUDIT_READ', user_id: '7', from: '-7d',
  });
});

test('what passes is tried again and told; what does not is an error at once', async () => {
  const told = [];
  const passing = [new ApiError(503, 'unavailable', 'Busy', 'id', SOON), new ApiError(0, 'offline', 'Away.', 'id', SOON), new ApiError(409, 'export_in_progress', 'Works', 'id', SOON)];
  assert.equal(await insist(answering(...passing, 'done'), (text) => told.push(text), never), 'done');
  assert.deepEqual(told.map((text) => text.split('.')[0]), ['Busy', 'Away', 'Works', '']);
  for (const error of [new ApiError(403, 'forbidden', 'No'), new ApiError(410, 'export_expired', 'Over'), new ApiError(429, 'too_many_uploads', 'Full', 'id', 3600)]) {
    await assert.rejects(insist(answering(error), () => {}, never), error);
  }
});

test('who gives up does not wait', async () => {
  const stop = new AbortController();
  const waiting = insist(answering(new ApiError(503, 'unavailable', 'Busy', 'id', 60)), () => stop.abort(), stop.signal);
  await assert.rejects(waiting, { name: 'AbortError' });
});

let browser, page;
before(async () => {
  browser = await chromium.launch(CHROMIUM);
  page = await browser.newPage();
  await page.route('http://localhost/**', (route) => {
    const { pathname } = new URL(route.request().url());
    if (pathname === '/') return route.fulfill({ contentType: 'text/html', body: '<!doctype html><title>Audit log</title>' });
    return route.fulfill({ path: fileURLToPath(new URL(`../../../admin-ui${pathname}`, import.meta.url)) });
  });
});
after(() => browser?.close());

const SIGNED = 'https://files.example/signed';

/** An export that was begun by a person whose page is `life`; the service answers what the test says, and `asked` is what it heard. */
async function begin() {
  await page.goto('http://localhost/');
  await page.evaluate(async () => {
    const { openExport } = await import('./exports.js');
    const { ApiError } = await import('./log.js');
    const { parse } = await import('./query.js');
    const asked = [];
    const life = new AbortController();
    const answer = (what) => {
      asked.push(what);
      return new Promise((resolve, reject) => {
        globalThis.answers = (more) => resolve({ export_id: 'one', expires_at: '2030-01-01T00:00:00Z', scanned: 1, written: 1, bytes: 1, ...more });
        globalThis.fails = (seconds) => reject(new ApiError(503, 'unavailable', 'Busy.', '', seconds));
      });
    };
    Object.assign(globalThis, { asked, life });
    const api = { post: (path) => answer(`POST ${path}`), remove: (path) => answer(`DELETE ${path}`) };
    openExport({ api, query: parse('').query, zone: 'UTC', signal: life.signal });
  });
  await page.getByRole('button', { name: 'Start' }).click();
}

/** Somebody else signs in: what is left in the page at once, and what is asked later. */
async function somebodyElse(later = () => {}) {
  const html = await page.evaluate(() => (life.abort(), document.documentElement.outerHTML));
  assert.doesNotMatch(html, /<dialog|signed/);
  const before = await page.evaluate(() => asked.length);
  await page.evaluate(later);
  // Longer than any pause of these tests.
  await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 100)));
  assert.equal(await page.locator('dialog').count(), 0);
  assert.equal(await page.evaluate(() => asked.length), before, 'nothing is asked in the name of somebody else');
}

test('an export that is ready is not there for who signs in next', async () => {
  await begin();
  await page.evaluate((url) => answers({ url }), SIGNED);
  await page.getByRole('link', { name: 'Download' }).waitFor();
  await somebodyElse();
});

test('an export that goes on stops when somebody else signs in', async () => {
  await begin();
  await page.evaluate(() => answers({}));
  await page.waitForFunction(() => asked.length === 2);
  await somebodyElse(() => answers({ url: 'https://files.example/signed' }));
});

test('an export that waits is not tried again when somebody else signs in', async () => {
  await begin();
  await page.evaluate(() => fails(0.05));
  await page.getByText('Trying again').waitFor();
  await somebodyElse();
});

test('an export that is closed is cancelled, by who began it', async () => {
  await begin();
  await page.evaluate(() => answers({}));
  await page.waitForFunction(() => asked.length === 2);
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.locator('dialog').waitFor({ state: 'detached' });
  await page.evaluate(() => answers({}));
  await page.waitForFunction(() => asked.length === 3);
  assert.deepEqual(await page.evaluate(() => asked), ['POST /exports', 'POST /exports/one/continue', 'DELETE /exports/one']);
  await page.evaluate(() => fails(0.05));
  await somebodyElse();
});
