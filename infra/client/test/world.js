// What the tests stand on: the local stack, pages of an origin that may call it, and files to upload.

import { createHash } from 'node:crypto';
import { createWriteStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { chromium } from 'playwright-core';
import { CHROMIUM, startStack } from '../../local/stack.js';

const ROOT = new URL('../../../', import.meta.url);

export const MIB = 1024 * 1024;
/** How large a large file is. */
export const LARGE_MIB = Number(process.env.SIZE_MIB ?? 20);

/** Starts everything; `stop` ends it and leaves nothing behind. */
export async function start() {
  const folder = await mkdtemp(join(tmpdir(), 'storage-client-'));
  const stack = await startStack();
  const pages = await servePages(stack.api);
  const browser = await chromium.launchPersistentContext(join(folder, 'profile'), CHROMIUM);
  const stop = async () => {
    await browser.close();
    pages.server.close();
    await stack.stop();
    await rm(folder, { recursive: true });
  };
  return { api: stack.api, token: stack.token, origin: pages.origin, browser, folder, stop };
}

/** The client, an empty page, and the README's page, for the origins that the stack lets call it. */
async function servePages(api) {
  const readme = await readFile(new URL('README.md', ROOT), 'utf8');
  const [, page] = readme.match(/```html\n([^]*?)```/);
  const files = new Map([
    ['/', ['text/html', '<!doctype html><input type="file">']],
    ['/readme', ['text/html', page.replace('http://127.0.0.1:8787/api/storage', api)]],
    ['/storage.js', ['text/javascript', await readFile(new URL('../storage.js', import.meta.url))]],
  ]);
  const server = createServer((request, response) => {
    const [type, body] = files.get(request.url) ?? [];
    response.writeHead(body ? 200 : 404, { 'Content-Type': `${type}; charset=utf-8` }).end(body);
  });
  for (const port of [5173, 3000]) {
    server.listen(port, 'localhost');
    // `once` rejects on an error.
    const isFree = await once(server, 'listening').then(() => true, () => false);
    if (isFree) return { server, origin: `http://localhost:${port}` };
  }
  throw new Error('ports 5173 and 3000 of localhost are in use: the stack lets no other origin call it');
}

/** A ZIP of exactly so many bytes, of which no two parts are alike: one entry, not compressed. Its path and SHA-256. */
export async function zipFile(folder, name, bytes) {
  const entry = 'build.log';
  const size = bytes - (30 + 46 + 2 * entry.length + 22);
  const chunks = function* () {
    for (let at = 0; at < size; at += MIB) yield Buffer.alloc(Math.min(MIB, size - at), `${at} of ${size} bytes\n`);
  };
  let crc = 0;
  for (const chunk of chunks()) crc = crc32(chunk, crc);
  // What the two headers share (APPNOTE.TXT, 4.3.7 and 4.3.12): version, flags, method, time, date, and so on.
  const fields = (fixed) => {
    const shared = Buffer.alloc(26);
    shared.writeUInt16LE(20, 0);
    shared.writeUInt16LE(0x21, 8);
    [crc, size, size].forEach((value, index) => shared.writeUInt32LE(value, 10 + 4 * index));
    shared.writeUInt16LE(entry.length, 22);
    return Buffer.concat([...fixed, shared]);
  };
  const local = Buffer.concat([fields([Buffer.from('PK\x03\x04')]), Buffer.from(entry)]);
  const start = [Buffer.from('PK\x01\x02'), Buffer.from([20, 0])];
  const central = Buffer.concat([fields(start), Buffer.alloc(14), Buffer.from(entry)]);
  const end = Buffer.alloc(22);
  end.write('PK\x05\x06');
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(local.length + size, 16);

  const path = join(folder, name);
  const file = createWriteStream(path);
  const hash = createHash('sha256');
  const write = async (chunk) => {
    hash.update(chunk);
    if (!file.write(chunk)) await once(file, 'drain');
  };
  await write(local);
  for (const chunk of chunks()) await write(chunk);
  await write(central);
  await write(end);
  file.end();
  await once(file, 'finish');
  return { path, bytes, sha256: hash.digest('hex') };
}

/** A small file with this content. */
export async function smallFile(folder, name, content) {
  const path = join(folder, name);
  await writeFile(path, content);
  return { path, bytes: Buffer.byteLength(content), sha256: createHash('sha256').update(content).digest('hex') };
}
