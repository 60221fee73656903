// What an application does with a client that is generated from the document: usage: node flow.js API TOKEN

import assert from 'node:assert/strict';
import createClient from 'openapi-fetch';

const [baseUrl = '', token = ''] = process.argv.slice(2);
/** @type {import('openapi-fetch').Client<import('./api.js').paths>} */
const client = createClient({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

/** What was answered, or a failure that says why not. @type {<T>(answer: { data?: T, error?: unknown }) => T} */
function done({ data, error }) {
  if (data === undefined) throw new Error(JSON.stringify(error));
  return data;
}

const content = '%PDF-1.7\n%%EOF\n';
const stored = done(await client.POST('/receipt-upload', {
  params: { header: { 'Idempotency-Key': crypto.randomUUID() } },
  body: { file: content, org_id: 'org-123', object_id: 'receipt-456' },
  bodySerializer: ({ file, ...fields }) => {
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) form.append(name, String(value));
    form.append('file', new Blob([file], { type: 'application/pdf' }), 'receipt.pdf');
    return form;
  },
}));
assert.equal(stored.metadata.size, content.length);

const { file_path } = stored;
const link = done(await client.POST('/signed-url', { body: { file_path, purpose: 'view' } }));
assert.equal(await (await fetch(link.url)).text(), content);

const { data: metadata } = await client.GET('/metadata/{file_path}', { params: { path: { file_path } } });
assert.equal(metadata?.integrity, 'verified');

const { logs } = done(await client.GET('/audit-logs', { params: { query: { file_path } } }));
assert.deepEqual(logs.map(({ action_type }) => action_type), ['METADATA_READ', 'VIEW', 'UPLOAD']);

await client.DELETE('/delete', { body: { file_path } });
const { error } = await client.POST('/signed-url', { body: { file_path } });
// The compiler knows every code that it may be, and that a host's own refusal is a text.
assert(typeof error === 'object' && error.code === 'file_not_found');
console.log(`the generated client: stored, read, found in the log and deleted ${file_path}`);
