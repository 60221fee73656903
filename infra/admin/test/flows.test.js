// What people do here, done as they do it: by what they read on the page, with pointer or keyboard.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { insert } from './rows.js';
import { ADMIN, DAY, call, open, person, rows, sealed, send, signIn, start, upload, view, visit, work } from './world.js';

/** Who deleted it, when, and what. */
const DELETED = 'receipt-77/20261101_091500_pump_invoice.pdf';
const ROUTINE = 'receipt-5/20261101_101500_fuel.pdf';

let world;
before(async () => {
  world = await start();
  await work(world);
  const day = (days, more) => ({ at: Date.now() - days * DAY, user_id: 7, ...more });
  await insert(world, [
    day(6.5, { action_type: 'UPLOAD', file_path: `accounting/receipt/${DELETED}` }),
    day(6, { action_type: 'VIEW', file_path: `accounting/receipt/${ROUTINE}` }),
    day(5, { action_type: 'DELETE', file_path: `accounting/receipt/${ROUTINE}`, user_id: 8 }),
    day(4, { action_type: 'DELETE', file_path: `accounting/receipt/${DELETED}`, user_id: 42, role: 'accountant', ip_address: '198.51.100.23' }),
  ]);
  await sealed(world);
});
after(() => world?.stop());

test('find who deleted a file last week, prove it, and show it to somebody else', async (t) => {
  const permissions = ['clipboard-read', 'clipboard-write'];
  const page = await visit(t, world, { permissions });
  await signIn(page, 'admin');

  await page.getByRole('button', { name: 'Deletes', exact: true }).click();
  await page.getByRole('list', { name: 'Filters in use' }).getByText('DELETE').waitFor();
  const found = rows(page).filter({ hasText: 'pump_invoice.pdf' });
  await found.waitFor();
  assert.deepEqual(await texts(actions(page)), Array(await rows(page).count()).fill('DELETE'));
  // By a click on its name: only this file.
  await found.getByRole('button', { name: 'pump_invoice.pdf' }).click();
  await page.getByRole('menuitem', { name: 'Only' }).click();
  await page.waitForFunction(() => document.querySelectorAll('tr[data-id]').length === 1);
  // The whole of it: a time may have these digits, too.
  await rows(page).getByRole('button', { name: '42', exact: true }).waitFor();

  await rows(page).locator('.toggle').click();
  const entry = page.getByRole('region', { name: /^Entry / });
  await entry.getByRole('button', { name: '198.51.100.23' }).waitFor();
  await verify(entry);

  await entry.getByRole('button', { name: 'Copy link' }).click();
  await page.getByText('Link to the entry copied').first().waitFor();
  const link = await page.evaluate(() => navigator.clipboard.readText());
  assert.equal(new URL(link).search, '');

  // Somebody else, in another browser.
  const other = await visit(t, world, { fragment: new URL(link).hash });
  await signIn(other, 'auditor');
  const same = other.getByRole('region', { name: /^Entry / });
  await same.getByRole('button', { name: '198.51.100.23' }).waitFor();
  assert.equal(await same.getAttribute('aria-label'), await entry.getAttribute('aria-label'));
  await verify(same);
});

for (const [format, name] of [['csv', 'CSV'], ['ndjson', 'NDJSON'], ['ocsf', 'OCSF']]) {
  test(`take it along as ${name}`, async (t) => {
    const page = await visit(t, world, { as: 'admin', fragment: view('from:-30d action:DELETE'), acceptDownloads: true });
    await rows(page).first().waitFor();
    await page.getByRole('button', { name: 'Export', exact: true }).click();
    const dialog = page.getByRole('dialog', { name: /export/i });
    await dialog.getByRole('radio', { name }).check();
    await dialog.getByRole('button', { name: 'Start' }).click();
    const link = dialog.getByRole('link', { name: 'Download' });
    await link.waitFor();
    const waiting = page.waitForEvent('download');
    await link.click();
    const content = await readFile(await (await waiting).path());
    // The service's own copy of the same.
    const body = { format, filter: { from: '-30d', action_type: 'DELETE' } };
    let own = await send(world, ADMIN, 'POST', '/audit-logs/exports', body);
    while (!own.url) own = await send(world, ADMIN, 'POST', `/audit-logs/exports/${own.export_id}/continue`);
    assert.deepEqual(content, Buffer.from(await (await fetch(own.url)).arrayBuffer()));
    assert.ok(content.includes('pump_invoice.pdf'));
  });
}

test('without a pointer', async (t) => {
  const page = await visit(t, world, { as: 'auditor' });
  await rows(page).first().waitFor();
  const press = (...keys) => keys.reduce((before, key) => before.then(() => page.keyboard.press(key)), Promise.resolve());

  await press('/');
  await focusIs(page, 'Filter');
  await press('ControlOrMeta+a');
  await page.keyboard.type('from:-30d user:42 action:DELETE');
  await press('Enter');
  await page.waitForFunction(() => document.querySelectorAll('tr[data-id]').length === 1);
  await page.evaluate(() => /** @type {HTMLElement} */ (document.activeElement).blur());
  await press('j', 'Enter');
  const entry = page.getByRole('region', { name: /^Entry / });
  await entry.getByRole('button', { name: 'Verify' }).waitFor();
  // By Tab to the button, as whoever sees no pointer goes.
  for (let steps = 0; !(await isFocused(entry.getByRole('button', { name: 'Verify' }))); steps++) {
    assert.ok(steps < 40, 'Tab does not lead to “Verify”');
    await press('Tab');
  }
  await press('Enter');
  await entry.getByText(/^(Proven|Consistent)/).waitFor();
  await press('Escape');
  await entry.waitFor({ state: 'detached' });
  assert.ok(await isFocused(rows(page).locator('.toggle')), 'the focus is where it came from');

  await open(page, view('from:-30d'));
  await page.waitForFunction(() => document.querySelectorAll('tr[data-id]').length > 5);
  await press('j', 'j', 'k');
  assert.ok(await isFocused(rows(page).nth(0).locator('.toggle')));

  await press('?');
  const help = page.getByRole('dialog', { name: 'Keyboard' });
  await help.waitFor();
  // Single keys can be switched off: for those who speak to their computer, or whose hands tremble.
  await help.getByRole('checkbox').uncheck();
  await press('Escape');
  await help.waitFor({ state: 'hidden' });
  await press('/');
  assert.ok(!(await isFocused(page.getByLabel('Filter', { exact: true }))));
  await page.getByRole('button', { name: 'Keyboard help' }).click();
  await help.getByRole('checkbox').check();
  await press('Escape', '/');
  await focusIs(page, 'Filter');
});

test('Back and Forward are the views before and after', async (t) => {
  const page = await visit(t, world, { as: 'admin', fragment: view('from:-30d') });
  await rows(page).first().waitFor();
  const all = await rows(page).count();
  const filter = page.getByLabel('Filter', { exact: true });
  await filter.fill('from:-30d user:42');
  await filter.press('Enter');
  await page.waitForFunction(() => document.querySelectorAll('tr[data-id]').length === 1);
  await page.goBack();
  await page.waitForFunction((all) => document.querySelectorAll('tr[data-id]').length >= all, all);
  assert.equal(await filter.inputValue(), 'from:-30d');
  await page.goForward();
  await page.waitForFunction(() => document.querySelectorAll('tr[data-id]').length === 1);
  assert.equal(await filter.inputValue(), 'from:-30d user:42');
});

test('what is written meanwhile: told, and shown as it comes', async (t) => {
  const page = await visit(t, world, {
    fragment: view('from:-1h action:UPLOAD'),
    before: (page) => page.clock.install(),
  });
  await signIn(page, 'admin');
  await rows(page).first().waitFor();
  const before = await rows(page).count();
  await upload(world, person(7, 'accountant'), 'receipt-new');
  await page.clock.runFor(20_000);
  const pill = page.getByRole('button', { name: '1 newer' });
  await pill.click();
  await rows(page).nth(before).waitFor();
  assert.ok((await rows(page).first().textContent()).includes('just now'));

  await page.getByRole('button', { name: 'Live' }).click();
  await page.getByText('Following live').waitFor();
  await upload(world, person(7, 'accountant'), 'receipt-newer');
  await page.clock.runFor(5_000);
  await rows(page).nth(before + 1).waitFor();
  await page.getByRole('button', { name: 'Live' }).click();
  assert.equal(await page.getByRole('button', { name: 'Live' }).getAttribute('aria-pressed'), 'false');
});

test('a value anywhere is a filter; reading the log is out of sight until somebody wants it', async (t) => {
  const page = await visit(t, world, { as: 'admin' });
  await rows(page).first().waitFor();
  const chips = page.getByRole('list', { name: 'Filters in use' });
  assert.ok(!(await texts(actions(page))).includes('AUDIT_READ'));
  await chips.getByRole('button', { name: 'Remove: Action is not AUDIT_READ' }).click();
  await rows(page).getByText('AUDIT_READ').first().waitFor();

  await rows(page).getByRole('button', { name: 'AUDIT_READ' }).first().click();
  await page.getByRole('menuitem', { name: 'Without' }).click();
  await chips.getByText('Action is not').waitFor();
  await page.waitForFunction(() => ![...document.querySelectorAll('tr[data-id] [data-label="Action"]')].some(({ textContent }) => textContent === 'AUDIT_READ'));

  // In the details: everything of a request, the whole history of a file.
  const purge = rows(page).filter({ hasText: 'PURGE' }).first();
  await purge.locator('.toggle').click();
  await page.getByRole('button', { name: 'Everything of it' }).click();
  await page.waitForFunction(() => document.querySelectorAll('tr[data-id]').length === 2);
  assert.deepEqual((await texts(actions(page))).sort(), ['DELETE', 'PURGE']);
  await rows(page).first().locator('.toggle').click();
  await page.getByRole('button', { name: 'Its whole history' }).click();
  await rows(page).filter({ hasText: 'UPLOAD' }).waitFor();
});

test('what another organisation did is not here', async (t) => {
  const page = await visit(t, world, { as: 'admin', fragment: view('from:-30d') });
  await rows(page).first().waitFor();
  const { logs } = await (await call(world, { ...ADMIN, org_id: 'org-456' }, '/audit-logs?action_type=UPLOAD')).json();
  assert.equal(logs.length, 1);
  await open(page, view('from:-30d', { entry: logs[0].id }));
  await page.getByText('cannot be shown').waitFor();
});

/** Verifies the open entry: every step is green. */
async function verify(entry) {
  await entry.getByRole('button', { name: 'Verify', exact: true }).click();
  await entry.getByText(/^(Proven|Consistent, key not pinned)/).waitFor();
  const steps = entry.locator('.steps li');
  assert.equal(await steps.count(), 5);
  assert.equal(await entry.locator('.steps li.good').count(), 5);
}

const actions = (page) => rows(page).locator('[data-label="Action"]');
const texts = (locator) => locator.allTextContents();

const isFocused = (locator) => locator.evaluate((element) => element === document.activeElement);

async function focusIs(page, label) {
  await page.waitForFunction((label) => document.activeElement?.getAttribute('aria-label') === label, label);
}
