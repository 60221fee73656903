// The browser client, in Chromium, against the local stack.

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, before, test } from 'node:test';
import { LARGE_MIB, MIB, smallFile, start, zipFile } from './world.js';

const APP = { org_id: 'org-123', system: 'app-builder', object_type: 'source', object_id: 'app-101' };
const PDF = { org_id: 'org-123', system: 'workspace', object_type: 'pdf', object_id: 'doc-1' };
/** What a test answers in the place of service or bucket, a page must be able to read. */
const FOR_ANY_PAGE = { 'Access-Control-Allow-Origin': '*', 'Access-Control-Expose-Headers': '*' };
/** Waits that must not be there would be longer. */
const SOON = { timeout: 30_000 };

let world;
let admin;
before(async () => {
  world = await start();
  admin = world.token({ role: 'admin' });
});
after(() => world?.stop());

/** An open page of which `storage` is the client, and `file` what somebody chose. */
async function open(file, accessToken = admin) {
  const page = await world.browser.newPage();
  page.parts = [];
  page.on('request', (request) => {
    if (request.method() === 'PUT') page.parts.push(Number(new URL(request.url()).searchParams.get('partNumber')));
  });
  await page.goto(world.origin);
  await page.evaluate(
    async ([api, token]) => {
      const { Storage } = await import('/storage.js');
      window.storage = new Storage({ api, token: async () => token });
      window.input = document.querySelector('input');
    },
    [world.api, accessToken],
  );
  if (file) await page.setInputFiles('input', file.path);
  return page;
}

/** What an upload came to: its answer or error, and all that was told of its progress. */
function upload(page, context) {
  return page.evaluate(async (context) => {
    const progress = [];
    const onProgress = (sent, total) => progress.push([sent, total]);
    try {
      return { stored: await storage.upload(input.files[0], context, { onProgress }), progress };
    } catch (error) {
      return { error: { ...error, name: error.name, message: error.message }, progress };
    }
  }, context);
}

/** The name of the error that ends an upload once the page says `stop.abort()`. */
function uploadUntilStopped(page, context) {
  return page.evaluate((context) => {
    window.stop = new AbortController();
    return storage.upload(input.files[0], context, { signal: stop.signal }).catch((error) => error.name);
  }, context);
}

/** What a method of the client answers, or refuses. */
function call(page, method, ...args) {
  return page.evaluate(
    ([method, args]) => storage[method](...args).catch((error) => ({ error: { ...error } })),
    [method, args],
  );
}

function assertRisesTo(bytes, progress) {
  assert.deepEqual(progress.at(-1), [bytes, bytes]);
  for (const [index, [sent, total]] of progress.entries()) {
    assert.equal(total, bytes);
    if (index > 0) assert.ok(sent > progress[index - 1][0], `${sent} after ${progress[index - 1][0]}`);
  }
}

/** What was stored is the file, byte for byte. */
async function assertHolds(page, stored, file) {
  assert.equal(stored.metadata.size, file.bytes);
  const { url } = await call(page, 'signedUrl', stored.file_path, { purpose: 'download' });
  const hash = createHash('sha256');
  for await (const chunk of (await fetch(url)).body) hash.update(chunk);
  assert.equal(hash.digest('hex'), file.sha256);
}

/** Lets `decide` do something to a part that is sent to the bucket; where it answers nothing, the part goes its way. */
async function meddle(page, decide) {
  await page.route(
    (url) => url.searchParams.has('partNumber'),
    async (route) => {
      const number = Number(new URL(route.request().url()).searchParams.get('partNumber'));
      await (decide(number, route) ?? route.continue());
    },
  );
}

test('a small file is stored in one request, looked up, linked to and removed', async () => {
  const file = await smallFile(world.folder, 'small.pdf', '%PDF-1.7\n%%EOF\n');
  const page = await open(file);
  const { stored, progress } = await upload(page, { ...PDF, related_object_type: 'task', related_object_id: 'task-1' });
  assert.match(stored.file_path, /^org-123\/workspace\/pdf\/doc-1\/.*small\.pdf$/);
  assert.equal(stored.metadata.sha256, file.sha256);
  assert.equal(stored.metadata.original_filename, 'small.pdf');
  assertRisesTo(file.bytes, progress);

  const { size, mime_type } = await call(page, 'metadata', stored.file_path);
  assert.deepEqual({ size, mime_type }, { size: file.bytes, mime_type: 'application/pdf' });
  const { url, expires_at } = await call(page, 'signedUrl', stored.file_path, { expiresIn: 60, purpose: 'view' });
  assert.ok(Date.parse(expires_at) - Date.now() <= 60_000);
  assert.equal(await page.evaluate(async (url) => (await fetch(url)).text(), url), '%PDF-1.7\n%%EOF\n');

  await call(page, 'remove', stored.file_path);
  const { error } = await call(page, 'signedUrl', stored.file_path);
  assert.deepEqual([error.status, error.code, error.detail], [404, 'file_not_found', 'File not found']);
  assert.match(error.requestId, /^[0-9a-f-]{36}$/);
  await call(page, 'remove', stored.file_path, { hard: true });
});

test('a name that needs escaping is looked up as it is', async () => {
  const page = await open();
  const { error } = await call(page, 'metadata', 'org-123/workspace/pdf/doc-1/a b?c#d.pdf');
  assert.deepEqual([error.status, error.code], [400, 'invalid_path']);
});

test('a token that is not valid is an error with the code of the service', async () => {
  const page = await open(await smallFile(world.folder, 'small.pdf', '%PDF-1.7\n'), 'garbage');
  const { error } = await upload(page, PDF);
  assert.deepEqual([error.name, error.status, error.code], ['StorageError', 401, 'invalid_token']);
});

test('a small file of a wrong type is refused with its code', async () => {
  const page = await open(await smallFile(world.folder, 'text.pdf', 'This is text.'));
  const { error } = await upload(page, PDF);
  assert.deepEqual([error.status, error.code], [400, 'file_type_mismatch']);
});

test('a request that the service cannot answer now is made again with the same key', async () => {
  const page = await open(await smallFile(world.folder, 'again.pdf', '%PDF-1.7\nagain\n'));
  const keys = [];
  await page.route('**/api/storage/upload', async (route) => {
    keys.push(route.request().headers()['idempotency-key']);
    if (keys.length === 1) return route.abort('connectionreset');
    if (keys.length > 2) return route.continue();
    const headers = { ...FOR_ANY_PAGE, 'Retry-After': '1' };
    return route.fulfill({ status: 503, headers, json: { code: 'unavailable', detail: 'Try again' } });
  });
  const { stored } = await upload(page, PDF);
  assert.ok(stored);
  assert.equal(keys.length, 3);
  assert.match(keys[0], /^[\x21-\x7e]{1,128}$/);
  assert.equal(new Set(keys).size, 1);
});

test('whoever has to wait for long is told so at once', SOON, async () => {
  const page = await open(await smallFile(world.folder, 'small.pdf', '%PDF-1.7\n'));
  const headers = { ...FOR_ANY_PAGE, 'Retry-After': '3600' };
  await page.route('**/api/storage/upload', (route) => route.fulfill({ status: 429, headers, body: 'Not now' }));
  const { error } = await upload(page, PDF);
  assert.deepEqual([error.status, error.code, error.retryAfter], [429, 'http_429', 3600]);
});

test('an aborted upload ends with the reason of its signal', SOON, async () => {
  const page = await open(await smallFile(world.folder, 'small.pdf', '%PDF-1.7\n'));
  const sending = new Promise((resolve) => page.route('**/api/storage/upload', resolve));
  const aborted = uploadUntilStopped(page, PDF);
  await sending;
  await page.evaluate(() => stop.abort());
  assert.equal(await aborted, 'AbortError');
});

test('a large file goes to the bucket in parts, and its progress rises to its size', async () => {
  const file = await zipFile(world.folder, 'large.zip', LARGE_MIB * MIB);
  const page = await open(file);
  const { stored, progress, error } = await upload(page, APP);
  assert.equal(error, undefined);
  await assertHolds(page, stored, file);
  assertRisesTo(file.bytes, progress);
  assert.equal(new Set(page.parts).size, page.parts.length, 'no part is sent twice');
  assert.equal(await page.evaluate(() => localStorage.length), 0, 'an upload that has ended is forgotten');
});

test('a new page continues what a closed one began, and sends no finished part again', async () => {
  const file = await zipFile(world.folder, 'continued.zip', LARGE_MIB * MIB);
  const first = await open(file);
  const finished = [];
  first.on('requestfinished', (request) => {
    if (request.method() === 'PUT') finished.push(Number(new URL(request.url()).searchParams.get('partNumber')));
  });
  // The first half arrives; the rest is on its way when the page is closed.
  let halfSent;
  const half = new Promise((resolve) => (halfSent = resolve));
  let partCount;
  first.on('response', async (response) => {
    if (response.url().endsWith('/uploads')) ({ part_count: partCount } = await response.json());
  });
  await meddle(first, (number) => (number > partCount / 2 ? new Promise(() => {}) : undefined));
  first.on('requestfinished', () => finished.length >= Math.floor(partCount / 2) && halfSent());
  const ended = upload(first, APP).then(
    ({ error }) => assert.fail(`it ended before half was sent: ${error?.message}`),
    () => {},
  );
  await Promise.race([half, ended]);
  await first.close();
  assert.ok(finished.length > 0 && finished.length < partCount);

  const second = await open(file);
  const { stored, progress, error } = await upload(second, APP);
  assert.equal(error, undefined);
  await assertHolds(second, stored, file);
  assertRisesTo(file.bytes, progress);
  const all = Array.from({ length: partCount }, (_, index) => index + 1);
  assert.deepEqual(second.parts.sort((a, b) => a - b), all.filter((number) => !finished.includes(number)));
});

test('an upload that is discarded is not continued', SOON, async () => {
  const file = await zipFile(world.folder, 'discarded.zip', 6 * MIB);
  const page = await open(file);
  const asked = [];
  page.on('request', (request) => {
    if (/\/uploads(\/[^/]+)?$/.test(request.url())) asked.push(request.method());
  });
  const sending = new Promise((resolve) => meddle(page, () => new Promise(resolve)));
  const aborted = uploadUntilStopped(page, APP);
  await sending;
  await page.evaluate(() => stop.abort());
  assert.equal(await aborted, 'AbortError');
  await page.unrouteAll({ behavior: 'ignoreErrors' });
  assert.equal(await page.evaluate(() => localStorage.length), 1);
  await page.evaluate((context) => storage.discard(input.files[0], context), APP);
  assert.equal(await page.evaluate(() => localStorage.length), 0);
  const { stored } = await upload(page, APP);
  assert.equal(stored.metadata.sha256, file.sha256);
  assert.deepEqual(asked, ['POST', 'DELETE', 'POST']);
});

test('a part that fails twice is sent again', async () => {
  const file = await zipFile(world.folder, 'failing.zip', 12 * MIB);
  const page = await open(file);
  let failures = 0;
  await meddle(page, (number, route) => {
    if (number !== 2 || failures === 2) return undefined;
    failures++;
    return route.abort('connectionreset');
  });
  const { stored, progress, error } = await upload(page, APP);
  assert.equal(error, undefined);
  assert.equal(failures, 2);
  assert.equal(stored.metadata.sha256, file.sha256);
  assertRisesTo(file.bytes, progress);
});

test('a URL that the bucket does not take any more is replaced', async () => {
  const file = await zipFile(world.folder, 'dead-url.zip', 12 * MIB);
  const page = await open(file);
  // What a URL that has run out meets, without the quarter of an hour: its signature is not taken.
  let dead;
  const refused = [];
  page.on('response', (response) => response.status() === 403 && refused.push(response.url()));
  await meddle(page, (number, route) => {
    if (number === 1) dead ??= route.request().url();
    if (route.request().url() !== dead) return undefined;
    const url = new URL(dead);
    url.searchParams.set('X-Amz-Signature', '0'.repeat(64));
    return route.continue({ url: url.href });
  });
  const { stored, error } = await upload(page, APP);
  assert.equal(error, undefined);
  assert.equal(refused.length, 1);
  assert.equal(stored.metadata.sha256, file.sha256);
});

test('a part that the bucket did not keep is sent again', async () => {
  const file = await zipFile(world.folder, 'lost-part.zip', 12 * MIB);
  const page = await open(file);
  let lost = false;
  await meddle(page, (number, route) => {
    if (number !== 2 || lost) return undefined;
    lost = true;
    return route.fulfill({ status: 200, headers: FOR_ANY_PAGE });
  });
  const { stored, error } = await upload(page, APP);
  assert.equal(error, undefined);
  assert.ok(lost);
  assert.equal(stored.metadata.sha256, file.sha256);
});

test('a large file of a wrong type is refused with its code', async () => {
  const page = await open(await smallFile(world.folder, 'large-text.pdf', 'This is text.\n'.repeat(MIB / 2)));
  const { error } = await upload(page, PDF);
  assert.deepEqual([error.status, error.code], [400, 'file_type_mismatch']);
});

test("the README's page uploads, shows and deletes a file", async () => {
  const file = await smallFile(world.folder, 'receipt.pdf', '%PDF-1.7\n%%EOF\n');
  const page = await world.browser.newPage();
  page.on('dialog', (dialog) => dialog.accept(admin));
  await page.goto(`${world.origin}/readme`);
  await page.setInputFiles('input', file.path);
  const link = page.locator('a');
  await link.waitFor();
  assert.match(await link.getAttribute('href'), /X-Amz-Signature/);
  await page.locator('button').click();
  await page.getByText('Deleted.').waitFor();
});
