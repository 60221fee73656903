// Times, by Intl alone.

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
/** As far as the service looks. */
const MAX_BEFORE = 10 * 366 * DAY;

/** @type {Record<Unit, number>} */
export const UNITS = { '1m': MINUTE, '5m': 5 * MINUTE, '15m': 15 * MINUTE, '1h': HOUR, '3h': 3 * HOUR, '6h': 6 * HOUR, '12h': 12 * HOUR, '1d': DAY, '7d': 7 * DAY };

export function localZone() {
  const zone = new Intl.DateTimeFormat().resolvedOptions().timeZone;
  return isZone(zone) ? zone : 'UTC';
}

/** Offsets, zones to some browsers, are none to the service. @param {string} name */
export function isZone(name) {
  try {
    offset(0, name);
    return /^[a-z]/i.test(name);
  } catch {
    return false;
  }
}

export const zones = () => ['UTC', ...Intl.supportedValuesOf('timeZone').filter((name) => name !== 'UTC')];

/** @type {Map<string, Intl.DateTimeFormat>} */
const formats = new Map();

/** How far the zone's clocks are ahead of UTC. @type {(ms: number, zone: string) => number} */
function offset(ms, zone) {
  const format = formats.get(zone) ?? new Intl.DateTimeFormat('en', { timeZone: zone, timeZoneName: 'longOffset' });
  formats.set(zone, format);
  return shift(format.format(ms));
}

/** `+05:30` at the end of a text. @param {string} text */
function shift(text) {
  const [, sign, hours, minutes] = /([+-])(\d\d):(\d\d)$/.exec(text) ?? [];
  return sign ? Number(`${sign}1`) * (Number(hours) * HOUR + Number(minutes) * MINUTE) : 0;
}

/**
 * When the zone's clocks show `wall`, written as if it were UTC: as much later if they leave it out, the first time if they show
 * it twice.
 *
 * @type {(wall: number, zone: string) => number}
 */
function when(wall, zone) {
  const [early, late] = [wall - offset(wall - DAY, zone), wall - offset(wall + DAY, zone)];
  const fits = (/** @type {number} */ ms) => ms + offset(ms, zone) === wall;
  return fits(late) && !fits(early) ? late : early;
}

/**
 * Of `-24h`, RFC 3339, or a date or time on the zone's clocks. Milliseconds are rounded up, as the service does. Null if it is none
 * of these, or before 1970.
 *
 * @type {(text: string, zone: string, now: number) => number | null}
 */
export function instant(text, zone, now) {
  const relative = before(text);
  if (relative !== null) return relative <= MAX_BEFORE ? now - relative : null;
  const found = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?:(:\d\d)(\.\d{1,9})?)?(Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)?)?$/i.exec(text);
  if (!found) return null;
  const [, day, minutes = '00:00', seconds = ':00', fraction = '', place] = found;
  const whole = `${day}T${minutes}${seconds}`;
  const wall = Date.parse(`${whole}Z`);
  // 30 February is read as a day of March.
  if (Number.isNaN(wall) || !iso(wall).startsWith(whole)) return null;
  const ms = (place ? wall - shift(place) : when(wall, zone)) + Math.ceil(Number(fraction.slice(1).padEnd(9, '0')) / 1e6);
  return ms >= 0 ? ms : null;
}

/** The milliseconds of `-24h`, or null. @param {string} text */
export function before(text) {
  const [, number, unit] = /^-(\d+)([mhd])$/.exec(text) ?? [];
  return unit ? Number(number) * UNITS[/** @type {Unit} */ (`1${unit}`)] : null;
}

/** @param {number} ms */
const iso = (ms) => new Date(ms).toISOString();

/** `2026-11-20 18:00:05` on the zone's clocks. @type {(ms: number, zone: string) => string} */
export const shown = (ms, zone) => iso(ms + offset(ms, zone)).slice(0, 19).replace('T', ' ');

/** `UTC+01:00`, or `UTC`. @type {(ms: number, zone: string) => string} */
export function shownOffset(ms, zone) {
  const ahead = offset(ms, zone);
  return ahead === 0 ? 'UTC' : `UTC${ahead < 0 ? '-' : '+'}${iso(Math.abs(ahead)).slice(11, 16)}`;
}

/** @type {[string, number][]} */
const SPANS = [['year', 365 * DAY], ['month', 30 * DAY], ['day', DAY], ['h', HOUR], ['min', MINUTE]];

/** `3 min ago`. @type {(ms: number, now: number) => string} */
export function ago(ms, now) {
  for (const [name, length] of SPANS) {
    const count = Math.floor(Math.abs(now - ms) / length);
    const text = `${count} ${name}${count > 1 && length >= DAY ? 's' : ''}`;
    if (count > 0) return ms > now ? `in ${text}` : `${text} ago`;
  }
  return 'just now';
}

/**
 * Where units begin: the first at or before `from`, the last before `to`. From 3 hours on they lie on the zone's clocks, but at
 * whole hours of UTC, by which the service counts.
 *
 * @type {(from: number, to: number, unit: Unit, zone: string) => number[]}
 */
export function ticks(from, to, unit, zone) {
  const length = UNITS[unit];
  /** @type {Set<number>} */
  const found = new Set();
  if (length <= HOUR) {
    for (let at = floor(from, length); at < to; at += length) found.add(at);
    return [...found];
  }
  const days = Math.max(length, DAY);
  const hour = (/** @type {number} */ wall) => floor(when(wall, zone), HOUR);
  // 5 January 1970 was a Monday.
  for (let day = floor(from + offset(from, zone) - 4 * DAY, days) + 4 * DAY; hour(day) < to; day += days) {
    for (let wall = day; wall < day + DAY; wall += length) found.add(hour(wall));
  }
  // Where a day is left out, they do not rise.
  const all = [...found].sort((a, b) => a - b);
  return all.filter((at, index) => at < to && (all[index + 1] ?? to) > from);
}

/** @type {(ms: number, unit: number) => number} */
const floor = (ms, unit) => Math.floor(ms / unit) * unit;
