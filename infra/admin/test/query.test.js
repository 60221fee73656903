// Filters as they are typed, and as the service is asked for them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ACTIONS, DEFAULT_TEXT, FIELDS, SYSTEMS, equal, exclude, format, only, parse, plus, toParams, without } from '../../../admin-ui/query.js';

const NOW = Date.parse('2026-11-20T12:00:00Z');
const ZONES = ['UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Kolkata'];

/**
 * Numbers of 0 to n-1, the same for the same seed.
 *
 * @param {number} seed
 */
function dice(seed) {
  let state = seed;
  return (/** @type {number} */ n) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % n;
  };
}
const SEED = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));

/** Pieces of which nasty values are made. */
const PIECES = [
  ' ', '  ', '"', '""', '\\', '\\\\', '\\"', ':', '-', '--', '=', '&', '%20', '+', '#', '/', '.', 'a', 'Z', '7', 'é', '救急', '🚑', '\u00a0', '\u200b', '\u3000', '\ufeff',
  'success', '-success', 'user:', 'user:1', '-action:DELETE', 'from:-7d', 'order:oldest', 'hours:', '<script>', "'", '(', ')', '*', '?', '$&', '\u202e',
];

/**
 * A query that the service takes, of a random kind.
 *
 * @param {(n: number) => number} die
 * @returns {Query}
 */
function random(die) {
  /** @template T @param {readonly T[]} of @returns {T} */
  const pick = (of) => /** @type {T} */ (of[die(of.length)]);
  const text = () => Array.from({ length: 1 + die(6) }, () => pick(PIECES)).join('');
  /** @param {FieldName} field */
  const value = (field) => {
    if (field === 'file') return `org-1/epcr/document/7/${text().replaceAll('/', ' ')}`;
    if (field === 'action') return pick(ACTIONS);
    if (field === 'system') return pick(SYSTEMS);
    if (field === 'ip') return pick([`10.0.${die(256)}.${die(256)}`, `2001:db8::${die(9999)}`, '::1', '::ffff:192.0.2.1']);
    return text();
  };
  const times = ['', '', '-24h', '-7d', '-90m', '2026-03-29', '2026-10-25T02:30', '2026-11-19T18:00:00Z', '2026-11-19T18:00:00.123+05:30', '2026-11-19 06:00'];
  /** @type {Query} */
  let query = { terms: [], from: pick(times), to: '', hours: pick(['', '', '18:00-07:00', '00:00-23:59']), order: pick(['desc', 'asc']) };
  if (query.from === '') query.to = pick(times);
  else if (query.from !== '-90m' && die(2)) query.to = pick(['-30m', '2026-11-20T11:00:00Z', '2026-11-20 06:45']);
  for (const { name: field } of FIELDS) {
    if (field === 'outcome') {
      if (die(3) === 0) query = plus(query, { field, value: pick(['true', 'false']), not: false });
      continue;
    }
    if (die(3) === 0) {
      for (let n = 1 + (field === 'action' ? die(4) : 0); n > 0; n--) query = plus(query, { field, value: value(field), not: false });
    }
    if (die(3) === 0) for (let n = 1 + die(3); n > 0; n--) query = plus(query, { field, value: value(field), not: true });
  }
  const wants = (/** @type {FieldName} */ field) => query.terms.some((term) => term.field === field && !term.not);
  if (wants('object') && !wants('type')) query = plus(query, { field: 'type', value: text(), not: false });
  if (wants('request') && !wants('file')) query = plus(query, { field: 'file', value: value('file'), not: false });
  return query;
}

test('10,000 random states are the same after they were written and read', () => {
  const die = dice(SEED);
  for (let n = 0; n < 10_000; n++) {
    const query = random(die);
    const zone = ZONES[die(ZONES.length)] ?? 'UTC';
    const text = format(query);
    const said = `SEED=${SEED}, state ${n}: ${text}`;
    const read = parse(text, zone, NOW);
    assert.deepEqual(read, { query, problems: [] }, said);
    assert.ok(equal(read.query, query), said);
    assert.equal(format(read.query), text, said);
    assert.deepEqual(toParams(read.query, zone, NOW), toParams(query, zone, NOW), said);
    // Words may come in any order, and twice.
    const words = query.terms.map((term) => format({ terms: [term], from: '', to: '', hours: '', order: 'desc' }));
    const mixed = [...words, format({ ...query, terms: [] }), ...words].reverse().join('  ');
    assert.deepEqual(parse(mixed, zone, NOW), read, said);
  }
});

test('any text is read, in a time that grows with its length, and what was understood of it is stable', () => {
  const die = dice(SEED);
  for (let n = 0; n < 10_000; n++) {
    const pieces = [...PIECES, ' ', ' ', 'to:', 'file:"', 'action:', '\u0000', '\n', '\ud800', '-7d'];
    const text = Array.from({ length: die(20) }, () => pieces[die(pieces.length)]).join('');
    const said = `SEED=${SEED}, text ${n}: ${JSON.stringify(text)}`;
    const { query, problems } = parse(text, 'UTC', NOW);
    assert.ok(problems.every(({ at, length, message }) => at >= 0 && length > 0 && at + length <= text.length && message !== ''), said);
    const again = parse(format(query), 'UTC', NOW);
    assert.deepEqual(again.query, query, said);
    assert.equal(format(again.query), format(query), said);
  }
  const began = performance.now();
  for (const piece of ['a', '"', '\\', '-', ':', 'user:', 'user:"', '" ', '\\"', 'user:1 ', '-a:"\\']) parse(piece.repeat(20_000), 'UTC', NOW);
  assert.ok(performance.now() - began < 10_000);
});

test('what is typed is what the service is asked for', () => {
  for (const [text, ...params] of /** @type {string[][]} */ ([
    [''],
    [DEFAULT_TEXT, 'not_action_type=AUDIT_READ', 'from=-7d'],
    ['user:1 action:DELETE -success', 'action_type=DELETE', 'user_id=1', 'success=false'],
    ['success', 'success=true'],
    ['outcome:false', 'success=false'],
    ['-outcome:true', 'success=false'],
    ['action:delete action:PURGE -user:7 -user:8', 'action_type=DELETE', 'action_type=PURGE', 'not_user_id=7', 'not_user_id=8'],
    ['type:claim object:"INV 7"', 'related_object_type=claim', 'related_object_id=INV 7'],
    ['file:"o/fax/a/7/a \\"b\\" \\\\.pdf"', 'file_path=o/fax/a/7/a "b" \\.pdf'],
    ['user:-7 role:a"b"', 'user_id=-7', 'role=a"b"'],
    ['request:01X from:2026-11-20T12:30 to:2026-11-20T13:30', 'request_id=01X', 'from=2026-11-20T11:30:00.000Z', 'to=2026-11-20T12:30:00.000Z'],
    ['request:01X from:-1h', 'request_id=01X', 'from=-1h'],
    ['to:2026-11-20', 'to=2026-11-19T23:00:00.000Z'],
    ['hours:18:00-07:00 order:oldest', 'hours=18:00-07:00', 'tz=Europe/Berlin', 'order=asc'],
    ['  ip:2001:DB8::1\tsystem:epcr order:newest ', 'system=epcr', 'ip_address=2001:DB8::1'],
    ['action_type:VIEW USER:1 user:1', 'action_type=VIEW', 'user_id=1'],
  ])) {
    const { query, problems } = parse(text ?? '', 'Europe/Berlin', NOW);
    assert.deepEqual(problems, [], text);
    assert.deepEqual(toParams(query, 'Europe/Berlin', NOW).map((pair) => pair.join('=')), params, text);
  }
});

test('what the service would refuse is a problem, at its place, with the remedy; the rest counts', () => {
  for (const [text, at, remedy, rest] of /** @type {[string, string, RegExp, string][]} */ ([
    ['user:1 user:2', 'user:2', /remove one/, 'user:1 user:2'],
    ['object:7 role:x', 'object:7', /add type:/, 'object:7 role:x'],
    ['-type:a object:7', 'object:7', /add type:/, '-type:a object:7'],
    ['request:R from:-7d', 'request:R', /add file:/, 'from:-7d request:R'],
    ['request:R', 'request:R', /add file:/, 'request:R'],
    ['request:R from:2026-11-20T10:59:59Z', 'request:R', /an hour/, 'from:2026-11-20T10:59:59Z request:R'],
    // An hour is left out between them, or there is one more.
    ['request:R from:2026-10-25T02:00 to:2026-10-25T03:00', 'request:R', /an hour/, 'from:2026-10-25T02:00 to:2026-10-25T03:00 request:R'],
    ['from:2026-11-20 to:2026-11-20', 'to:2026-11-20', /change/, 'from:2026-11-20 to:2026-11-20'],
    ['from:-1h to:-2h', 'to:-2h', /change/, 'from:-1h to:-2h'],
    ['from:-1h from:-2h', 'from:-2h', /remove one/, 'from:-1h'],
    ['from:yesterday user:1', 'from:yesterday', /from:-24h/, 'user:1'],
    ['-from:-1h', '-from:-1h', /minus/, ''],
    ['hours:18:00-18:00', 'hours:18:00-18:00', /hours:18:00-07:00/, ''],
    ['hours:8:00-17:00', 'hours:8:00-17:00', /hours:18:00-07:00/, ''],
    ['order:up', 'order:up', /order:oldest/, ''],
    ['action:ERASE', 'action:ERASE', /DELETE/, ''],
    ['system:erp', 'system:erp', /epcr/, ''],
    ['outcome:maybe', 'outcome:maybe', /-success/, ''],
    ['ip:10.0.0', 'ip:10.0.0', /IPv4/, ''],
    ['ip:10.0.0.256', 'ip:10.0.0.256', /IPv4/, ''],
    ['ip:fe80::1%eth0', 'ip:fe80::1%eth0', /IPv6/, ''],
    ['user: role:x', 'user:', /remove/, 'role:x'],
    ['user:"" role:x', 'user:""', /remove/, 'role:x'],
    ['user:"a role:x', 'user:"a role:x', /ends with "/, ''],
    ['user:"a"b role:x', 'user:"a"b', /blank/, 'role:x'],
    ['user:"a\u0007"', 'user:"a\u0007"', /remove/, ''],
    [`role:${'é'.repeat(129)}`, `role:${'é'.repeat(129)}`, /256/, ''],
    ['DELETE user:1', 'DELETE', /action:DELETE/, 'user:1'],
    ['"Ann Lee" user:1', '"Ann Lee"', /user:"Ann Lee"/, 'user:1'],
    ['10.0.0.1', '10.0.0.1', /ip:10.0.0.1/, ''],
    ['o/fax/a/7/report.pdf', 'o/fax/a/7/report.pdf', /file:o/, ''],
    ['file:report.pdf user:1', 'file:report.pdf', /whole path/, 'user:1'],
    ['colour:red user:1', 'colour:red', /There are action, user/, 'user:1'],
    ['--user:1', '--user:1', /no filter/, ''],
    ['success -success', '-success', /remove one/, '-success success'],
    [Array.from({ length: 21 }, (_, n) => `-user:${n + 10}`).join(' '), '-user:30', /20/, Array.from({ length: 21 }, (_, n) => `-user:${n + 10}`).join(' ')],
  ])) {
    const { query, problems } = parse(text, 'Europe/Berlin', NOW);
    assert.equal(problems.length, 1, text);
    const [problem] = problems;
    assert.ok(problem);
    assert.equal(text.slice(problem.at, problem.at + problem.length), at, text);
    assert.match(problem.message, remedy);
    assert.equal(format(query), rest, text);
  }
});

test('a value is wanted, excluded, and neither, and the query before stays as it was', () => {
  const start = parse('from:-7d action:DELETE action:PURGE user:1 -role:x type:a object:7').query;
  const before = structuredClone(start);
  for (const [query, expected] of /** @type {[Query, string][]} */ ([
    [only(start, 'user', '2'), 'from:-7d action:DELETE action:PURGE user:2 type:a object:7 -role:x'],
    [only(start, 'action', 'DELETE'), 'from:-7d action:DELETE user:1 type:a object:7 -role:x'],
    [only(start, 'role', 'x'), 'from:-7d action:DELETE action:PURGE user:1 type:a object:7 role:x'],
    [only(start, 'outcome', 'false'), 'from:-7d action:DELETE action:PURGE user:1 -success type:a object:7 -role:x'],
    [exclude(start, 'action', 'DELETE'), 'from:-7d -action:DELETE action:PURGE user:1 type:a object:7 -role:x'.replace('-action:DELETE action:PURGE', 'action:PURGE -action:DELETE')],
    [exclude(start, 'user', '1'), 'from:-7d action:DELETE action:PURGE -user:1 type:a object:7 -role:x'],
    [exclude(start, 'outcome', 'true'), 'from:-7d action:DELETE action:PURGE user:1 -success type:a object:7 -role:x'],
    [exclude(exclude(start, 'role', 'y'), 'role', 'x'), 'from:-7d action:DELETE action:PURGE user:1 type:a object:7 -role:x -role:y'],
    [plus(start, { field: 'action', value: 'VIEW', not: false }), 'from:-7d action:DELETE action:PURGE action:VIEW user:1 type:a object:7 -role:x'],
    [without(start, { field: 'role', value: 'x', not: true }), 'from:-7d action:DELETE action:PURGE user:1 type:a object:7'],
    [without(start, { field: 'role', value: 'x', not: false }), 'from:-7d action:DELETE action:PURGE user:1 type:a object:7 -role:x'],
    [without(start, { field: 'type', value: 'a', not: false }), 'from:-7d action:DELETE action:PURGE user:1 -role:x'],
  ])) {
    assert.equal(format(query), expected);
    assert.deepEqual(start, before);
  }
});
