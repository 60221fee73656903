// What the tests stand on: the local stack with entries, Chromium, and pages that are watched while a test drives them.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { chromium } from 'playwright-core';
import { CHROMIUM, startStack } from '../../local/stack.js';

const PHOTO = new URL('../../../tests/fixtures/files/pillow.jpg', import.meta.url);
/** Elements that the page never makes itself: whoever sees one, sees what somebody slipped in. */
const STRANGE = 'script, style, link, meta, base, iframe, frame, object, embed, applet, portal, img:not([src="icon.svg"]), video, audio';
/** What a zone-dependent page shows must not depend on the machine. */
const ZONE = 'Europe/Berlin';

export const DAY = 24 * 60 * 60 * 1000;
export const PHONE = { width: 320, height: 640 };
export const DESK = { width: 1280, height: 800 };

/** Starts stack and browser; `stop` ends them. `page` is where the page is, unless another server has it. */
export async function start({ page } = {}) {
  const stack = await startStack();
  const browser = await chromium.launch(CHROMIUM);
  const stop = async () => {
    await browser.close();
    await stack.stop();
  };
  return { ...stack, page: page ?? stack.admin, browser, stop };
}

/**
 * The service's answer to a request of somebody.
 *
 * @param world
 * @param {Record<string, unknown>} claims of the token
 * @param {string} path below the API's base
 * @param {RequestInit} [init]
 */
export async function call(world, claims, path, init = {}) {
  const headers = { Authorization: `Bearer ${world.token(claims)}`, ...init.headers };
  return fetch(`${world.api}${path}`, { ...init, headers });
}

/** The same with a JSON body, answered as JSON. */
export async function send(world, claims, method, path, body, headers = {}) {
  const answer = await call(world, claims, path, {
    method,
    headers: { 'Content-Type': 'application/json', ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  return answer.json();
}

/** Claims of a person of org-123, whose id the platform shows as a number. */
export function person(id, role) {
  return { sub: String(id), user_id: id, role };
}

export const ADMIN = person(1, 'admin');
const ACCOUNTANT = person(7, 'accountant');
const CLINICIAN = person(9, 'clinician');

/** A day at work: uploads, links, deletes, hard deletes and refusals, by several people of two organisations. */
export async function work(world) {
  const stored = [];
  for (const [who, number] of [[ACCOUNTANT, 1], [ACCOUNTANT, 2], [ADMIN, 3], [ACCOUNTANT, 4]]) {
    stored.push(await upload(world, who, `receipt-${number}`));
  }
  const [first, second, third] = stored;
  const about = { related_object_type: 'expense', related_object_id: 'expense-17' };
  await send(world, ACCOUNTANT, 'POST', '/signed-url', { file_path: first, purpose: 'view', ...about });
  await send(world, ACCOUNTANT, 'POST', '/signed-url', { file_path: first, purpose: 'download', ...about });
  await send(world, ADMIN, 'POST', '/signed-url', { file_path: second });
  await call(world, ADMIN, `/metadata/${third}`);
  await send(world, ACCOUNTANT, 'DELETE', '/delete', { file_path: second, ...about });
  await send(world, ADMIN, 'DELETE', '/delete', { file_path: third, hard_delete: true });
  // Refused: a role's limits, what does not exist, another organisation's file.
  await send(world, CLINICIAN, 'DELETE', '/delete', { file_path: first });
  await send(world, ACCOUNTANT, 'DELETE', '/delete', { file_path: first, hard_delete: true });
  await send(world, ADMIN, 'POST', '/signed-url', { file_path: second });
  await call(world, person(3, 'member'), '/audit-logs');
  const others = { ...ADMIN, org_id: 'org-456' };
  const foreign = await upload(world, others, 'receipt-9');
  await send(world, ADMIN, 'POST', '/signed-url', { file_path: foreign });
  return { stored, foreign };
}

/** A photo, stored as a receipt; its path. */
export async function upload(world, claims, object) {
  const form = new FormData();
  form.set('file', new Blob([await readFile(PHOTO)], { type: 'image/jpeg' }), 'IMG_2024.jpg');
  form.set('org_id', claims.org_id ?? 'org-123');
  form.set('object_id', object);
  const answer = await call(world, claims, '/receipt-upload', { method: 'POST', body: form });
  return (await answer.json()).file_path;
}

/** Waits until everything that was written before is under the checkpoint. */
export async function sealed(world, claims = ADMIN) {
  const written = Date.now();
  for (;;) {
    const { logs } = await send(world, claims, 'GET', '/audit-logs?limit=500');
    // The reading's own entry is not among them.
    if (logs.filter(({ timestamp }) => Date.parse(timestamp) < written).every(({ seq }) => seq !== undefined)) return;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
}

/**
 * Opens the page in a browser of its own, and watches it to the test's end: no violation of its policy, no error, nothing
 * on the console, no dialog of the browser's, no element that it does not make, no request to anybody else, and none for its own
 * files that says anything.
 *
 * @param t the test
 * @param world
 * @param {{ fragment?: string, as?: string, expects?: RegExp, before?: (page) => Promise<void> } & import('playwright-core').BrowserContextOptions} [how]
 *   `as` is the role to sign in with; `expects` what the console may say; `before` runs before the page is opened
 */
export async function visit(t, world, { fragment = '', as, expects, before, ...options } = {}) {
  const context = await world.browser.newContext({ viewport: DESK, timezoneId: ZONE, locale: 'en-US', ...options });
  await context.addInitScript(watch, STRANGE);
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const faults = [];
  const ours = [world.page, world.api, world.s3].map((url) => new URL(url).origin);
  page.on('console', (message) => {
    const text = message.text();
    // The browser's own word on an answer that is an error, which tests provoke.
    if (!text.startsWith('Failed to load resource') && !expects?.test(text)) faults.push(`console: ${text}`);
  });
  page.on('pageerror', (error) => faults.push(`error: ${error.message} ${error.stack}`));
  page.on('dialog', (dialog) => {
    faults.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('request', (request) => {
    const url = new URL(request.url());
    const isApi = request.url().startsWith(world.api);
    if (['blob:', 'data:'].includes(url.protocol)) return;
    if (!ours.includes(url.origin)) faults.push(`request to ${url.origin}`);
    if (url.origin === new URL(world.page).origin && !isApi && url.search) faults.push(`request of ${url.pathname} says ${url.search}`);
  });
  page.on('popup', (popup) => faults.push(`window: ${popup.url()}`));
  t.after(async () => {
    await page.unrouteAll({ behavior: 'ignoreErrors' });
    await context.close();
    // Said even where the test failed for another reason, which they may be the cause of.
    for (const fault of faults) t.diagnostic(fault);
    assert.deepEqual(faults, []);
  });
  await before?.(page);
  await page.goto(`${world.page}${fragment}`);
  if (as) await signIn(page, as);
  return page;
}

/** Runs in the page, before anything of it. */
function watch(strange) {
  addEventListener('securitypolicyviolation', ({ effectiveDirective, blockedURI, sample }) => {
    console.error(`policy violated: ${effectiveDirective} ${blockedURI} ${sample}`);
  });
  const seen = new WeakSet();
  const runs = ({ name, value }) =>
    name.startsWith('on') || (/(href|src|action|data)$/.test(name) && /^\s*(javascript|data|vbscript):/i.test(value));
  const look = (element) => {
    if (seen.has(element)) return;
    seen.add(element);
    if (element.matches(strange) || [...element.attributes].some(runs)) {
      console.error(`strange element: ${element.outerHTML.slice(0, 200)}`);
    }
    for (const child of element.children) look(child);
  };
  addEventListener('DOMContentLoaded', () => {
    new MutationObserver((changes) => {
      for (const { addedNodes } of changes) [...addedNodes].filter((node) => node instanceof Element).forEach(look);
    }).observe(document, { childList: true, subtree: true });
  });
}

/** Signs in as the development identity of a role: one click. */
export async function signIn(page, role) {
  await page.getByRole('dialog').getByRole('button', { name: role }).click();
  await page.getByRole('dialog').waitFor({ state: 'hidden' });
}

/** Signs in with a token. */
export async function paste(page, token) {
  const dialog = page.getByRole('dialog');
  const field = dialog.getByLabel('Access token');
  const summary = dialog.getByText('Paste a token instead');
  await field.or(summary).first().waitFor();
  if (await summary.isVisible()) await summary.click();
  await field.fill(token);
  await dialog.getByRole('button', { name: 'Sign in', exact: true }).click();
  await dialog.waitFor({ state: 'hidden' });
}

/** Shows another view. */
export async function open(page, fragment) {
  await page.evaluate((fragment) => (location.hash = fragment), fragment);
}

/** The fragment of a view. */
export function view(q, more = {}) {
  return `#${new URLSearchParams({ q, tz: ZONE, ...more })}`;
}

/** The table of entries, and its rows. */
export function rows(page) {
  return page.getByRole('table', { name: 'Entries of the audit log' }).locator('tr[data-id]');
}
