// The entries of a page, and all that is known of one.

import { button, facts, fill, h, icon, messageOf, place } from './dom.js';
import { COLUMNS } from './log.js';
import { parse } from './query.js';
import { ago, shown } from './time.js';
import { createVerify, visible } from './seal.js';

const AGO_MS = 30_000;
/** What an action does to a file: the colour of its name. */
const KINDS = { adds: ['UPLOAD', 'EDIT', 'RESTORE'], takes: ['DELETE', 'PURGE', 'QUARANTINE', 'UPLOAD_ABORTED'] };

/** Buttons that open a menu. In a row they are no stops of the tab key: the details have the same, which are. @param {Entry} entry */
export function values(entry, isStop = false) {
  /** @type {(field: FieldName, value: unknown, how?: Props, text?: string) => HTMLElement} */
  const value = (field, value, how = {}, text = String(value)) => button({
    ...how, class: `value ${how.class ?? ''}`, 'data-field': field, 'data-value': value, 'aria-haspopup': 'menu', tabindex: isStop ? null : -1,
  }, text);
  const { action_type: action, success, file_path: file, related_object_type: type, related_object_id: id, ip_address: ip } = entry;
  const done = success === 'true';
  const [kind = ''] = Object.entries(KINDS).find(([, actions]) => actions.includes(action)) ?? [];
  return {
    action: value('action', action, { class: `tag ${kind}` }),
    outcome: value('outcome', success, { class: `outcome ${done ? 'good' : 'bad'}` }, done ? 'succeeded' : 'failed'),
    user: value('user', entry.user_id),
    role: value('role', entry.role, { class: 'muted' }),
    file: file && value('file', file, isStop ? { class: 'mono' } : { class: 'cut', title: file }, isStop ? file : file.slice(file.lastIndexOf('/') + 1) || file),
    object: type && h('span', {}, value('type', type, { class: 'muted' }), id && ' · ', id && value('object', id, { 'data-type': type })),
    address: ip && value('ip', ip, { class: 'mono' }),
  };
}

/** @typedef {ReturnType<typeof values>} Values */
/** @type {Record<string, [label: string, cell: (entry: Entry, values: Values, zone: string) => Child]>} */
const CELLS = {
  action: ['Action', (_, { action }) => action],
  outcome: ['Outcome', (_, { outcome }) => outcome],
  user: ['User', (_, { user, role }) => h('span', {}, user, ' · ', role)],
  file: ['File', (_, { file }) => file],
  object: ['Business object', (_, { object }) => object],
  address: ['Address', (_, { address }) => address],
  request: ['Request', ({ request_id }) => h('code', { class: 'cut', title: request_id }, request_id)],
  device: ['Device', ({ device_info }) => device_info],
  place: ['Place', ({ seq }) => seq ?? h('span', { class: 'muted' }, 'not sealed yet')],
  kept: ['Kept until', ({ kept_until }, _, zone) => shown(Date.parse(kept_until), zone).slice(0, 10)],
};

/** @param {string} column */
const labelOf = (column) => CELLS[column]?.[0] ?? 'Time';

/** @param {View} view */
export function columnsButton(view) {
  const boxes = COLUMNS.map((column) => h('input', { type: 'checkbox', value: column, disabled: column === 'time' }));
  const labels = boxes.map((box) => h('label', {}, box, ` ${labelOf(box.value)}`));
  const choose = () => view.set({ columns: boxes.filter(({ checked }) => checked).map(({ value }) => value) });
  const opened = () => {
    for (const box of boxes) box.checked = view.state.columns.includes(box.value);
    place(pop, opener);
  };
  const pop = h('div', { class: 'columns', id: 'columns', popover: 'auto', role: 'group', 'aria-label': 'Columns', onchange: choose, ontoggle: opened }, labels);
  const opener = button({ popovertarget: 'columns' }, icon('columns'), 'Columns');
  return h('span', {}, opener, pop);
}

/** @param {{ onOpen: (id: string) => void, details: (entry: Entry) => HTMLElement }} parts `onOpen` also closes */
export function createTable({ onOpen, details }) {
  // A table whose rows are laid out as cards has no roles of its own.
  const head = h('thead', { role: 'rowgroup' });
  const body = h('tbody', { role: 'rowgroup' });
  // Wider than the window, it scrolls, and not the page.
  const table = h('table', { class: 'entries', role: 'table', 'aria-label': 'Entries of the audit log' }, head, body);
  const element = h('div', { class: 'wide' }, table);
  /** @type {Map<string, HTMLTableRowElement>} */
  const rows = new Map();
  /** @type {{ zone: string, columns: string[] }} */
  let look = { zone: '', columns: [] };
  /** The details of the open entry. @type {HTMLTableRowElement | null} */
  let opened = null;

  /** @param {Entry} entry */
  function row(entry) {
    const at = Date.parse(entry.timestamp);
    const time = h('time', { datetime: entry.timestamp }, shown(at, look.zone));
    const shownValues = values(entry);
    const cells = look.columns.slice(1).map((column) => {
      const [label, cell] = /** @type {NonNullable<typeof CELLS[string]>} */ (CELLS[column]);
      return h('td', { class: `col-${column}`, role: 'cell', 'data-label': label }, cell(entry, shownValues, look.zone));
    });
    return h('tr', { role: 'row', 'data-id': entry.id, class: entry.success !== 'true' && 'is-failure' },
      h('td', { class: 'col-time', role: 'cell' },
        button({ class: 'toggle', 'aria-expanded': 'false' }, time),
        h('span', { class: 'ago muted', 'data-at': at }, ago(at, Date.now()))),
      cells);
  }

  /** @param {string} id */
  const toggleOf = (id) => /** @type {HTMLElement | null | undefined} */ (rows.get(id)?.querySelector('.toggle'));

  /** @type {(id: string, isOpen: boolean) => void} */
  function mark(id, isOpen) {
    rows.get(id)?.classList.toggle('is-open', isOpen);
    toggleOf(id)?.setAttribute('aria-expanded', String(isOpen));
  }

  body.addEventListener('click', ({ target }) => {
    const place = /** @type {Element} */ (target);
    const row = /** @type {HTMLElement | null} */ (place.closest('[data-id]'));
    // Who marks a text to copy it does not want it to move.
    if (row && !place.closest('.value') && getSelection()?.isCollapsed !== false) onOpen(row.dataset.id ?? '');
  });

  const timer = setInterval(() => {
    if (!element.isConnected) return clearInterval(timer);
    for (const place of /** @type {NodeListOf<HTMLElement>} */ (body.querySelectorAll('.ago'))) {
      const text = ago(Number(place.dataset.at), Date.now());
      if (place.textContent !== text) place.textContent = text;
    }
  }, AGO_MS);

  return {
    element,

    /** What stays the same is not touched. @type {(found: Entry[], state: ViewState) => void} */
    show(found, { zone, columns, entry: open }) {
      if (zone !== look.zone || `${columns}` !== `${look.columns}`) {
        look = { zone, columns };
        opened = null;
        rows.clear();
        fill(body);
        table.style.minWidth = `${(columns.length - 1) * 11}rem`;
        fill(head, h('tr', { role: 'row' }, columns.map((column) => h('th', { scope: 'col', role: 'columnheader', class: `col-${column}` }, labelOf(column)))));
      }
      const ids = new Set(found.map(({ id }) => id));
      for (const [id, row] of rows) {
        if (ids.has(id)) continue;
        row.remove();
        rows.delete(id);
      }
      let next = body.firstElementChild;
      for (const entry of found) {
        if (next === opened) next = next?.nextElementSibling ?? null;
        const old = rows.get(entry.id);
        if (old && old === next) next = old.nextElementSibling;
        else rows.set(entry.id, body.insertBefore(old ?? row(entry), next));
      }
      const entry = found.find(({ id }) => id === open);
      if (opened?.dataset.of !== entry?.id) {
        opened?.remove();
        mark(opened?.dataset.of ?? '', false);
        opened = entry ? h('tr', { class: 'opened', role: 'row', 'data-of': open }, h('td', { role: 'cell', colspan: columns.length }, details(entry))) : null;
        mark(open, true);
      }
      if (opened && opened.previousElementSibling !== rows.get(open)) rows.get(open)?.after(opened);
    },

    /** @param {string} id */
    has: (id) => rows.has(id),

    /** Moves the focus by so many rows, if there is one. @param {number} by */
    move(by) {
      const ids = Array.from(body.querySelectorAll('[data-id]'), (row) => /** @type {HTMLElement} */ (row).dataset.id ?? '');
      const focused = /** @type {HTMLElement | null | undefined} */ (document.activeElement?.closest('[data-id], [data-of]'));
      const at = ids.indexOf(focused?.dataset.id ?? focused?.dataset.of ?? '');
      const toggle = toggleOf((at < 0 ? ids.at(by > 0 ? 0 : -1) : ids[at + by]) ?? '');
      toggle?.focus();
      return Boolean(toggle);
    },

    /** @param {string} id */
    focus: (id) => toggleOf(id)?.focus(),
  };
}

/** Half of the longest range in which a request is looked for. */
const AROUND_MS = 29 * 60_000;

/**
 * With the cursor of a query that found the entry, reading it is covered; with `known` it was read.
 *
 * @param {Entry} entry
 * @param {Context & { zone: string, cursor?: string, known?: Known, onQuery: (query: Query) => void, onLink: (id: string) => void, onClose: () => void }} page
 */
export function createDetails(entry, { zone, known, onQuery, onLink, onClose, ...context }) {
  const at = Date.parse(entry.timestamp);
  const { action, outcome, user, role, file, object, address } = values(entry, true);

  /** @type {(field: FieldName, value: string, from?: string, to?: string) => void} */
  const ask = (field, value, from = '', to = '') => onQuery({ ...parse('').query, from, to, terms: [{ field, value, not: false }] });
  const history = () => ask('file', entry.file_path ?? '');
  const [before, after] = [at - AROUND_MS, at + AROUND_MS].map((ms) => new Date(ms).toISOString());
  const request = () => ask('request', entry.request_id, before, after);

  const metadata = Object.entries(entry.metadata ?? {}).map(([name, value]) => /** @type {[string, Child]} */ ([name.replaceAll('_', ' '), String(value)]));
  const bytes = h('div', { class: 'bytes' }, h('p', { class: 'muted' }, 'Reading the exact bytes …'));
  read();
  return h('section', { class: 'details', 'aria-label': `Entry ${entry.id}` },
    h('div', { class: 'details-head' },
      h('h2', {}, 'Entry ', h('code', {}, entry.id)),
      h('div', { class: 'actions' },
        button({ onclick: () => onLink(entry.id) }, icon('link'), 'Copy link'),
        button({ onclick: onClose }, icon('cross'), 'Close'))),
    h('div', { class: 'groups' },
      group('What', ['Action', action], ['Outcome', outcome], ['Error', entry.error_message], ...metadata),
      group('Who', ['User', user], ['Subject', entry.sub], ['Role', role], ['Address', address], ['Device', entry.device_info]),
      (file || object) && group('On what', ['File', file, link('Its whole history', history)], ['Business object', object]),
      group('When', [zone, `${shown(at, zone)} (${ago(at, Date.now())})`], ['UTC', zone !== 'UTC' && entry.timestamp],
        ['Request', h('code', {}, entry.request_id), link('Everything of it', request)],
        ['Kept until', shown(Date.parse(entry.kept_until), zone).slice(0, 10)])),
    bytes);

  async function read() {
    try {
      const log = known ?? (await readEntry(context.api, entry.id, context.cursor));
      // It may have a place by now.
      const verify = createVerify({ ...context, entry: { ...entry, seq: entry.seq ?? log.seq }, raw: log.raw, leafHash: log.leaf_hash });
      fill(bytes, verify.element, h('details', {},
        h('summary', {}, 'The exact bytes that are sealed'),
        h('pre', { class: 'raw', tabindex: 0, 'aria-label': 'The exact bytes' }, visible(log.raw))));
    } catch (error) {
      fill(bytes, h('p', { class: 'bad' }, `${messageOf(error)} `, link('Try again', read)));
    }
  }
}

/** One entry with its bytes: the one that is asked for, and no other. @type {(api: Api, id: string, cursor?: string) => Promise<Known>} */
export async function readEntry(api, id, cursor) {
  const { log } = await api.get(`/${id}`, cursor ? [['cursor', cursor]] : []);
  if (log.id !== id) throw new Error(`The service answered with another entry: ${log.id}`);
  return log;
}

/** @type {(title: string, ...fields: Parameters<typeof facts>) => HTMLElement} */
const group = (title, ...fields) => h('section', {}, h('h3', {}, title), facts(...fields));

/** @type {(text: string, act: () => void) => HTMLElement} */
export const link = (text, act) => button({ class: 'link', onclick: act }, text);
