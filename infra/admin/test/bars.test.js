// The histogram's bars: where they begin, and that the service counts just these.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MAX_RANGE, barsOf, labelsOf, plan } from '../../../admin-ui/histogram.js';
import { parse } from '../../../admin-ui/query.js';
import { shown } from '../../../admin-ui/time.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const ZONES = [
  'UTC', 'America/Chicago', 'Europe/Berlin', 'Africa/Cairo', 'America/St_Johns', 'Asia/Kolkata', 'Asia/Kathmandu',
  'Australia/Lord_Howe', 'Pacific/Chatham', 'Pacific/Apia',
];
const RANGES = ['-5m', '-1h', '-90m', '-12h', '-20h', '-24h', '-2d', '-7d', '-30d', '-90d', '-200d', '-365d', '-366d', '-999d', ''];
/** Around the changes of daylight saving, and on them. */
const TIMES = [
  '2026-01-15T12:00:00Z', '2026-03-08T08:30:01.5Z', '2026-03-29T01:00:00Z', '2026-04-04T15:30:00Z', '2026-04-24T22:00:00Z',
  '2026-10-04T02:59:59.999Z', '2026-10-25T01:30:00Z', '2026-11-01T06:30:00Z', '2026-11-02T00:00:00Z',
].map((text) => Date.parse(text));

/** The bars that the service makes of a request, by its rules, each with one entry. */
function summary(params, now) {
  const { from, to, interval } = Object.fromEntries(params);
  const step = parseInt(interval, 10) * (interval.endsWith('m') ? MINUTE : HOUR);
  const unit = step % HOUR === 0 ? HOUR : MINUTE;
  const floor = (at) => Math.floor(at / unit) * unit;
  const [begin, end] = [floor(Date.parse(from)), floor(Date.parse(to) - 1) + unit];
  assert.ok(begin < end && end - begin <= MAX_RANGE, `${from} to ${to}`);
  assert.ok((end - begin) / step < 1500);
  assert.ok(unit === HOUR || begin >= floor(now - DAY), 'minutes are counted for a day');
  const bars = [];
  for (let at = begin; at < end; at += step) {
    const actions = { VIEW: { succeeded: 1, failed: 2 } };
    bars.push({ from: new Date(at).toISOString(), to: new Date(Math.min(at + step, end)).toISOString(), count: 3, actions });
  }
  return { bars, as_of: { tree_size: 1, time: null } };
}

test('the service counts just the bars that are drawn, around every range in every zone', () => {
  for (const zone of ZONES) {
    for (const from of RANGES) {
      for (const now of TIMES) {
        const { query } = parse(from ? `from:${from}` : '');
        const { edges, requests, ...range } = plan(query, zone, now);
        const { bars } = barsOf(requests.map((params) => summary(params, now)));
        const said = `${from} in ${zone} at ${new Date(now).toISOString()}`;
        assert.deepEqual([...bars.map((bar) => bar.from), bars.at(-1).to], edges, said);
        bars.slice(1).forEach((bar, index) => assert.equal(bar.from, bars[index].to, said));
        assert.ok(bars[0].from <= range.from && range.from < bars[0].to, said);
        assert.ok(bars.at(-1).from < range.to && range.to <= bars.at(-1).to, said);
        assert.ok(bars.length <= 102, `${said}: ${bars.length} bars`);
        assert.ok(requests.length <= 6, `${said}: ${requests.length} requests`);
        assert.ok(bars.every(({ succeeded, failed }) => succeeded === 1 && failed === 2));
      }
    }
  }
});

test('days of a year with two changes of the clocks begin at midnight, and are few requests', () => {
  for (const [zone, text] of [
    ['America/Chicago', 'from:2026-02-20 to:2026-05-20'], ['Europe/Berlin', 'from:2026-09-01 to:2026-11-30'],
    ['Australia/Sydney', 'from:2026-03-01 to:2026-05-20'], ['America/Santiago', 'from:2026-03-01 to:2026-05-20'],
  ]) {
    const { query } = parse(text, zone, Date.parse('2027-01-01T00:00:00Z'));
    const { edges, requests } = plan(query, zone, Date.parse('2027-01-01T00:00:00Z'));
    assert.ok(edges.every((at) => shown(at, zone).endsWith('00:00:00')), zone);
    const hours = edges.slice(1).map((at, index) => (at - edges[index]) / HOUR);
    assert.deepEqual(hours.filter((length) => length !== 24).length, 1, zone);
    assert.equal(requests.length, 3, zone);
  }
  const year = plan(parse('from:-365d').query, 'America/Chicago', Date.parse('2026-12-20T12:00:00Z'));
  assert.equal(year.requests.length, 5);
});

test('minutes are asked for only where they are counted', () => {
  const now = Date.parse('2026-11-20T12:34:56Z');
  const interval = (text) => Object.fromEntries(plan(parse(text).query, 'UTC', now).requests[0]).interval;
  assert.equal(interval('from:-1h'), '1m');
  assert.equal(interval('from:-6h'), '5m');
  assert.equal(interval('from:-20h'), '15m');
  assert.equal(interval('from:-24h'), '1h');
  assert.equal(interval('from:2026-11-10T10:00:00Z to:2026-11-10T11:00:00Z'), '1h');
});

test('what the counters know is asked for, and what they do not is said', () => {
  const now = Date.parse('2026-11-20T12:34:56Z');
  const { requests, notes } = plan(parse('from:-7d -action:AUDIT_READ action:DELETE -success user:1 file:a/b/c/d/e hours:18:00-07:00').query, 'UTC', now);
  const filter = requests[0].filter(([name]) => !['from', 'to', 'interval'].includes(name)).map((pair) => pair.join('=')).sort();
  assert.deepEqual(filter, ['action_type=DELETE', 'not_action_type=AUDIT_READ', 'success=false']);
  assert.match(notes.join(' '), /all entries of the range.* user, file, hours/);
  assert.match(plan(parse('').query, 'UTC', now).notes.join(' '), /last 366 days/);
  assert.match(plan(parse('from:-7d').query, 'Asia/Kolkata', now).notes.join(' '), /full hours of UTC/);
  assert.deepEqual(plan(parse('from:-7d success').query, 'America/Chicago', now).notes, []);
  assert.equal(plan(parse('from:2027-01-01').query, 'UTC', now), null);
});

test('names of times are few, in their order, and those of midnight are days', () => {
  for (const zone of ZONES) {
    for (const from of RANGES) {
      const { edges, length } = plan(parse(from ? `from:${from}` : '').query, zone, TIMES[1]);
      for (const most of [1, 4, 14]) {
        const labels = labelsOf(edges.slice(0, -1), length, zone, most);
        assert.ok(labels.length <= most);
        assert.ok(labels.every(({ index }, place) => place === 0 || index > labels[place - 1].index));
      }
    }
  }
  const { edges, length } = plan(parse('from:2026-10-30 to:2026-11-04').query, 'UTC', Date.parse('2026-12-01T00:00:00Z'));
  const texts = labelsOf(edges.slice(0, -1), length, 'UTC', 10).map(({ text }) => text);
  assert.deepEqual(texts, ['30 Oct', '12:00', '31 Oct', '12:00', '1 Nov', '12:00', '2 Nov', '12:00', '3 Nov', '12:00']);
});
