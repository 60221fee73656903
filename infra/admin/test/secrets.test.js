// The token is in the page's memory and nowhere else; what is personal is in no address that leaves the browser.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { person, paste, rows, sealed, start, view, visit, work } from './world.js';

let world;
before(async () => {
  world = await start();
  await work(world);
  await sealed(world);
});
after(() => world?.stop());

test('after all that can be done here, nothing is kept that opens or tells anything', async (t) => {
  const token = world.token(person(1, 'admin'));
  const said = [];
  const asked = [];
  const page = await visit(t, world, {
    fragment: view('from:-7d user:7'),
    acceptDownloads: true,
    before: async (page) => {
      page.on('console', (message) => said.push(message.text()));
      page.on('request', (request) => asked.push(request.url()));
    },
  });
  await paste(page, token);
  await rows(page).first().waitFor();
  await rows(page).first().locator('.toggle').click();
  await page.getByRole('button', { name: 'Verify', exact: true }).click();
  await page.getByText(/^(Proven|Consistent)/).first().waitFor();
  await page.getByRole('button', { name: 'Export', exact: true }).click();
  const dialog = page.getByRole('dialog', { name: /export/i });
  await dialog.getByRole('button', { name: 'Start' }).click();
  const link = dialog.getByRole('link', { name: 'Download' });
  await link.waitFor();
  const signed = await link.getAttribute('href');
  const signature = new URL(signed).searchParams.get('X-Amz-Signature');
  assert.ok(signature);

  const kept = await page.evaluate(allThatIsKept);
  const texts = [...kept, JSON.stringify(await page.context().cookies()), page.url(), ...said, ...asked];
  // Of a token any part that could be used again; of a signed address, its signature.
  for (const secret of [...token.split('.').slice(1), signature]) {
    const where = texts.filter((text) => text.includes(secret));
    assert.deepEqual(where, []);
  }
  // Files and people stand in no storage.
  for (const personal of ['receipt-', 'org-123/', 'accountant', 'user:7']) {
    assert.deepEqual(kept.filter((text) => text.includes(personal)), [], personal);
  }
});

/** Runs in the page: everything that a browser keeps for it. */
async function allThatIsKept() {
  const kept = [document.cookie, document.referrer, window.name, JSON.stringify(history.state)];
  for (const storage of [localStorage, sessionStorage]) {
    for (let at = 0; at < storage.length; at++) kept.push(storage.key(at), storage.getItem(storage.key(at)));
  }
  for (const { name } of await indexedDB.databases()) kept.push(`database ${name}`);
  for (const name of await caches.keys()) kept.push(`cache ${name}`);
  for (const registration of await navigator.serviceWorker.getRegistrations()) kept.push(`worker ${registration.scope}`);
  return kept.map(String);
}
