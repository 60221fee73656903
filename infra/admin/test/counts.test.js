// The histogram's bars against the entries themselves.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { barsOf, plan } from '../../../admin-ui/histogram.js';
import { parse } from '../../../admin-ui/query.js';
import { ADMIN, call, sealed, start, work } from './world.js';

const ZONES = ['UTC', 'America/Chicago', 'Asia/Kolkata', 'Australia/Lord_Howe'];
/** What is typed, and which entries that is. */
const FILTERS = [
  ['', () => true],
  ['action:UPLOAD', ({ action_type }) => action_type === 'UPLOAD'],
  ['action:UPLOAD action:DELETE -success', ({ action_type, success }) => ['UPLOAD', 'DELETE'].includes(action_type) && success === 'false'],
  ['success', ({ success }) => success === 'true'],
  ['-action:UPLOAD -action:DELETE', ({ action_type }) => !['UPLOAD', 'DELETE'].includes(action_type)],
];

let world;
before(async () => {
  world = await start();
  await work(world);
  await sealed(world);
});
after(() => world?.stop());

async function ask(path, params) {
  const answer = await call(world, ADMIN, `/audit-logs${path}?${new URLSearchParams(params)}`);
  assert.equal(answer.status, 200, await answer.clone().text());
  return answer.json();
}

test('each bar counts the entries that are there, in any zone, range and filter', async () => {
  // Asking writes AUDIT_READ entries itself.
  const { logs, next_cursor } = await ask('', [['not_action_type', 'AUDIT_READ'], ['limit', '500']]);
  assert.equal(next_cursor ?? null, null);
  assert.ok(logs.length > 10 && logs.some(({ success }) => success === 'false'));
  const now = Date.now();
  for (const zone of ZONES) {
    for (const range of ['from:-1h', 'from:-20h', 'from:-7d', '']) {
      for (const [filter, matches] of FILTERS) {
        const text = `${range} -action:AUDIT_READ ${filter}`;
        const { edges, requests } = plan(parse(text).query, zone, now);
        const { bars } = barsOf(await Promise.all(requests.map((params) => ask('/summary', params))));
        assert.deepEqual([...bars.map(({ from }) => from), bars.at(-1).to], edges, `${text} in ${zone}`);
        for (const { from, to, succeeded, failed } of bars) {
          const there = logs.filter((entry) => matches(entry) && from <= Date.parse(entry.timestamp) && Date.parse(entry.timestamp) < to);
          const done = there.filter(({ success }) => success === 'true').length;
          assert.deepEqual([succeeded, failed], [done, there.length - done], `${text} in ${zone} at ${from}`);
        }
      }
    }
  }
});
