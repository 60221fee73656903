// A copy of what a query finds: the page asks the service to go on until the file is there. Its signed URL is a key: it stands in a
// link and nowhere else.

import { button, count, facts, fill, h, icon, messageOf, save } from './dom.js';
import { ApiError } from './log.js';
import { format as textOf, toParams } from './query.js';
import { shown } from './time.js';

const FORMATS = [
  ['csv', 'CSV', 'For spreadsheets. Cells that would be read as formulas are made harmless.'],
  ['ndjson', 'NDJSON', 'The exact bytes that were sealed, an entry a line: for verifying and archiving.'],
  ['ocsf', 'OCSF', 'Events in the Open Cybersecurity Schema, for a SIEM.'],
];
/** What passes, by status or code. */
const PASSING = [0, 429, 502, 503, 504, 'export_in_progress', 'request_in_progress'];
const MAX_PAUSE = 30;
/** Whoever is to wait longer decides himself. */
const MAX_RETRY_AFTER = 60;
/** An older URL may be over; by its age, since clocks differ. */
const MAX_URL_AGE = 5 * 60_000;

/** As exports take it: without an order. @type {(query: Query, zone: string, now: number) => Record<string, string | string[]>} */
export function filterOf(query, zone, now) {
  const params = toParams({ ...query, order: 'desc' }, zone, now);
  const values = (/** @type {string} */ wanted) => params.filter(([name]) => name === wanted).map(([, value]) => value);
  return Object.fromEntries(params.map(([name, value]) => [name, values(name).length > 1 ? values(name) : value]));
}

/**
 * Asks until it is answered, as long as what is in the way may pass. `told` hears what that is, and an empty text behind it.
 *
 * @type {<T>(ask: () => Promise<T>, told: (text: string) => void, signal: AbortSignal) => Promise<T>}
 */
export async function insist(ask, told, signal) {
  for (let pause = 1; ; pause = Math.min(2 * pause, MAX_PAUSE)) {
    signal.throwIfAborted();
    try {
      const answer = await ask();
      told('');
      return answer;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      const { status, code, retryAfter: seconds = pause, message } = error;
      if (![status, code].some((what) => PASSING.includes(what)) || seconds > MAX_RETRY_AFTER) throw error;
      told(`${message.replace(/\.?$/, '.')} Trying again in ${seconds} s.`);
      signal.throwIfAborted();
      await new Promise((resolve) => {
        setTimeout(resolve, seconds * 1000);
        signal.addEventListener('abort', resolve);
      });
    }
  }
}

/**
 * When `signal` aborts, nothing of it is left, or asked in the name of the next person.
 *
 * @param {{ api: Api, query: Query, zone: string, signal: AbortSignal }} what
 */
export function openExport({ api, query, zone, signal: life }) {
  const stop = new AbortController();
  const { signal } = stop;
  const status = h('p', { role: 'status', class: 'export-status' });
  const body = h('div', { class: 'export-body' });
  const title = h('h2', { id: 'export-title', tabindex: -1 });
  const dialog = h('dialog', { class: 'export', 'aria-labelledby': 'export-title', onclose }, title, body, status);
  const close = (/** @type {string} */ name) => button({ onclick: () => dialog.close() }, name);
  const say = (/** @type {string} */ text) => fill(status, text);
  let format = 'csv';
  let id = '';

  /** @type {(name: string, content: Children, ...buttons: Child[]) => void} */
  function step(name, content, ...buttons) {
    fill(title, name);
    fill(body, ...content, h('div', { class: 'actions' }, buttons));
    title.focus();
  }

  function form() {
    const cards = FORMATS.map(([value, name, text]) => h('label', { class: 'export-card' },
      h('input', { type: 'radio', name: 'export-format', checked: value === format, onchange: () => (format = `${value}`) }),
      h('span', {}, h('strong', {}, name), h('span', { class: 'muted' }, text))));
    step('Export', [
      facts(['Entries', h('code', {}, textOf(query) || 'all')], ['Times', zone]),
      h('fieldset', {}, h('legend', {}, 'Format'), cards),
    ], close('Cancel'), button({ class: 'primary', onclick: start }, 'Start'));
  }

  /** @returns {Promise<Export>} */
  const go = () => insist(() => api.post(`/exports/${id}/continue`), say, signal);

  async function start() {
    const numbers = h('p', {}, 'Beginning …');
    step('Exporting …', [h('progress', { 'aria-label': 'Exporting' }), numbers], close('Cancel'));
    const key = crypto.randomUUID();
    const body = { format, filter: filterOf(query, zone, Date.now()) };
    try {
      /** @type {Export} */
      let now = await (id ? go() : insist(() => api.post('/exports', { body, key }), say, signal));
      for (;;) {
        id = now.export_id;
        signal.throwIfAborted();
        if (now.url) return done(now, now.url);
        fill(numbers, `${count(now.scanned)} looked at · ${count(now.written)} written · ${count(now.bytes)} bytes`);
        now = await go();
      }
    } catch (error) {
      // Nobody waits for this: what is not cancelled ends by itself.
      if (!signal.aborted) failed(error);
      else if (id) insist(() => api.remove(`/exports/${id}`), say, AbortSignal.any([life, AbortSignal.timeout(60_000)])).catch(() => {});
    }
  }

  /** @param {unknown} error */
  function failed(error) {
    const { code, message, requestId } = error instanceof ApiError ? error : { code: '', message: messageOf(error), requestId: '' };
    // One that is over is begun anew.
    if (code.startsWith('export_')) id = '';
    say('');
    step('The export did not work', [
      h('p', { class: 'bad', role: 'alert' }, message),
      requestId && h('p', { class: 'muted' }, 'Request ', h('code', {}, requestId)),
    ], close('Close'), button({ class: 'primary', onclick: id ? start : form }, id ? 'Go on' : 'Back'));
  }

  /** @param {Export} ready @param {string} url */
  function done({ manifest, written, bytes, expires_at, file_path = '' }, url) {
    if (!/^https?:/.test(url)) throw new Error('The service gave no address to download from.');
    const name = file_path.split('/').at(-1) ?? '';
    const signedAt = Date.now();
    /** @param {Event} event */
    async function renew(event) {
      if (Date.now() - signedAt < MAX_URL_AGE) return;
      event.preventDefault();
      await start();
      dialog.querySelector('a')?.click();
    }
    step('The export is ready', [facts(
      ['Entries', count(written)],
      ['Size', `${count(bytes)} bytes`],
      ['SHA-256', h('code', {}, manifest?.sha256)],
      ['Available', `to you alone, until ${shown(Date.parse(expires_at), zone)}`],
    )],
    close('Close'),
    button({ onclick: () => save(`${name}.manifest.json`, 'application/json', `${JSON.stringify(manifest, null, 2)}\n`) }, 'Save manifest'),
    h('a', { class: 'button primary', href: url, download: name, rel: 'noreferrer', onclick: renew }, icon('save'), 'Download'));
  }

  function onclose() {
    stop.abort();
    dialog.remove();
  }
  life.addEventListener('abort', onclose, { signal });
  document.body.append(dialog);
  form();
  dialog.showModal();
}
