// Every state of the page, in both themes: axe finds nothing, and it fits a phone of 320 CSS px, which is also what 1280 px are at
// 400 % zoom. SCREENSHOTS=folder keeps pictures of all of them, for people to look at.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import axe from 'axe-core';
import { insert } from './rows.js';
import { ADMIN, DAY, DESK, PHONE, open, rows, sealed, send, signIn, start, view, visit, work } from './world.js';

const { SCREENSHOTS } = process.env;
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
/** 1280 x 1024 at 400 %. */
const ZOOMED = { width: 320, height: 256 };

let world;
before(async () => {
  if (SCREENSHOTS) await mkdir(SCREENSHOTS, { recursive: true });
  world = await start();
  await work(world);
  const names = ['fuel.pdf', 'a-receipt-whose-name-says-everything-that-there-is-to-say-about-it-and-more-2026.pdf', 'épicerie.jpg'];
  const actions = ['UPLOAD', 'VIEW', 'DOWNLOAD', 'DELETE', 'SIGNED_URL_GENERATED', 'METADATA_READ'];
  await insert(world, Array.from({ length: 12 }, (_, number) => ({
    at: Date.now() - 6 * DAY + number * 40_000_000,
    action_type: actions[number % actions.length],
    file_path: `accounting/receipt/receipt-${number}/${names[number % names.length]}`,
    user_id: number % 5 === 0 ? 'jane.doe@ambulance.example.com' : number % 9,
    ...(number % 7 === 0 && { error_message: 'forbidden: the role accountant may not do this' }),
    ...(number % 3 === 0 && { related_object_type: 'expense', related_object_id: `expense-${number}` }),
  })));
  await sealed(world);
});
after(() => world?.stop());

const api = (path) => `${world.api}/audit-logs${path}`;
const answers = (path, answer) => (page) => page.route(api(path), (route) => route.fulfill(answer));
const problem = (status, code, detail) => ({
  status,
  contentType: 'application/problem+json',
  body: JSON.stringify({ status, code, detail, request_id: '01a201a3-cc16-07c3-e5c6-dc0f7e30986b' }),
});
/** The answer to a search, all but its entries. */
const PAGE = { complete: true, scanned: 0, count: 0, logs: [], cursor: 'c', newer_cursor: 'n', settled_before: '2026-01-26T15:30:45.000Z' };
/** An answer that does not come. */
const never = (path) => (page) => page.route(api(path), () => {});

const heading = (page, name) => page.getByRole('heading', { name }).waitFor();
const opened = async (page) => {
  // The newest of them all, a refused delete with everything that an entry can have.
  await rows(page).filter({ hasText: 'expense' }).first().locator('.toggle').click();
  await page.getByRole('button', { name: 'Verify', exact: true }).waitFor();
};
const exporting = async (page) => {
  await rows(page).first().waitFor();
  await page.getByRole('button', { name: 'Export', exact: true }).click();
  await page.getByRole('dialog', { name: /export/i }).waitFor();
};
const started = async (page) => {
  await exporting(page);
  await page.getByRole('button', { name: 'Start' }).click();
};
const clicked = (name) => async (page) => {
  await rows(page).first().waitFor();
  await page.getByRole('button', { name, exact: true }).first().click();
};

/** Each state: how to come to it. `as` is who signs in (admin), `q` what is asked for, `before` what the service answers. */
const STATES = {
  'signed out': { as: null, go: (page) => page.getByRole('dialog').getByRole('button', { name: 'admin' }).waitFor() },
  loading: { before: never('?**'), go: (page) => page.getByText('Loading …').first().waitFor({ state: 'attached' }) },
  rows: { go: (page) => rows(page).first().waitFor() },
  'all columns': { cols: 'time,action,outcome,user,file,object,address,request,device,place,kept', go: (page) => rows(page).first().waitFor() },
  details: { go: opened },
  'exact bytes': {
    go: async (page) => {
      await opened(page);
      await page.getByText('The exact bytes that are sealed').click();
    },
  },
  verified: {
    go: async (page) => {
      await opened(page);
      await page.getByRole('button', { name: 'Verify', exact: true }).click();
      await page.getByText(/^(Proven|Consistent)/).first().waitFor();
    },
  },
  'not proven': {
    before: (page) =>
      page.route(api('/*/proof**'), async (route) => {
        const answer = await route.fetch();
        const text = await answer.text();
        await route.fulfill({ response: answer, body: text.replace(/^index .*\n./m, (found) => (found.endsWith('A') ? `${found.slice(0, -1)}B` : `${found.slice(0, -1)}A`)) });
      }),
    go: async (page) => {
      await opened(page);
      await page.getByRole('button', { name: 'Verify', exact: true }).click();
      await page.getByText(/^Not proven/).first().waitFor();
    },
  },
  'an entry of a link': {
    go: async (page) => {
      const { logs } = await send(world, ADMIN, 'GET', '/audit-logs?action_type=PURGE');
      await open(page, view('from:-7d action:UPLOAD', { entry: logs[0].id }));
      await page.getByText('is not on this page').waitFor();
      await page.getByRole('button', { name: 'Verify', exact: true }).waitFor();
    },
  },
  'empty log': { q: '', before: answers('?**', { json: PAGE }), go: (page) => heading(page, 'The log is empty') },
  'no match': { q: 'from:-7d user:nobody', go: (page) => heading(page, 'No entry matches') },
  partial: {
    q: 'from:-7d ip:192.0.2.1',
    before: answers('?**', { json: { ...PAGE, complete: false, scanned: 2000, next_cursor: 'more' } }),
    go: (page) => heading(page, 'Nothing found so far'),
  },
  'an error': { before: answers('?**', problem(500, 'internal', 'Internal error')), go: (page) => heading(page, 'The log cannot be shown now') },
  'a filter refused': { before: answers('?**', problem(400, 'invalid_query', 'The filter is too long: at most 2048 bytes')), go: (page) => heading(page, 'This filter is not understood') },
  forbidden: { as: 'member', go: (page) => heading(page, 'Not for this role') },
  expired: {
    go: async (page) => {
      await rows(page).first().waitFor();
      await page.route(api('**'), (route) => route.fulfill(problem(401, 'invalid_token', 'The token has ended')));
      await open(page, view('from:-7d action:DELETE'));
      await page.getByRole('dialog').waitFor();
    },
  },
  offline: { before: (page) => page.route(api('**'), (route) => route.abort('internetdisconnected')), go: (page) => heading(page, 'Offline') },
  'bars as a table': { go: clicked('Table') },
  'a value’s menu': {
    go: async (page) => {
      await rows(page).first().locator('.value').first().click();
      await page.getByRole('menu').waitFor();
    },
  },
  columns: { go: clicked('Columns') },
  range: { go: (page) => page.getByRole('region', { name: 'Filters' }).getByRole('button', { name: 'Last 7 days' }).click() },
  'a new filter': { go: clicked('Filter') },
  'a filter to change': { go: (page) => page.getByRole('list', { name: 'Filters in use' }).getByRole('button', { name: 'Action is not' }).first().click() },
  'a filter not understood': {
    go: async (page) => {
      const field = page.getByLabel('Filter', { exact: true });
      await field.fill('from:-7d object:17 colour:red');
      await field.press('Enter');
      await page.locator('.filter-problems li').first().waitFor();
    },
  },
  'many filters': { q: 'from:-30d -action:AUDIT_READ action:DELETE action:PURGE user:"jane doe" -ip:192.0.2.1 -role:auditor type:expense object:17 hours:18:00-07:00 -success order:oldest', go: (page) => heading(page, 'No entry matches') },
  badge: { go: (page) => page.getByRole('banner').getByRole('button', { name: /pinned|Verified|entries/ }).first().click() },
  account: { go: (page) => page.getByRole('button', { name: /^Account/ }).click() },
  help: { go: clicked('Keyboard help') },
  export: { go: exporting },
  'export running': { before: never('/exports**'), go: started },
  'export failed': {
    before: answers('/exports**', problem(400, 'invalid_filter', 'The filter is not one')),
    go: async (page) => {
      await started(page);
      await page.getByText('The filter is not one').waitFor();
    },
  },
  'export ready': {
    go: async (page) => {
      await started(page);
      await page.getByRole('link', { name: 'Download' }).waitFor();
    },
  },
};

for (const [name, { as = 'admin', q = 'from:-7d -action:AUDIT_READ', cols, before, go }] of Object.entries(STATES)) {
  test(name, async (t) => {
    const fragment = view(q, cols && { cols });
    const page = await visit(t, world, { fragment, before, reducedMotion: 'reduce', colorScheme: 'light' });
    if (as) await signIn(page, as);
    await go(page);
    await page.evaluate(axe.source);
    const found = [];
    // Each theme at one width: colours are those of the theme, whatever the width, and measures those of the width.
    for (const [theme, viewport] of [['light', PHONE], ['dark', DESK]]) {
      await page.emulateMedia({ colorScheme: theme });
      await page.setViewportSize(viewport);
      const { violations } = await page.evaluate((values) => axe.run(document, { runOnly: { type: 'tag', values }, resultTypes: ['violations'] }), RULES);
      found.push(...violations.flatMap(({ id, help, nodes }) => nodes.map(({ target, failureSummary }) => `${theme} ${id} (${help}): ${target} ${failureSummary}`)));
    }
    if (SCREENSHOTS) await pictures(page, name);
    assert.deepEqual(found, []);

    for (const viewport of [DESK, PHONE, ZOOMED]) {
      await page.setViewportSize(viewport);
      assert.deepEqual(await page.evaluate(tooWide), [], `at ${viewport.width} x ${viewport.height}`);
    }
    await page.evaluate(spaceText);
    assert.deepEqual(await page.evaluate(tooWide), [], 'with more space in the text');
  });
}

/** Both themes, both widths. */
async function pictures(page, name) {
  for (const theme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme: theme });
    for (const viewport of [DESK, PHONE]) {
      await page.setViewportSize(viewport);
      await page.screenshot({ path: `${SCREENSHOTS}/${name.replaceAll(/\W+/g, '-')}-${viewport.width}-${theme}.png`, fullPage: true });
    }
  }
}

/** Runs in the page: what makes it wider than the window. */
function tooWide() {
  const { scrollWidth, clientWidth } = document.documentElement;
  if (scrollWidth <= clientWidth) return [];
  const wide = [...document.body.querySelectorAll('*')].filter((element) => element.getBoundingClientRect().right > clientWidth + 1);
  return [`${scrollWidth} > ${clientWidth}`, ...wide.slice(0, 5).map((element) => element.outerHTML.slice(0, 120))];
}

/** Runs in the page: as some people set their texts, to read them (WCAG 1.4.12). */
function spaceText() {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync('* { line-height: 1.5 !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important; } p { margin-bottom: 2em !important; }');
  document.adoptedStyleSheets.push(sheet);
}
