// The page.

import { announce, button, copy, count, createShortcuts, fill, h, icon, loading, messageOf, openMenu, state } from './dom.js';
import { columnsButton, createDetails, createTable, link, readEntry } from './entries.js';
import { openExport } from './exports.js';
import { createFilters } from './filters.js';
import { createHistogram } from './histogram.js';
import { Api, ApiError, Listing, PAGE, Tail, View } from './log.js';
import { DEFAULT_TEXT, exclude, format, only, parse } from './query.js';
import { createBadge } from './seal.js';
import { createSession, loadConfig } from './session.js';
import { shown } from './time.js';

/** Rows that a live table keeps. */
const MAX_LIVE = 500;
const BADGE_MS = 60_000;

const app = /** @type {HTMLElement} */ (document.getElementById('app'));
try {
  const config = await loadConfig();
  const session = createSession(config);
  for (;;) {
    await session.signIn();
    await use(config, session);
  }
} catch (error) {
  fill(app, h('main', {}, state('warning', 'The page cannot start', [messageOf(error)], [], 'bad')));
}

/** The page of one person: nothing of it is left for the next. @type {(config: Config, session: Session) => Promise<void>} */
function use(config, session) {
  const { org_id: org = '', role = '' } = session.claims() ?? {};
  const life = new AbortController();
  const { signal } = life;

  const view = new View(signal);
  const api = new Api(config.api, () => session.token(), (token) => session.expired(token));
  const context = { api, config, org, signal };
  const badge = createBadge(context);
  /** @param {Partial<Query>} change */
  const ask = (change) => view.set({ query: { ...view.state.query, ...change } });
  const histogram = createHistogram({ api, onNarrow: (from, to) => ask({ from, to }), onAsOf: (asOf) => badge.refresh(asOf) });
  const filters = createFilters({ onChange: ask, onZone: (zone) => view.set({ zone }) });
  const table = createTable({
    onOpen: (id) => view.set({ entry: view.state.entry === id ? '' : id }),
    details: (entry) => details(entry, listing.page?.cursor),
  });
  const listing = new Listing(api, found);
  const tail = new Tail(api, arrived, signal);

  /** @type {Entry[]} */
  let entries = [];
  /** Newer ones, not shown yet. @type {Entry[]} */
  let waiting = [];
  /** Does again what failed. @type {(() => void) | null} */
  let again = null;
  /** Only the last answer is shown. */
  let turn = 0;
  let isBusy = false;

  const copyLink = () => copy(view.link(), 'Link copied');
  const exportAll = () => openExport({ api, signal, query: view.state.query, zone: view.state.zone });
  /** Another page: an open entry stays behind. @param {() => Promise<Page>} asked */
  const turnTo = (asked) => {
    view.set({ entry: '' });
    go(asked);
  };
  const older = button({ onclick: () => turnTo(() => listing.older()) }, 'Older', icon('right'));
  const newer = button({ onclick: () => turnTo(() => listing.newer()) }, icon('left'), 'Newer');
  const number = h('span', { class: 'muted' });
  const pager = h('nav', { class: 'pager', 'aria-label': 'Pages', hidden: true }, newer, number, older);
  const live = button({ 'aria-pressed': 'false', title: 'Show entries as they are written', onclick: follow }, icon('live'), 'Live');
  const pill = button({ class: 'pill primary', hidden: true, onclick: showNewer });
  const status = h('p', { class: 'status', role: 'status' });
  const place = h('div');
  const linked = h('div', { class: 'linked', hidden: true });
  const list = h('section', { class: 'list', 'aria-label': 'Entries', tabindex: -1 },
    h('div', { class: 'bar' }, status, pill, h('div', { class: 'tools' }, live, columnsButton(view),
      button({ onclick: copyLink }, icon('link'), 'Copy link'),
      button({ onclick: exportAll }, icon('save'), 'Export'),
      button({ onclick: () => print() }, icon('print'), 'Print'))),
    linked, place, table.element, pager);
  const printed = h('p', { class: 'printed' });
  const help = createShortcuts(signal, [
    { key: '/', text: 'Write a filter', act: () => filters.focus() },
    { key: 'j', text: 'Next entry', act: () => table.move(1) || older.focus() },
    { key: 'k', text: 'Entry before', act: () => table.move(-1) || newer.focus() },
    { key: 'Enter', text: 'Open or close the entry' },
    { key: 'Escape', text: 'Close the entry', act: close },
    { key: 'n', text: 'Show newer entries', act: showNewer },
    { key: 'l', text: 'Follow live, or stop', act: follow },
    { key: 'c', text: 'Copy the link to this view', act: copyLink },
    { key: 'e', text: 'Export', act: exportAll },
  ]);
  fill(app,
    button({ class: 'skip', onclick: () => list.focus() }, 'Skip to the entries'),
    h('header', { class: 'top' },
      h('div', { class: 'brand' }, h('img', { src: 'icon.svg', alt: '', width: 24, height: 24 }), h('h1', {}, 'Audit log'), h('span', { class: 'org' }, org)),
      badge.element,
      h('div', { class: 'tools' },
        button({ class: 'quiet', 'aria-label': 'Keyboard help', title: 'Keyboard help (?)', onclick: help.open }, icon('help')), session.element)),
    h('main', {}, printed, filters.element, histogram.element, list));

  list.addEventListener('click', ({ target }) => {
    const value = /** @type {HTMLElement | null} */ (/** @type {Element} */ (target).closest('.value'));
    if (value) valueMenu(value);
  });
  view.addEventListener('change', (event) => changed(/** @type {CustomEvent<Set<string>>} */ (event).detail));
  // At once, requests still fail at times.
  addEventListener('online', () => setTimeout(resume, 500), { signal });
  addEventListener('beforeprint', () => {
    const { query, zone } = view.state;
    const what = [`Audit log of ${org}`, format(query) || 'everything', `times in ${zone}`, `printed ${shown(Date.now(), zone)} by ${session.claims()?.sub}`];
    printed.textContent = [...what, badge.element.firstElementChild?.textContent].join(' · ');
  }, { signal });
  const timer = setInterval(() => document.hidden || !session.token() || badge.refresh(), BADGE_MS);
  changed(new Set(['query']));
  return new Promise((resolve) => session.addEventListener('change', (event) => {
    if (!(/** @type {CustomEvent} */ (event).detail.other)) return resume();
    life.abort();
    clearInterval(timer);
    listing.stop();
    tail.stop();
    fill(app);
    resolve();
  }, { signal }));

  /** @param {Set<string>} what */
  function changed(what) {
    const { query, zone, misread } = view.state;
    filters.update({ query, zone, misread });
    const isOther = what.has('query') || (what.has('zone') && dependsOnZone(query));
    if (isOther) load();
    else render();
    if (!misread && (isOther || what.has('zone'))) showBars();
  }

  function showBars() {
    histogram.update({ query: view.state.query, zone: view.state.zone, now: Date.now() });
  }

  /** After a time without connection or sign-in. */
  function resume() {
    if (!again) return;
    again();
    showBars();
  }

  function load() {
    const { query, zone, misread } = view.state;
    entries = [];
    if (!misread) return go(() => listing.first(query, zone), false);
    turn += 1;
    listing.stop();
    tail.stop();
    pager.hidden = true;
    const reset = { text: 'Start over', act: () => ask(parse(DEFAULT_TEXT).query) };
    fill(place, state('search', 'This filter is not understood', ['Nothing was asked for: put it right above.'], [reset], 'warn'));
    render();
  }

  /** @type {(asked: () => Promise<Page>, isPaging?: boolean) => Promise<void>} */
  async function go(asked, isPaging = true) {
    const mine = (turn += 1);
    again = null;
    isBusy = true;
    waiting = [];
    tail.stop();
    pill.hidden = pager.hidden = true;
    list.setAttribute('aria-busy', 'true');
    if (entries.length === 0) fill(place, loading());
    render();
    try {
      end(await asked());
      // In the next frame, which lays out the rows anyway: scrolling would do it at once.
      if (isPaging) requestAnimationFrame(() => list.scrollIntoView());
    } catch (error) {
      if (mine !== turn || signal.aborted) return;
      again = () => go(() => listing.retry(), isPaging);
      entries = [];
      status.textContent = '';
      fill(place, failure(error, again));
      announce(place.querySelector('h2')?.textContent ?? '');
      badge.refresh();
    }
    if (mine !== turn) return;
    isBusy = false;
    list.removeAttribute('aria-busy');
    render();
    keepFocus();
  }

  /** Where the focus is lost, the list gets it. */
  function keepFocus() {
    if (document.activeElement === document.body) list.focus({ preventScroll: true });
  }

  /** @type {(error: unknown, retry: () => void) => HTMLElement} */
  function failure(error, retry) {
    const again = [{ text: 'Try again', act: retry }];
    if (!(error instanceof ApiError)) return state('warning', 'This page failed', [messageOf(error)], again, 'bad');
    const id = error.requestId && h('span', { class: 'muted' }, h('br'), 'Request ', h('code', {}, error.requestId));
    switch (error.status) {
      case 0:
        return state('warning', 'Offline', ['The service cannot be reached. As soon as there is a connection, it is tried again.'], again, 'warn');
      case 400:
        return state('search', 'This filter is not understood', [error.message, id], [{ text: 'Start over', act: () => ask(parse(DEFAULT_TEXT).query) }], 'warn');
      case 401:
        return state('clock', 'Your sign-in has ended', ['Sign in again: the view stays as it is.'], again, 'warn');
      case 403:
        return state('shield', 'Not for this role', [`The role ${role} may not read the audit log. Ask an administrator, or sign in as somebody who may.`, id],
          [{ text: 'Sign in as somebody else', act: session.signOut }], 'warn');
      default:
        return state('warning', 'The log cannot be shown now', [error.message, id], again, 'bad');
    }
  }

  /** @param {Page} page */
  function found(page) {
    entries = page.entries;
    if (entries.length > 0) fill(place);
    render();
    say();
  }

  /** @param {Page} page */
  function end({ next, scanned, ...page }) {
    const { query } = view.state;
    if (listing.number > 1 || query.order === 'asc' || query.to) setLive(false);
    else tail.follow({ next, scanned, ...page });
    if (entries.length === 0) fill(place, nothing(query, next !== null, scanned));
    newer.disabled = listing.number <= 1;
    older.disabled = !next;
    number.textContent = `Page ${listing.number}`;
    pager.hidden = newer.disabled && older.disabled;
    announce(`${entries.length} entries`);
    say();
  }

  /** @type {(query: Query, hasMore: boolean, scanned: number) => HTMLElement} */
  function nothing({ from, to, terms, hours }, hasMore, scanned) {
    if (hasMore) {
      const text = `${count(scanned)} entries were looked at, and there are more. A shorter range is faster.`;
      return state('clock', 'Nothing found so far', [text], [{ text: 'Keep looking', act: () => go(() => listing.more()) }]);
    }
    const reset = { text: 'Remove all filters', act: () => ask(parse('').query) };
    if (from || to) {
      const text = `Every entry from ${from || 'the beginning'} to ${to || 'now'} was looked at.`;
      return state('search', 'No entry matches', [text], [{ text: 'Show all time', act: () => ask({ from: '', to: '' }) }, reset]);
    }
    if (terms.length > 0 || hours) return state('search', 'No entry matches', ['Every entry was looked at.'], [reset]);
    return state('shield', 'The log is empty', ['Nothing has happened to a file of your organisation yet. Entries show here seconds after they are written.']);
  }

  function render() {
    table.element.hidden = entries.length === 0;
    table.show(entries, view.state);
    showLinked(view.state.entry);
  }

  function say() {
    if (!listing.page) return;
    const { next, scanned, settled } = listing.page;
    const many = `${entries.length} ${entries.length === 1 ? 'entry' : 'entries'}${next && entries.length > 0 ? ' on this page' : ''}`;
    const looked = next && entries.length < PAGE ? `, ${count(scanned)} looked at so far` : '';
    const following = tail.isFailing ? 'Live: no connection, trying again' : 'Following live';
    status.textContent = tail.isLive ? following : `${many}${looked} · complete up to ${shown(Date.parse(settled), view.state.zone).slice(11)}`;
    status.title = `All that was written before ${settled} is here; what is younger may still come.`;
    pill.hidden = waiting.length === 0;
    pill.textContent = `${waiting.length} newer`;
  }

  /** An entry that a link names and that is not on this page. @param {string} id */
  async function showLinked(id) {
    linked.hidden = !id || table.has(id) || isBusy;
    const what = `${id} ${view.state.zone}`;
    if (linked.hidden || linked.dataset.of === what) return;
    linked.dataset.of = what;
    fill(linked, loading());
    try {
      const known = await readEntry(api, id);
      fill(linked, h('p', { class: 'muted' }, 'The entry of this link is not on this page of the list:'), details(known, undefined, known));
    } catch (error) {
      // Not again by itself: each try stands in the log.
      const retry = () => {
        delete linked.dataset.of;
        showLinked(id);
      };
      fill(linked, h('p', { class: 'bad' }, `The entry of this link cannot be shown. ${messageOf(error)} `, link('Try again', retry)));
    }
  }

  /** @type {(entry: Entry, cursor?: string, known?: Known) => HTMLElement} */
  function details(entry, cursor, known) {
    return createDetails(entry, {
      ...context, zone: view.state.zone, cursor, known,
      onQuery: ask,
      onLink: (entry) => copy(view.link({ entry }), 'Link to the entry copied'),
      onClose: close,
    });
  }

  function close() {
    const { entry } = view.state;
    view.set({ entry: '' });
    table.focus(entry);
    keepFocus();
  }

  /** @param {Entry[]} found */
  function arrived(found) {
    waiting = [...found, ...waiting];
    if (tail.isLive) showNewer();
    say();
  }

  function showNewer() {
    if (waiting.length === 0) return;
    announce(`${waiting.length} newer entries`);
    entries = [...waiting, ...entries].slice(0, MAX_LIVE);
    waiting = [];
    fill(place);
    render();
    say();
    keepFocus();
  }

  /** @param {boolean} isLive */
  function setLive(isLive) {
    tail.isLive = isLive;
    live.setAttribute('aria-pressed', `${isLive}`);
  }

  function follow() {
    setLive(!tail.isLive);
    const { to, order } = view.state.query;
    if (tail.isLive) {
      if (to || order === 'asc') ask({ to: '', order: 'desc' });
      else if (listing.number > 1) load();
      else showNewer();
    }
    say();
  }

  /** @param {HTMLElement} place */
  function valueMenu(place) {
    const field = /** @type {FieldName} */ (place.dataset.field);
    const { value = '', type } = place.dataset;
    const name = `${field} ${value.length > 40 ? `${value.slice(0, 40)}…` : value}`;
    // An object's id needs its type.
    const query = type ? only(view.state.query, 'type', type) : view.state.query;
    openMenu(place, name, [
      { text: `Only ${name}`, act: () => ask(only(query, field, value)) },
      { text: `Without ${name}`, act: () => ask(exclude(view.state.query, field, value)) },
      { text: 'Copy', act: () => copy(value, 'Copied') },
    ]);
  }
}

/** It has times of the day, or without an offset. @param {Query} query */
function dependsOnZone({ from, to, hours }) {
  return Boolean(hours) || [from, to].some((time) => time && !/^-|Z$|[+-]\d\d:\d\d$/i.test(time));
}
