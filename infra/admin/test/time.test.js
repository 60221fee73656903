// Times on the clocks of many places, against tables written by hand.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ago, instant, isZone, localZone, shown, shownOffset, ticks, zones } from '../../../admin-ui/time.js';

const NOW = Date.parse('2026-11-20T12:00:00Z');
const HOUR = 3_600_000;
const iso = (/** @type {number | null} */ ms) => (ms === null ? null : new Date(ms).toISOString().replace('.000Z', 'Z'));

test('a moment is relative, of RFC 3339, or on the clocks of the zone', () => {
  for (const [text, expected] of /** @type {[string, string | null][]} */ ([
    ['-24h', '2026-11-19T12:00:00Z'],
    ['-90m', '2026-11-20T10:30:00Z'],
    ['-7d', '2026-11-13T12:00:00Z'],
    ['-0m', '2026-11-20T12:00:00Z'],
    ['-3660d', '2016-11-12T12:00:00Z'],
    ['2026-11-20', '2026-11-19T23:00:00Z'],
    ['2026-11-20T18:00', '2026-11-20T17:00:00Z'],
    ['2026-11-20 18:00:05', '2026-11-20T17:00:05Z'],
    ['2026-11-20T18:00:05.069', '2026-11-20T17:00:05.069Z'],
    ['2026-11-20T18:00:05.0690001', '2026-11-20T17:00:05.070Z'],
    ['2026-11-20T18:00:00Z', '2026-11-20T18:00:00Z'],
    ['2026-11-20T18:00Z', '2026-11-20T18:00:00Z'],
    ['2026-11-20T18:00:00+05:30', '2026-11-20T12:30:00Z'],
    ['2026-11-20T18:00:00-03:00', '2026-11-20T21:00:00Z'],
    ['2028-02-29', '2028-02-28T23:00:00Z'],
    ...[
      '', '-', '-7', '-7w', '-1.5h', '--1h', '-99999999999999999999d', '-3661d', '7d', 'yesterday', '2026-02-29', '2026-13-01',
      '2026-11-20T24:00', '2026-11-20T18:60', '2026-11-20T18', '2026-11-20T18:00:00+24:00', '2026-11-20T18:00:00+05:60',
      '2026-11-20Z', '1969-12-31T23:59:59Z', '20261120', ' 2026-11-20',
    ].map((wrong) => [wrong, null]),
  ])) {
    assert.equal(iso(instant(text, 'Europe/Berlin', NOW)), expected, text);
  }
});

// What the clocks leave out is moved forward; of what they show twice it is the first.
test('local times are exact over every change of the clocks', () => {
  for (const [zone, text, expected, back] of /** @type {[string, string, string, string?][]} */ ([
    // +01:00, in summer +02:00
    ['Europe/Berlin', '2026-03-29T01:59:59', '2026-03-29T00:59:59Z'],
    ['Europe/Berlin', '2026-03-29T02:00', '2026-03-29T01:00:00Z', '2026-03-29 03:00:00'],
    ['Europe/Berlin', '2026-03-29T02:30', '2026-03-29T01:30:00Z', '2026-03-29 03:30:00'],
    ['Europe/Berlin', '2026-03-29T03:00', '2026-03-29T01:00:00Z'],
    ['Europe/Berlin', '2026-10-25T01:59:59', '2026-10-24T23:59:59Z'],
    ['Europe/Berlin', '2026-10-25T02:30', '2026-10-25T00:30:00Z'],
    ['Europe/Berlin', '2026-10-25T03:00', '2026-10-25T02:00:00Z'],
    // -05:00, in summer -04:00
    ['America/New_York', '2026-03-08T02:30', '2026-03-08T07:30:00Z', '2026-03-08 03:30:00'],
    ['America/New_York', '2026-03-08T03:00', '2026-03-08T07:00:00Z'],
    ['America/New_York', '2026-11-01T01:30', '2026-11-01T05:30:00Z'],
    ['America/New_York', '2026-11-01T02:00', '2026-11-01T07:00:00Z'],
    // +10:30, in summer +11:00: half an hour is left out, and there twice
    ['Australia/Lord_Howe', '2026-04-05T01:29:59', '2026-04-04T14:29:59Z'],
    ['Australia/Lord_Howe', '2026-04-05T01:30', '2026-04-04T14:30:00Z'],
    ['Australia/Lord_Howe', '2026-04-05T01:59:59', '2026-04-04T14:59:59Z'],
    ['Australia/Lord_Howe', '2026-04-05T02:00', '2026-04-04T15:30:00Z'],
    ['Australia/Lord_Howe', '2026-10-04T01:59:59', '2026-10-03T15:29:59Z'],
    ['Australia/Lord_Howe', '2026-10-04T02:15', '2026-10-03T15:45:00Z', '2026-10-04 02:45:00'],
    ['Australia/Lord_Howe', '2026-10-04T02:30', '2026-10-03T15:30:00Z'],
    // -05:00, in summer -04:00: there a day begins at 01:00, and another has midnight twice
    ['America/Havana', '2026-03-08', '2026-03-08T05:00:00Z', '2026-03-08 01:00:00'],
    ['America/Havana', '2026-03-08T01:00', '2026-03-08T05:00:00Z'],
    ['America/Havana', '2026-11-01', '2026-11-01T04:00:00Z'],
    ['America/Havana', '2026-11-01T01:00', '2026-11-01T06:00:00Z'],
    // +05:30 all year
    ['Asia/Kolkata', '2026-11-20', '2026-11-19T18:30:00Z'],
    // Where a whole day was left out.
    ['Pacific/Apia', '2011-12-30T12:00', '2011-12-30T22:00:00Z', '2011-12-31 12:00:00'],
    ['UTC', '2026-03-29T02:30', '2026-03-29T02:30:00Z'],
  ])) {
    const ms = instant(text, zone, NOW);
    assert.equal(iso(ms), expected, `${zone} ${text}`);
    const whole = `${text}${'0000-00-00T00:00:00'.slice(text.length)}`;
    assert.equal(shown(ms ?? 0, zone), back ?? whole.replace('T', ' '), `${zone} ${text} back`);
  }
  // The second of two.
  assert.equal(shown(Date.parse('2026-10-25T01:30:00Z'), 'Europe/Berlin'), '2026-10-25 02:30:00');
});

test('offsets are shown', () => {
  const at = Date.parse('2026-07-01T00:00:00Z');
  for (const [zone, expected] of /** @type {const} */ ([
    ['UTC', 'UTC'], ['Europe/Berlin', 'UTC+02:00'], ['America/New_York', 'UTC-04:00'], ['Asia/Kolkata', 'UTC+05:30'], ['Africa/Abidjan', 'UTC'],
  ])) {
    assert.equal(shownOffset(at, zone), expected);
  }
  assert.equal(shown(at + 5_999, 'UTC'), '2026-07-01 00:00:05');
});

/** @type {(zone: string, from: string, to: string, unit: Unit) => string[]} */
const cut = (zone, from, to, unit) => ticks(Date.parse(from), Date.parse(to), unit, zone).map((ms) => iso(ms)?.replace(/:00Z$/, 'Z') ?? '');

test('days begin on the clocks of the zone, of 23 and of 25 hours', () => {
  assert.deepEqual(cut('Europe/Berlin', '2026-03-28T12:00:00Z', '2026-03-31T00:00:00Z', '1d'), [
    '2026-03-27T23:00Z', '2026-03-28T23:00Z', '2026-03-29T22:00Z', '2026-03-30T22:00Z',
  ]);
  assert.deepEqual(cut('Europe/Berlin', '2026-10-23T22:00:00Z', '2026-10-26T23:00:00Z', '1d'), [
    '2026-10-23T22:00Z', '2026-10-24T22:00Z', '2026-10-25T23:00Z',
  ]);
  assert.deepEqual(cut('America/New_York', '2026-10-31T04:00:00Z', '2026-11-02T05:00:01Z', '1d'), [
    '2026-10-31T04:00Z', '2026-11-01T04:00Z', '2026-11-02T05:00Z',
  ]);
  assert.deepEqual(cut('America/Havana', '2026-03-07T05:00:00Z', '2026-03-09T05:00:00Z', '1d'), [
    '2026-03-07T05:00Z', '2026-03-08T05:00Z', '2026-03-09T04:00Z',
  ]);
  assert.deepEqual(cut('America/Havana', '2026-11-01T05:30:00Z', '2026-11-02T05:00:00Z', '1d'), ['2026-11-01T04:00Z']);
});

test('in zones half an hour off, days begin at the whole hour of UTC before', () => {
  assert.deepEqual(cut('Asia/Kolkata', '2026-11-19T18:30:00Z', '2026-11-20T20:00:00Z', '1d'), ['2026-11-19T18:00Z', '2026-11-20T18:00Z']);
  assert.deepEqual(cut('Australia/Lord_Howe', '2026-04-04T00:00:00Z', '2026-04-06T00:00:00Z', '1d'), [
    '2026-04-03T13:00Z', '2026-04-04T13:00Z', '2026-04-05T13:00Z',
  ]);
  assert.deepEqual(cut('Asia/Kolkata', '2026-11-20T00:45:00Z', '2026-11-20T08:00:00Z', '3h'), [
    '2026-11-20T00:00Z', '2026-11-20T03:00Z', '2026-11-20T06:00Z',
  ]);
});

test('hours lie on the clocks of the zone, and a changed clock makes one unit shorter or longer', () => {
  assert.deepEqual(cut('Europe/Berlin', '2026-03-29T00:30:00Z', '2026-03-29T10:00:00Z', '3h'), [
    '2026-03-28T23:00Z', '2026-03-29T01:00Z', '2026-03-29T04:00Z', '2026-03-29T07:00Z',
  ]);
  assert.deepEqual(cut('Europe/Berlin', '2026-10-24T22:00:00Z', '2026-10-25T10:00:00Z', '6h'), ['2026-10-24T22:00Z', '2026-10-25T05:00Z']);
  assert.deepEqual(cut('America/New_York', '2026-11-01T04:00:00Z', '2026-11-02T00:00:00Z', '12h'), ['2026-11-01T04:00Z', '2026-11-01T17:00Z']);
  assert.deepEqual(cut('Europe/Berlin', '2026-10-25T00:15:00Z', '2026-10-25T03:00:00Z', '1h'), [
    '2026-10-25T00:00Z', '2026-10-25T01:00Z', '2026-10-25T02:00Z',
  ]);
});

test('weeks begin on Mondays, minutes anywhere', () => {
  assert.deepEqual(cut('Europe/Berlin', '2026-10-21T00:00:00Z', '2026-11-02T00:00:00Z', '7d'), ['2026-10-18T22:00Z', '2026-10-25T23:00Z', '2026-11-01T23:00Z']);
  assert.deepEqual(cut('Asia/Kathmandu', '2026-11-20T10:07:30Z', '2026-11-20T10:45:00Z', '15m'), [
    '2026-11-20T10:00Z', '2026-11-20T10:15Z', '2026-11-20T10:30Z',
  ]);
});

test('in every zone and unit, ticks rise, cover the range, and lie on whole hours', () => {
  const from = Date.parse('2026-03-01T07:35:00Z');
  for (const zone of zones()) {
    for (const unit of /** @type {const} */ (['1h', '3h', '6h', '12h', '1d', '7d'])) {
      const to = from + 45 * 24 * HOUR;
      const found = ticks(from, to, unit, zone);
      const [first = NaN, second = NaN] = found;
      assert.ok(first <= from && from < second && (found.at(-1) ?? NaN) < to, `${zone} ${unit}`);
      assert.ok(found.every((at, index) => at % HOUR === 0 && (index === 0 || at > (found[index - 1] ?? NaN))), `${zone} ${unit}`);
    }
  }
});

test('zones are names of the IANA database', () => {
  for (const name of ['UTC', 'Europe/Berlin', 'America/Argentina/Buenos_Aires', localZone()]) assert.equal(isZone(name), true, name);
  for (const name of ['', 'Berlin', '+02:00', 'Europe/Berlin ', 'Etc/Unknown', '../UTC']) assert.equal(isZone(name), false, name);
  assert.equal(zones()[0], 'UTC');
  assert.equal(new Set(zones()).size, zones().length);
});

test('how long ago it was', () => {
  for (const [before, expected] of /** @type {[number, string][]} */ ([
    [0, 'just now'], [59_000, 'just now'], [60_000, '1 min ago'], [59 * 60_000, '59 min ago'], [HOUR, '1 h ago'], [23 * HOUR, '23 h ago'],
    [24 * HOUR, '1 day ago'], [72 * HOUR, '3 days ago'], [40 * 24 * HOUR, '1 month ago'], [800 * 24 * HOUR, '2 years ago'], [-5 * 60_000, 'in 5 min'],
  ])) {
    assert.equal(ago(NOW - before, NOW), expected);
  }
});
