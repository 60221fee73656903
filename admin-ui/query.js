// Which entries are asked for, as a text and as the service's parameters.

import { HOUR, before, instant } from './time.js';

/** @type {{ name: FieldName, param: string, label: string }[]} */
export const FIELDS = [
  { name: 'action', param: 'action_type', label: 'Action' },
  { name: 'user', param: 'user_id', label: 'User' },
  { name: 'file', param: 'file_path', label: 'File' },
  { name: 'outcome', param: 'success', label: 'Outcome' },
  { name: 'type', param: 'related_object_type', label: 'Object type' },
  { name: 'object', param: 'related_object_id', label: 'Object' },
  { name: 'system', param: 'system', label: 'System' },
  { name: 'role', param: 'role', label: 'Role' },
  { name: 'ip', param: 'ip_address', label: 'Address' },
  { name: 'request', param: 'request_id', label: 'Request' },
];

export const ACTIONS = [
  'UPLOAD', 'VIEW', 'EDIT', 'DELETE', 'SIGNED_URL_GENERATED', 'DOWNLOAD', 'METADATA_READ', 'PURGE', 'UPLOAD_ABORTED', 'RESTORE',
  'AUDIT_READ', 'AUDIT_EXPORT', 'VERIFY', 'QUARANTINE',
];
export const SYSTEMS = ['accounting', 'app-builder', 'audit', 'billing', 'communications', 'epcr', 'fax', 'workspace'];

export const DEFAULT_TEXT = 'from:-7d -action:AUDIT_READ';

/** `-`, a name and `:`, a value. Its last quote may be missing, or something stick to it. */
const WORD = /(-?)(?:([^\s:"]+):)?(?:"((?:[^"\\]|\\.|\\$)*)("?)(\S*)|(\S*))/gsu;
const HOURS = /^((?:[01]\d|2[0-3]):[0-5]\d)-(?!\1)(?:[01]\d|2[0-3]):[0-5]\d$/;

/** @type {(name: FieldName) => typeof FIELDS[number]} */
export const about = (name) => /** @type {typeof FIELDS[number]} */ (FIELDS.find((field) => field.name === name));

/**
 * What is not understood is left out; what is wrong only in company is kept.
 *
 * @type {(text: string, zone?: string, now?: number) => { query: Query, problems: Problem[] }}
 */
export function parse(text, zone = 'UTC', now = Date.now()) {
  /** @type {Query} */
  const query = { terms: [], from: '', to: '', hours: '', order: 'desc' };
  /** @type {Problem[]} */
  const problems = [];
  /** @type {Map<unknown, Place>} */
  const places = new Map();

  for (const { 0: word, 1: minus, 2: key = '', 3: quote, 4: end, 5: rest, 6: bare = '', index: at } of text.matchAll(WORD)) {
    if (!word) continue;
    const place = { at, length: word.length };
    const message = quote !== undefined && (!end || rest)
      ? 'A quoted value ends with " and a blank.'
      : take(place, minus === '-', key.toLowerCase(), quote?.replace(/\\(["\\])/g, '$1') ?? bare);
    if (message) problems.push({ ...place, message });
  }
  for (const [of, message] of conflicts(query, zone, now)) problems.push({ at: 0, length: 0, ...places.get(of), message });
  query.terms = sorted(query.terms);
  return { query, problems: problems.sort((a, b) => a.at - b.at) };

  /** @type {(place: Place, not: boolean, key: string, value: string) => string | undefined} */
  function take(place, not, key, value) {
    if (!key && /^success$/i.test(value)) return take(place, not, 'outcome', 'true');
    if (!key) {
      const guesses = /** @type {const} */ (['action', 'ip', 'file']);
      const guess = guesses.find((field) => !wrong(normal({ field, value, not }))) ?? 'user';
      return `Say what “${value}” is, such as ${guess}:${quoted(value)}`;
    }
    const field = FIELDS.find(({ name, param }) => name === key || param === key)?.name;
    if (field) {
      const term = normal({ field, value, not });
      const message = wrong(term);
      if (message || has(query, term)) return message;
      query.terms.push(term);
      places.set(term, place);
    } else if (key !== 'from' && key !== 'to' && key !== 'hours' && key !== 'order') {
      return unknown('filter', key, [...FIELDS.map(({ name }) => name), 'from', 'to', 'hours', 'order', 'success']);
    } else if (not) {
      return `“${key}” takes no minus.`;
    } else if (key === 'order') {
      if (!/^(oldest|newest)$/.test(value)) return 'Write order:oldest or order:newest.';
      query.order = value === 'oldest' ? 'asc' : 'desc';
    } else if (query[key]) {
      return `“${key}” is given twice: remove one.`;
    } else if (key === 'hours' && !HOURS.test(value)) {
      return 'Write hours such as hours:18:00-07:00.';
    } else if (key !== 'hours' && instant(value, zone, now) === null) {
      return `Write ${key}:-24h, ${key}:2026-11-20 or ${key}:2026-11-20T18:00, with Z in UTC.`;
    } else {
      query[key] = value;
      places.set(key, place);
    }
  }
}

/** @type {(kind: string, value: string, all: string[]) => string} */
const unknown = (kind, value, all) => `There is no ${kind} “${value}”. There are ${all.join(', ')}.`;

/** One form for what means the same. @type {(term: Term) => Term} */
function normal({ field, value, not }) {
  if (field === 'action') return { field, value: value.toUpperCase(), not };
  if (field === 'outcome' && isOutcome(value)) return { field, value: String((value === 'true') !== not), not: false };
  return { field, value, not };
}

/** @param {string} value */
const isOutcome = (value) => value === 'true' || value === 'false';

/** @type {(term: Term) => string | undefined} */
function wrong({ field, value }) {
  if (value === '') return `“${field}” has no value: add or remove it.`;
  if (field === 'action' && !ACTIONS.includes(value)) return unknown(field, value, ACTIONS);
  if (field === 'system' && !SYSTEMS.includes(value)) return unknown(field, value, SYSTEMS);
  if (field === 'outcome' && !isOutcome(value)) return 'Write success or -success.';
  if (field === 'ip' && !isAddress(value)) return `“${value}” is no whole IPv4 or IPv6 address.`;
  if (field === 'file' && value.replace(/^\//, '').split('/').length !== 5) return 'A file is its whole path: organisation/system/type/id/name.';
  if (/[\u0000-\u001f\u007f-\u009f]/.test(value)) return `“${field}” has control characters: remove them.`;
  if (field !== 'file' && new TextEncoder().encode(value).length > 256) return `“${field}” can have 256 bytes at most.`;
}

/** @param {string} text */
function isAddress(text) {
  if (/^((25[0-5]|(2[0-4]|1\d|[1-9]?)\d)(\.(?!$)|$)){4}$/.test(text)) return true;
  return /^[\da-f:.]+$/i.test(text) && URL.canParse(`http://[${text}]/`);
}

/** @type {(query: Query, zone: string, now: number) => Generator<[Term | 'to', string]>} */
function* conflicts({ terms, from, to }, zone, now) {
  /** @type {(field: FieldName, not: boolean) => Term[]} */
  const all = (field, not) => terms.filter((term) => term.field === field && term.not === not);
  for (const { name, label } of FIELDS) {
    for (const not of [false, true]) {
      const most = not || name === 'action' ? 20 : 1;
      const excess = all(name, not)[most];
      if (excess) yield [excess, `${label} can have ${most} ${not ? 'excluded' : 'wanted'} at most: remove one.`];
    }
  }
  const [object] = all('object', false);
  if (object && !all('type', false)[0]) yield [object, 'An object needs its type: add type:…'];
  const start = instant(from, zone, now) ?? -Infinity;
  const end = instant(to, zone, now) ?? now;
  const [request] = all('request', false);
  if (request && !all('file', false)[0] && end - start > HOUR) {
    yield [request, 'A request needs its file, or a range of an hour: add file:… or from:… and to:…'];
  }
  if (to && start >= end) yield ['to', 'It ends before it begins: change from or to.'];
}

/** By field, wanted before excluded, by value. @param {Term} term */
const rank = ({ field, value, not }) => `${FIELDS.indexOf(about(field))}${Number(not)}${value}`;

/** @param {Term[]} terms */
const sorted = (terms) => [...terms].sort((a, b) => (rank(a) < rank(b) ? -1 : 1));

/** @type {(query: Query, term: Term) => boolean} */
export const has = (query, term) => query.terms.some((other) => rank(other) === rank(term));

/** @type {(query: Query) => string} */
export function format({ terms, from, to, hours, order }) {
  const fields = sorted(terms.map(normal)).map(({ field, value, not }) => {
    if (field === 'outcome') return value === 'true' ? 'success' : '-success';
    return `${not ? '-' : ''}${field}:${quoted(value)}`;
  });
  const times = [from && `from:${quoted(from)}`, to && `to:${quoted(to)}`];
  return [...times, ...fields, hours && `hours:${hours}`, order === 'asc' && 'order:oldest'].filter(Boolean).join(' ');
}

/** @param {string} value */
const quoted = (value) => (/^[^\s"]\S*$/u.test(value) ? value : `"${value.replace(/["\\]/g, '\\$&')}"`);

/** @type {(a: Query, b: Query) => boolean} */
export const equal = (a, b) => format(a) === format(b);

/** Times relative to now stay so, others become UTC. @type {(query: Query, zone: string, now: number) => Params} */
export function toParams({ terms, from, to, hours, order }, zone, now) {
  /** @type {Params} */
  const params = sorted(terms.map(normal)).map(({ field, value, not }) => [`${not ? 'not_' : ''}${about(field).param}`, value]);
  for (const [name, text] of Object.entries({ from, to })) {
    const at = before(text) === null ? instant(text, zone, now) : null;
    if (text) params.push([name, at === null ? text : new Date(at).toISOString()]);
  }
  if (hours) params.push(['hours', hours], ['tz', zone]);
  if (order === 'asc') params.push(['order', order]);
  return params;
}

/** Instead of what was said of this value, or can be said once. @type {(query: Query, term: Term) => Query} */
export function plus(query, given) {
  const term = normal(given);
  const joins = (/** @type {Term} */ other) => other.value !== term.value && (term.not || other.not || term.field === 'action');
  return { ...query, terms: sorted([...query.terms.filter((other) => other.field !== term.field || joins(other)), term]) };
}

/** @type {(query: Query, field: FieldName, value: string) => Query} */
export function only(query, field, value) {
  const terms = query.terms.filter((other) => other.field !== field || other.not);
  return plus({ ...query, terms }, { field, value, not: false });
}

/** @type {(query: Query, field: FieldName, value: string) => Query} */
export const exclude = (query, field, value) => plus(query, { field, value, not: true });

/** A wanted object goes with its type. @type {(query: Query, term: Term) => Query} */
export function without(query, term) {
  const goes = (/** @type {Term} */ other) =>
    rank(other) === rank(term) || (term.field === 'type' && other.field === 'object' && !term.not && !other.not);
  return { ...query, terms: query.terms.filter((other) => !goes(other)) };
}
