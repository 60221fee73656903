// The smallest page that has a session, at an origin of its own, with any configuration. All else there is the local stack's.

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, request as ask } from 'node:http';

const HERE = new URL('.', import.meta.url);
const UI = new URL('../../../admin-ui/', HERE);
const TYPES = { html: 'text/html', js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml' };
const PAGE = `<!doctype html><html lang="en"><title>Audit log</title><link rel="stylesheet" href="app.css">
  <script type="module" src="session-page.js"></script><body>`;

/** Starts it. `config` is what the page's next load finds; an identity provider must be in `connects` to be asked. */
export async function startPages(api, connects) {
  const pages = { origin: '', config: {}, close: () => server.close() };
  const policy = `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self' ${connects}; form-action 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'`;
  const server = createServer(async (request, response) => {
    const { pathname } = new URL(request.url, pages.origin);
    const name = pathname.match(/^\/admin\/([\w-]*(?:\.\w+)?)$/)?.[1];
    if (name === undefined) {
      const headers = { ...request.headers, host: new URL(api).host };
      const passed = ask(new URL(request.url, api), { method: request.method, headers }, (answer) => {
        answer.pipe(response.writeHead(answer.statusCode, answer.headers));
      });
      return request.pipe(passed);
    }
    const send = (type, body) => response.writeHead(200, { 'Content-Type': `${type}; charset=utf-8`, 'Content-Security-Policy': policy }).end(body);
    if (name === '') return send('text/html', PAGE);
    if (name === 'config.json' && pages.config) return send('application/json', JSON.stringify(pages.config));
    const file = await readFile(new URL(name, name === 'session-page.js' ? HERE : UI)).catch(() => null);
    if (!file || name === 'config.json') return response.writeHead(404).end();
    send(TYPES[name.split('.')[1]], file);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  pages.origin = `http://127.0.0.1:${server.address().port}`;
  return pages;
}
