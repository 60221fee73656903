// The page from somebody's static host, which sends no headers of ours: another origin than the service's, and the page's own
// policy alone.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { extname } from 'node:path';
import { after, before, test } from 'node:test';
import { person, paste, rows, sealed, start, view, visit, work } from './world.js';

const FOLDER = new URL('../../../admin-ui/', import.meta.url);
const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml' };
/** The origins that the stack lets call it (README, "Call it from a page"). */
const PORTS = [5173, 3000];

let world;
let server;
before(async () => {
  world = await start();
  const config = { ...JSON.parse(await readFile(new URL('config.json', FOLDER), 'utf8')), api: world.api };
  server = await host(JSON.stringify(config));
  world.page = `http://localhost:${server.address().port}/log/`;
  await work(world);
  await sealed(world);
});
after(async () => {
  server?.close();
  await world?.stop();
});

test('sign in with a token, list, verify, export', async (t) => {
  const page = await visit(t, world, { fragment: view('from:-7d') });
  await paste(page, world.token(person(1, 'admin')));
  await rows(page).first().waitFor();
  await rows(page).first().locator('.toggle').click();
  await page.getByRole('button', { name: 'Verify', exact: true }).click();
  await page.getByText(/^(Proven|Consistent)/).first().waitFor();
  assert.equal(await page.locator('.steps li.good').count(), 5);

  await page.getByRole('button', { name: 'Export', exact: true }).click();
  const dialog = page.getByRole('dialog', { name: /export/i });
  await dialog.getByRole('button', { name: 'Start' }).click();
  const waiting = page.waitForEvent('download');
  await dialog.getByRole('link', { name: 'Download' }).click();
  const content = await readFile(await (await waiting).path(), 'utf8');
  assert.ok(content.includes('receipt-1'));
});

/** A static host. */
async function host(config) {
  const server = createServer(async (request, response) => {
    const name = new URL(request.url, 'http://localhost').pathname.replace(/^\/log\//, '') || 'index.html';
    const body = name === 'config.json' ? config : /^[a-z.]+$/.test(name) && (await readFile(new URL(name, FOLDER)).catch(() => null));
    response.writeHead(body ? 200 : 404, { 'Content-Type': TYPES[extname(name)] ?? 'application/json' }).end(body);
  });
  for (const port of PORTS) {
    server.listen(port, 'localhost');
    // `once` rejects on an error.
    if (await once(server, 'listening').then(() => true, () => false)) return server;
  }
  throw new Error('ports 5173 and 3000 of localhost are in use: the stack lets no other origin call it');
}
