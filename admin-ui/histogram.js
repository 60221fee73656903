// How much happened when: bars to be narrowed to by pointer or keys, and the same numbers as a table.

import { button, count, fill, h, icon, messageOf } from './dom.js';
import { toParams } from './query.js';
import { DAY, HOUR, MINUTE, UNITS, instant, shown, shownOffset, ticks } from './time.js';

/** The service's bound for a summary. */
export const MAX_RANGE = 366 * DAY;
/** More are too narrow to be told apart. */
const MAX_BARS = 100;
/** So long minutes are counted, less a bar's and what the service's clock may be ahead. */
const MINUTES_RANGE = DAY - 20 * MINUTE;
const LENGTHS = /** @type {[Unit, number][]} */ (Object.entries(UNITS));

/** @param {number} ms */
const utc = (ms) => `${new Date(ms).toISOString().slice(0, 19)}Z`;

/**
 * The bars of a query, up to now, if there are any: their edges, the length of their unit, the summaries that count them. They are
 * whole: the range begins within the first and ends within the last one.
 *
 * @param {Query} query @param {string} zone @param {number} now
 */
export function plan(query, zone, now) {
  const begin = query.from ? instant(query.from, zone, now) : 0;
  const end = query.to ? instant(query.to, zone, now) : now;
  if (begin === null || end === null) return null;
  const to = Math.min(end, now);
  const from = Math.max(begin, to - MAX_RANGE);
  const fits = LENGTHS.find(([, length]) => to - from <= MAX_BARS * length && (length >= HOUR || from > now - MINUTES_RANGE));
  if (from >= to || !fits) return null;
  const [unit, length] = fits;
  const ahead = ticks(from, to + 2 * length, unit, zone);
  const edges = ahead.slice(0, ahead.findIndex((at) => at >= to) + 1);

  /** A summary counts in steps of one length, and daylight saving changes that of bars: a run of equal ones each. @type {{ from: number, to: number, step: number }[]} */
  const runs = [];
  for (const [index, to] of edges.entries()) {
    const from = edges[index - 1] ?? to;
    const last = runs.at(-1);
    if (last?.step === to - from && to - last.from <= MAX_RANGE) last.to = to;
    else if (from < to) runs.push({ from, to, step: to - from });
  }
  // What the counters know of an entry.
  const filter = toParams(query, zone, now).filter(([name]) => /^(not_)?(action_type|success)$/.test(name));
  const requests = runs.map(({ from, to, step }) => /** @type {Params} */ (
    [...filter, ['from', utc(from)], ['to', utc(to)], ['interval', length < HOUR ? `${step / MINUTE}m` : `${step / HOUR}h`]]));

  const names = [...query.terms.map(({ field }) => field), query.hours && 'hours'].filter((name) => !['', 'action', 'outcome'].includes(name));
  const notes = [
    names.length > 0 && `Bars show all entries of the range: the counters do not know ${[...new Set(names)].join(', ')}.`,
    from > begin && 'Bars show the last 366 days of the range.',
    length >= HOUR && edges.some((at) => !shown(at, zone).endsWith('00:00')) && 'Bars begin at full hours of UTC, as the counters do.',
  ].filter(Boolean);
  return { from, to, length, edges, requests, notes };
}

/** @type {(answers: any[]) => { bars: Bar[], asOf: AsOf }} */
export function barsOf(answers) {
  const bars = answers.flatMap((answer) => answer.bars).map(({ from, to, count, actions }) => {
    const failed = Object.values(actions).reduce((sum, { failed }) => sum + failed, 0);
    return { from: Date.parse(from), to: Date.parse(to), succeeded: count - failed, failed };
  });
  // The others were counted as far, or further.
  const [asOf] = answers.map((answer) => answer.as_of).sort((a, b) => a.tree_size - b.tree_size);
  return { bars, asOf };
}

/** Neighbours as one. @type {(bars: Bar[]) => Bar} */
const sumOf = (bars) => bars.reduce((sum, { to, succeeded, failed }) =>
  ({ from: sum.from, to, succeeded: sum.succeeded + succeeded, failed: sum.failed + failed }));

/**
 * Names for some of the bars' begins, at most so many: days, and times between them.
 *
 * @type {(begins: number[], length: number, zone: string, most: number) => { index: number, text: string }[]}
 */
export function labelsOf(begins, length, zone, most) {
  const labels = begins.map((at, index) => {
    // A bar that begins at 23:30, since the counters have no other hours, is the one of midnight.
    const near = Number(instant(shown(length < HOUR ? at : at + HOUR / 2, zone), 'UTC', at));
    const wall = near - (near % Math.min(length, DAY));
    return { index, wall, text: wall % DAY ? shown(at, zone).slice(11, 16) : new Date(wall).toUTCString().slice(5, 11).replace(/^0/, '') };
  });
  for (let step = length; ; step = LENGTHS.find(([, length]) => length > step && length <= DAY)?.[1] ?? 2 * step) {
    // Weeks begin on Mondays, and 5 January 1970 was one.
    const named = labels.filter(({ wall }) => (wall - 4 * DAY) % step === 0);
    if (named.length <= most) return named;
  }
}

/** Where it is narrow, the styles hide each second one. */
const MAX_LABELS = 12;

/** `onAsOf` hears how far the counters have come. @param {{ api: Api, onNarrow: OnNarrow, onAsOf: (asOf: AsOf) => void }} page */
export function createHistogram({ api, onNarrow, onAsOf }) {
  const totals = h('p', { class: 'bars-totals' });
  const widen = button({ class: 'quiet', onclick: zoomOut }, icon('minus'), 'Zoom out');
  const asTable = button({ class: 'quiet', 'aria-pressed': 'false', onclick: toggle }, 'Table');
  const plot = h('div', {
    class: 'bars-plot', role: 'listbox', tabindex: 0, 'aria-label': 'Entries by time', 'aria-describedby': 'bars-hint',
    'aria-multiselectable': 'true', 'aria-orientation': 'horizontal',
    onkeydown: onKey, onfocus: () => selected ?? select(bars.length - 1), onblur: clear,
    onpointerdown: onPress, onpointermove: onMove, onpointercancel: clear,
    onpointerup: (/** @type {PointerEvent} */ event) => isHeld(event) && narrow(chosen()),
  });
  const most = h('p', { class: 'bars-most', 'aria-hidden': 'true' });
  const names = h('div', { class: 'bars-names', 'aria-hidden': 'true' });
  const tip = h('div', { class: 'bars-tip', 'aria-hidden': 'true' });
  // A pointer may go into the tip.
  const chart = h('div', { class: 'bars-chart', onpointerleave: () => selected ?? clear() }, most, plot, names, tip);
  const table = h('div', { class: 'bars-table', role: 'region', 'aria-label': 'Entries by time', tabindex: 0, hidden: true });
  const body = h('div', {}, chart, table);
  const notes = h('div', { class: 'bars-notes muted' });
  const element = h('section', { class: 'bars', 'aria-label': 'Histogram' },
    h('div', { class: 'bars-head' }, totals, widen, asTable), body, notes,
    h('p', { class: 'unseen', id: 'bars-hint' }, 'Arrow keys move, with Shift they select several, Enter narrows to them, Escape gives up.'));

  let stop = new AbortController();
  /** @type {{ query: Query, zone: string, now: number }} */ let asked;
  /** @type {Bar[]} */ let bars = [];
  /** @type {[anchor: number, at: number] | null} */
  let selected = null;

  /** @param {typeof asked} what */
  async function update(what) {
    asked = what;
    stop.abort();
    stop = new AbortController();
    const { signal } = stop;
    const planned = plan(what.query, what.zone, what.now);
    widen.disabled = !planned || planned.to - planned.from >= MAX_RANGE;
    if (!planned) return fail('the range is empty or lies ahead.');
    element.setAttribute('aria-busy', 'true');
    if (bars.length === 0) fill(totals, 'Counting …');
    try {
      const answers = await Promise.all(planned.requests.map((params) => api.get('/summary', params, signal)));
      if (signal.aborted) return;
      const { bars, asOf } = barsOf(answers);
      draw(bars, planned.length);
      const { succeeded, failed } = sumOf(bars);
      fill(totals,
        h('span', { class: 'bars-key' }, `${count(succeeded)} succeeded`), h('span', { class: 'bars-key is-failed' }, `${count(failed)} failed`),
        h('span', { class: 'muted' }, asOf.time ? `counted up to ${shown(Date.parse(asOf.time), what.zone)}` : 'nothing is counted yet'));
      fill(notes, planned.notes.map((note) => h('p', {}, note)));
      onAsOf(asOf);
    } catch (error) {
      const again = button({ class: 'link', onclick: () => update({ ...asked, now: Date.now() }) }, 'Try again');
      if (!signal.aborted) fail(messageOf(error), again);
    }
  }

  /** @param {string} why @param {Child} [next] */
  function fail(why, next) {
    draw([], 0);
    fill(totals, `No bars: ${why} `, next);
    fill(notes);
  }

  /** @param {Bar[]} drawn @param {number} length of their unit */
  function draw(drawn, length) {
    clear();
    bars = drawn;
    element.removeAttribute('aria-busy');
    body.hidden = asTable.disabled = bars.length === 0;
    if (body.hidden) return;
    const height = Math.max(1, ...bars.map(({ succeeded, failed }) => succeeded + failed));
    const part = (/** @type {'succeeded' | 'failed'} */ kind, /** @type {Bar} */ bar) => bar[kind] > 0 && placed(h('div', { class: kind }), 'height', bar[kind] / height);
    fill(most, count(height));
    fill(plot, bars.map((bar, index) =>
      h('div', { role: 'option', id: `bar-${index}`, 'aria-label': `${spanOf(bar)}: ${countsOf(bar)}` }, part('succeeded', bar), part('failed', bar))));
    fill(names, labelsOf(bars.map(({ from }) => from), length, asked.zone, MAX_LABELS)
      .map(({ index, text }) => placed(h('span', { class: index / bars.length > 0.8 && 'is-late' }, text), 'left', index / bars.length)));
    const row = (/** @type {Bar} */ bar, /** @type {Child} */ name) =>
      h('tr', {}, h('th', { scope: 'row' }, name), h('td', {}, count(bar.succeeded)), h('td', {}, count(bar.failed)));
    fill(table, h('table', {},
      h('thead', {}, h('tr', {}, ['Time', 'Succeeded', 'Failed'].map((name) => h('th', { scope: 'col' }, name)))),
      h('tbody', {}, bars.map((bar) => row(bar, button({ class: 'link', onclick: () => narrow(bar) }, spanOf(bar))))),
      h('tfoot', {}, row(sumOf(bars), 'All'))));
  }

  function toggle() {
    table.hidden = !table.hidden;
    chart.hidden = !table.hidden;
    asTable.setAttribute('aria-pressed', `${chart.hidden}`);
  }

  /** @param {number} at @param {number} [anchor] */
  function select(at, anchor = at) {
    selected = [anchor, at];
    const [first, last] = [Math.min(anchor, at), Math.max(anchor, at)];
    [...plot.children].forEach((option, index) => option.setAttribute('aria-selected', `${first <= index && index <= last}`));
    plot.setAttribute('aria-activedescendant', `bar-${at}`);
    showTip(first, last);
  }

  function clear() {
    selected = null;
    fill(tip);
    plot.removeAttribute('aria-activedescendant');
    for (const option of plot.children) option.setAttribute('aria-selected', 'false');
    document.removeEventListener('keydown', onEscape, true);
  }

  const chosen = () => selected && sumOf(bars.slice(Math.min(...selected), Math.max(...selected) + 1));

  /** @param {Bar | null} bar */
  function narrow(bar) {
    clear();
    if (bar) onNarrow(utc(bar.from), utc(bar.to));
  }

  /** To twice the range, but nothing that lies ahead. */
  function zoomOut() {
    const now = Date.now();
    const range = plan(asked.query, asked.zone, now);
    if (!range) return;
    const span = range.to - range.from;
    const to = Math.min(range.to + span / 2, now);
    onNarrow(utc(Math.max(0, to - Math.min(2 * span, MAX_RANGE))), asked.query.to && utc(to));
  }

  /** `2026-11-20 18:00 – 21:00`. @param {Bar} bar */
  function spanOf({ from, to }) {
    const [begin, end] = [shown(from, asked.zone).slice(0, 16), shown(to, asked.zone).slice(0, 16)];
    return `${begin} – ${begin.slice(0, 10) === end.slice(0, 10) ? end.slice(11) : end}`;
  }

  /** @param {number} first @param {number} last */
  function showTip(first, last) {
    const bar = sumOf(bars.slice(first, last + 1));
    const offsets = new Set([bar.from, bar.to].map((at) => shownOffset(at, asked.zone)));
    fill(tip, h('strong', {}, spanOf(bar)), h('span', { class: 'muted' }, [...offsets].join(', then ')), countsOf(bar));
    const middle = (first + last + 1) / 2 / bars.length;
    placed(tip, 'left', middle).style.translate = `${-100 * middle}%`;
    document.addEventListener('keydown', onEscape, true);
  }

  /** @param {KeyboardEvent} event */
  function onEscape(event) {
    if (event.key !== 'Escape') return;
    clear();
    event.stopPropagation();
  }

  /** @param {KeyboardEvent} event */
  function onKey(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const end = bars.length - 1;
    const [anchor, at] = selected ?? [end, end];
    const to = { ArrowLeft: Math.max(0, at - 1), ArrowRight: Math.min(end, at + 1), Home: 0, End: end }[event.key];
    if (to !== undefined) select(to, event.shiftKey ? anchor : to);
    else if (event.key === 'Enter') narrow(chosen());
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** The bar under a pointer. @param {PointerEvent} event */
  function barAt({ clientX }) {
    const { left, width } = plot.getBoundingClientRect();
    return Math.max(0, Math.min(bars.length - 1, Math.floor(((clientX - left) / width) * bars.length)));
  }

  /** @param {PointerEvent} event */
  const isHeld = ({ pointerId }) => plot.hasPointerCapture(pointerId);

  /** @param {PointerEvent} event */
  function onPress(event) {
    if (event.button !== 0 || !event.isPrimary) return;
    plot.setPointerCapture(event.pointerId);
    select(barAt(event));
  }

  /** @param {PointerEvent} event */
  function onMove(event) {
    const at = barAt(event);
    if (selected && isHeld(event)) select(at, selected[0]);
    else if (!selected && !isHeld(event)) showTip(at, at);
  }

  return { element, update };
}

/** @type {<T extends HTMLElement>(element: T, side: 'left' | 'height', share: number) => T} */
function placed(element, side, share) {
  element.style[side] = `${100 * share}%`;
  return element;
}

/** @param {Bar} bar */
const countsOf = ({ succeeded, failed }) => `${count(succeeded)} succeeded, ${count(failed)} failed`;
