// The bar of filters in a browser, alone on a page with the page's own policy.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';

const CSP = "default-src 'none'; img-src 'self'; script-src 'self'; style-src 'self'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'";
const PAGE = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Filters</title>
<link rel="stylesheet" href="app.css"><main></main><script type="module" src="try.js"></script>`;
const TRY = `import { createFilters } from './filters.js';
import { format, parse } from './query.js';
let [query, zone] = [parse('from:-7d -action:AUDIT_READ').query, 'Europe/Berlin'];
const bar = createFilters({
  onChange: (next) => { asked.push(format(next)); bar.update({ query: query = next, zone }); },
  onZone: (next) => { bar.update({ query, zone: zone = next }); },
});
document.querySelector('main').append(bar.element);
window.asked = [];
window.set = (text) => bar.update({ query: query = parse(text).query, zone });
bar.update({ query, zone });`;
const TYPES = { js: 'text/javascript', css: 'text/css' };

const server = createServer(async ({ url = '/' }, answer) => {
  const name = url.slice(1);
  if (name === 'favicon.ico') return answer.writeHead(204).end();
  const type = TYPES[/** @type {keyof typeof TYPES} */ (name.split('.').pop())] ?? 'text/html';
  const body = name === '' ? PAGE : name === 'try.js' ? TRY : await readFile(new URL(`../../../admin-ui/${name}`, import.meta.url));
  answer.writeHead(200, { 'Content-Type': `${type}; charset=utf-8`, 'Content-Security-Policy': CSP }).end(body);
});
/** @type {import('playwright-core').Browser} */
let browser;
before(async () => {
  await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
  browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'] });
});
after(async () => {
  await browser?.close();
  server.close();
});

/**
 * A page of its own. Whatever it complains about is a failure.
 *
 * @param {string} name
 * @param {(page: import('playwright-core').Page, has: (text: string, chips: string[]) => Promise<void>) => Promise<void>} run
 * @param {{ width: number, height: number }} [viewport]
 */
function onPage(name, run, viewport = { width: 1280, height: 720 }) {
  test(name, async () => {
    const context = await browser.newContext({ viewport, timezoneId: 'America/New_York' });
    const page = await context.newPage();
    page.setDefaultTimeout(10_000);
    /** @type {string[]} */
    const complaints = [];
    page.on('console', (message) => complaints.push(message.text()));
    page.on('pageerror', (error) => complaints.push(error.message));
    const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
    await page.goto(`http://127.0.0.1:${port}/`);
    await run(page, async (text, chips) => {
      assert.equal(await page.getByRole('searchbox', { name: 'Filter' }).inputValue(), text);
      assert.deepEqual(await page.locator('.chip-words').allInnerTexts(), chips);
    });
    assert.deepEqual(complaints, []);
    await context.close();
  });
}

/** @type {(page: import('playwright-core').Page) => Promise<string | undefined>} */
const asked = (page) => page.evaluate(() => /** @type {any} */ (window).asked.at(-1));

onPage('typed text becomes chips, and chips change the text', async (page, has) => {
  await has('from:-7d -action:AUDIT_READ', ['From 7 days ago', 'Action is not AUDIT_READ']);
  const field = page.getByRole('searchbox', { name: 'Filter' });
  await field.fill('user:1 action:DELETE -success');
  await field.press('Enter');
  // What was typed stays as it was typed.
  await has('user:1 action:DELETE -success', ['Action is DELETE', 'User is 1', 'Outcome is failed']);
  assert.equal(await asked(page), 'action:DELETE user:1 -success');
  await page.getByRole('button', { name: 'Remove: User is 1' }).click();
  await has('action:DELETE -success', ['Action is DELETE', 'Outcome is failed']);
  // A short pause is enough.
  await field.fill('user:"a <b>b</b>"');
  await page.getByRole('button', { name: 'Remove: User is a <b>b</b>' }).waitFor();
  await has('user:"a <b>b</b>"', ['User is a <b>b</b>']);
});

onPage('what is wrong is said, and not asked for', async (page) => {
  const field = page.getByRole('searchbox', { name: 'Filter' });
  await field.fill('object:7 foo');
  await field.press('Enter');
  assert.deepEqual(await page.locator('#filter-problems li').allInnerTexts(), ['An object needs its type: add type:…', 'Say what “foo” is, such as user:foo']);
  assert.equal(await field.getAttribute('aria-invalid'), 'true');
  assert.equal(await asked(page), undefined);
  await field.fill('object:7 type:claim');
  await field.press('Enter');
  assert.equal(await page.locator('#filter-problems li').count(), 0);
  assert.equal(await asked(page), 'type:claim object:7');
});

onPage('a filter is added and changed by keyboard alone, and focus stays near', async (page, has) => {
  await page.getByRole('button', { name: 'Filter', exact: true }).press('Enter');
  const form = page.getByRole('dialog', { name: 'Add a filter' });
  await form.getByLabel('Field').selectOption('Object');
  await form.getByRole('textbox', { name: 'Type', exact: true }).fill('claim');
  await form.getByLabel('ID').fill('INV "7"');
  await form.getByLabel('ID').press('Enter');
  await has('from:-7d -action:AUDIT_READ type:claim object:"INV \\"7\\""', ['From 7 days ago', 'Action is not AUDIT_READ', 'Object type is claim', 'Object is INV "7"']);
  const chip = page.getByRole('button', { name: 'Object is INV "7"', exact: true });
  await chip.press('Enter');
  const change = page.getByRole('dialog', { name: 'Change the filter' });
  assert.equal(await change.getByLabel('Value').evaluate((input) => input === document.activeElement), true);
  await page.keyboard.press('Escape');
  await change.waitFor({ state: 'hidden' });
  assert.equal(await chip.evaluate((button) => button === document.activeElement), true);
  // Whoever leaves it by Tab has left it.
  await chip.press('Enter');
  await change.getByRole('button', { name: 'Apply' }).focus();
  await page.keyboard.press('Shift+Tab');
  assert.equal(await change.isVisible(), true);
  await page.getByRole('searchbox').focus();
  await change.waitFor({ state: 'hidden' });
  assert.equal(await page.evaluate(() => document.activeElement?.tagName), 'INPUT');
  await chip.press('Enter');
  await change.getByLabel('Condition').selectOption('is not');
  await change.getByRole('button', { name: 'Apply' }).press('Enter');
  assert.equal(await asked(page), 'from:-7d -action:AUDIT_READ type:claim -object:"INV \\"7\\""');
  await page.getByRole('button', { name: 'Object is not INV "7"', exact: true }).press('Delete');
  assert.equal(await asked(page), 'from:-7d -action:AUDIT_READ type:claim');
  assert.equal(await page.evaluate(() => document.activeElement?.closest('.chip') !== null), true);
});

onPage('a form says what is wrong with it', async (page) => {
  await page.getByRole('button', { name: 'Filter', exact: true }).click();
  const form = page.getByRole('dialog', { name: 'Add a filter' });
  await form.getByLabel('Field').selectOption('Address');
  await form.getByLabel('Value').fill('10.0.0');
  await form.getByRole('button', { name: 'Add' }).click();
  assert.equal(await form.getByRole('alert').innerText(), '“10.0.0” is no whole IPv4 or IPv6 address.');
  assert.equal(await asked(page), undefined);
});

onPage('ranges are relative, or exact on the clocks of the zone, and stay as they were written', async (page) => {
  await page.getByRole('button', { name: 'Last 7 days' }).click();
  await page.getByRole('button', { name: '24 h', exact: true }).click();
  assert.equal(await asked(page), 'from:-24h -action:AUDIT_READ');
  await page.getByRole('button', { name: 'Last 24 hours' }).click();
  const form = page.getByRole('dialog', { name: 'Time range' });
  await form.getByLabel('Before').fill('2026-11-21T06:30');
  await form.getByLabel('From').fill('2026-11-20T18:00');
  await form.getByLabel('Start').fill('18:00');
  await form.getByLabel('End').fill('07:00');
  await form.getByRole('button', { name: 'Apply' }).click();
  const written = 'from:2026-11-20T18:00 to:2026-11-21T06:30 -action:AUDIT_READ hours:18:00-07:00';
  assert.equal(await asked(page), written);
  await page.evaluate(() => /** @type {any} */ (window).set('from:2026-11-20T17:00:00Z to:2026-11-22'));
  await page.getByRole('button', { name: '2026-11-20 17:00:00Z – 2026-11-22' }).click();
  assert.equal(await form.getByLabel('From').inputValue(), '2026-11-20T18:00');
  await form.getByLabel('Before').fill('2026-11-23T00:00');
  await form.getByRole('button', { name: 'Apply' }).click();
  assert.equal(await asked(page), 'from:2026-11-20T17:00:00Z to:2026-11-23T00:00');
  await page.getByLabel('Time zone').selectOption('Australia/Lord_Howe');
  await page.locator('.filter-range').click();
  assert.equal(await form.getByLabel('From').inputValue(), '2026-11-21T04:00');
  // The button that opened it closes it, and opens it again.
  await page.locator('.filter-range').click();
  await form.waitFor({ state: 'hidden' });
  await page.locator('.filter-range').press('Enter');
  await form.waitFor();
  await page.getByRole('searchbox').click();
  await form.waitFor({ state: 'hidden' });
});

onPage('presets are switched on and off, beside what there is', async (page) => {
  const press = (/** @type {string} */ name) => page.getByRole('button', { name, exact: true }).click();
  await press('Deletes');
  await press('Hard deletes');
  await press('Failures');
  await press('Outside office hours');
  assert.equal(await asked(page), 'from:-7d action:DELETE action:PURGE -action:AUDIT_READ -success hours:18:00-07:00');
  assert.equal(await page.getByRole('button', { pressed: true }).count(), 4);
  await press('Deletes');
  await press('Outside office hours');
  await press('Failures');
  assert.equal(await asked(page), 'from:-7d action:PURGE -action:AUDIT_READ');
  assert.equal(await page.getByRole('button', { pressed: true }).innerText(), 'Hard deletes');
});

onPage('on the narrowest page, whatever opens is within it', async (page) => {
  for (const name of ['Last 7 days', 'Filter', 'Action is not AUDIT_READ']) {
    await page.getByRole('button', { name, exact: true }).click();
    const box = await page.getByRole('dialog').boundingBox();
    assert.ok(box && box.x >= 0 && box.y >= 0 && box.x + box.width <= 320 && box.y + box.height <= 480, `${name} ${JSON.stringify(box)}`);
    await page.keyboard.press('Escape');
  }
  assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 320);
  const small = await page.locator(':is(button, select, input):visible').evaluateAll((all) => all.filter((one) => one.getBoundingClientRect().height < 24 || one.getBoundingClientRect().width < 24).length);
  assert.equal(small, 0);
}, { width: 320, height: 480 });
