// The service's endpoints for the log, the pages of a query, and what is looked at.

import { DEFAULT_TEXT, equal, format, parse, toParams } from './query.js';
import { isZone, localZone } from './time.js';

/** What the service refused, or that it could not be asked. */
export class ApiError extends Error {
  /**
   * @param {number} status 0 if no answer came
   * @param {string} code stable, of the service
   * @param {string} detail for people
   * @param {string} [requestId] @param {number} [retryAfter] in seconds
   */
  constructor(status, code, detail, requestId, retryAfter) {
    super(detail);
    this.status = status;
    this.code = code;
    this.requestId = requestId;
    this.retryAfter = retryAfter;
  }
}

/** Paths are below `/audit-logs`. */
export class Api {
  #base;
  #token;
  #expired;

  /** @param {string} base @param {() => string | null} token @param {(token?: string) => void} expired hears which is refused */
  constructor(base, token, expired) {
    this.#base = base.replace(/\/+$/, '');
    this.#token = token;
    this.#expired = expired;
  }

  /** @type {(path: string, params?: Params, signal?: AbortSignal) => Promise<any>} */
  async get(path, params, signal) {
    return (await this.#call('GET', path, { params, signal })).json();
  }

  /** A checkpoint or a proof. @type {(path: string, params?: Params, signal?: AbortSignal) => Promise<string>} */
  async text(path, params, signal) {
    return (await this.#call('GET', path, { params, signal })).text();
  }

  /** @type {(path: string, what?: Asked) => Promise<any>} */
  async post(path, what = {}) {
    return (await this.#call('POST', path, what)).json();
  }

  /** @type {(path: string) => Promise<any>} */
  async remove(path) {
    return (await this.#call('DELETE', path, {})).json();
  }

  /** @type {(method: string, path: string, what: Asked) => Promise<Response>} */
  async #call(method, path, { params, body, key, signal }) {
    const token = this.#token();
    if (!token) {
      this.#expired();
      throw new ApiError(401, 'no_token', 'You are not signed in.');
    }
    const headers = new Headers({ Authorization: `Bearer ${token}` });
    if (body) headers.set('Content-Type', 'application/json');
    if (key) headers.set('Idempotency-Key', key);
    const query = params?.length ? `?${new URLSearchParams(params)}` : '';
    const answer = await fetch(`${this.#base}/audit-logs${path}${query}`, {
      method, headers, signal, body: body ? JSON.stringify(body) : undefined, cache: 'no-store', credentials: 'omit', referrerPolicy: 'no-referrer',
    }).catch((error) => {
      throw signal?.aborted ? error : new ApiError(0, 'offline', 'The service cannot be reached.');
    });
    if (answer.ok) return answer;
    if (answer.status === 401) this.#expired(token);
    const { code = 'unknown', detail = `The service answered ${answer.status}.`, request_id: id } = await answer.json().catch(() => ({}));
    throw new ApiError(answer.status, code, detail, id, Number(answer.headers.get('Retry-After')) || undefined);
  }
}

/** Entries on a page, and at first: over a slow connection so many come within a second. */
export const PAGE = 100;
const FIRST = 25;
/** A filter that matches little costs many looks: after so many somebody is asked whether to go on. */
const MAX_LOOKS = 10;

/** The pages of a query. Only the one that is shown is kept; going back asks with its cursor anew, and shows what it showed. */
export class Listing {
  /** How the pages up to this one were asked for. @type {Params[]} */ #asked = [];
  #stop = new AbortController();
  /** @type {Page | null} */ page = null;

  /** @param {Api} api @param {(page: Page) => void} onProgress */
  constructor(api, onProgress) {
    this.api = api;
    this.onProgress = onProgress;
  }

  /** From 1. */
  get number() {
    return this.#asked.length;
  }

  /** @type {(query: Query, zone: string) => Promise<Page>} */
  first(query, zone) {
    return this.#go([toParams(query, zone, Date.now())]);
  }

  older() {
    return this.#go([...this.#asked, this.#next()]);
  }

  newer() {
    return this.#go(this.#asked.slice(0, -1));
  }

  /** Does again what failed, from the beginning of the page that it was to show. */
  retry() {
    return this.#go(this.#asked);
  }

  /** Goes on looking for entries of this page. */
  more() {
    return this.#look(this.#next(), this.page, this.#begin());
  }

  stop() {
    this.#stop.abort();
  }

  /** @returns {Params} */
  #next() {
    return [['cursor', this.page?.next ?? '']];
  }

  #begin() {
    this.#stop.abort();
    this.#stop = new AbortController();
    return this.#stop.signal;
  }

  /** @param {Params[]} asked */
  async #go(asked) {
    this.#asked = asked;
    const page = await this.#look(/** @type {Params} */ (asked.at(-1)), null, this.#begin());
    // Asked anew, the query would be another one, with a bound of its own.
    if (asked.length === 1) this.#asked = [[['cursor', page.cursor]]];
    return page;
  }

  /** @type {(params: Params, page: Page | null, signal: AbortSignal) => Promise<Page>} */
  async #look(params, page, signal) {
    for (let looks = 1; ; looks += 1) {
      const limit = page ? PAGE - page.entries.length : this.number > 1 ? PAGE : FIRST;
      const answer = await this.api.get('', [...params, ['limit', `${limit}`]], signal);
      signal.throwIfAborted();
      page = {
        entries: [...(page?.entries ?? []), ...answer.logs],
        scanned: (page?.scanned ?? 0) + answer.scanned,
        next: answer.next_cursor ?? null,
        cursor: answer.cursor,
        newer: page?.newer ?? answer.newer_cursor,
        settled: answer.settled_before,
      };
      this.page = page;
      this.onProgress(page);
      if (!page.next || page.entries.length >= PAGE || looks === MAX_LOOKS) return page;
      params = this.#next();
    }
  }
}

/** Between two looks at what came since, live and not. */
const LIVE_MS = 3_000;
const IDLE_MS = 15_000;
/** An `AUDIT_READ` covers looks for 15 minutes. A page that is only left open must not write another one. */
const COVERED_MS = 14 * 60_000;

/** Looks for newer entries while the page is seen. They come newest first, each once; of each look it is told. */
export class Tail {
  /** @type {string | null} */ #cursor = null;
  /** @type {Set<string>} */ #known = new Set();
  #timer = 0;
  #stop = new AbortController();
  #coveredUntil = 0;
  #isLive = false;
  isFailing = false;

  /** @param {Api} api @param {(entries: Entry[]) => void} onEntries @param {AbortSignal} signal its end */
  constructor(api, onEntries, signal) {
    this.api = api;
    this.onEntries = onEntries;
    document.addEventListener('visibilitychange', () => this.#wait(0), { signal });
  }

  get isLive() {
    return this.#isLive;
  }

  set isLive(isLive) {
    this.#isLive = isLive;
    this.#wait(isLive ? 0 : IDLE_MS);
  }

  /** Follows a query from its first page on. @param {Page} page */
  follow(page) {
    this.stop();
    this.#stop = new AbortController();
    this.#cursor = page.newer;
    this.#known = new Set(page.entries.map(({ id }) => id));
    this.#coveredUntil = Date.now() + COVERED_MS;
    this.#wait(this.#isLive ? LIVE_MS : IDLE_MS);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#stop.abort();
    this.#cursor = null;
  }

  /** @param {number} ms */
  #wait(ms) {
    clearTimeout(this.#timer);
    const isAllowed = this.#isLive || Date.now() < this.#coveredUntil;
    if (this.#cursor && isAllowed && !document.hidden) this.#timer = setTimeout(() => this.#look(), ms);
  }

  async #look() {
    const { signal } = this.#stop;
    let pause = this.#isLive ? LIVE_MS : IDLE_MS;
    try {
      const { logs, newer_cursor, complete } = await this.api.get('', [['cursor', this.#cursor ?? '']], signal);
      if (signal.aborted) return;
      this.#cursor = newer_cursor;
      this.isFailing = false;
      /** @type {Entry[]} */
      const entries = logs.filter((/** @type {Entry} */ { id }) => !this.#known.has(id));
      // Looks overlap by half a minute: what is older does not come again.
      this.#known = new Set([...[...this.#known].slice(-5_000), ...entries.map(({ id }) => id)]);
      this.onEntries(entries);
      if (!complete) pause = 0;
    } catch (error) {
      if (signal.aborted || !(error instanceof ApiError) || error.status === 403) return;
      this.isFailing = true;
      this.onEntries([]);
      pause = Math.max(pause, (error.retryAfter ?? 0) * 1000);
    }
    this.#wait(pause);
  }
}

export const COLUMNS = ['time', 'action', 'outcome', 'user', 'file', 'object', 'address', 'request', 'device', 'place', 'kept'];
const AT_FIRST = COLUMNS.slice(0, 7);

/**
 * Filter, zone, columns, the open entry. All of it stands in the URL's fragment, which browsers send to nobody: a link is a view, and
 * the names in it stay out of every server's log. The detail of `change` are the names of what changed.
 */
export class View extends EventTarget {
  #state = read();

  /** @param {AbortSignal} signal its end */
  constructor(signal) {
    super();
    // Back and forward, or another fragment typed.
    for (const event of ['popstate', 'hashchange']) addEventListener(event, () => this.#take(read()), { signal });
  }

  get state() {
    return this.#state;
  }

  /** An open entry closes with its query. @param {Partial<ViewState>} change */
  set(change) {
    const isStep = change.query !== undefined && !equal(change.query, this.#state.query);
    const state = { ...this.#state, ...(isStep && { entry: '' }), ...(change.query && { misread: '' }), ...change };
    if (write(state) === write(this.#state)) return;
    // Each query is a step to come back to; an opened entry or another column is none.
    history[isStep ? 'pushState' : 'replaceState'](null, '', write(state));
    this.#take(state);
  }

  /** @param {Partial<ViewState>} [change] */
  link(change) {
    return new URL(write({ ...this.#state, ...change }), location.href).href;
  }

  /** @param {ViewState} state */
  #take(state) {
    const { query, misread, zone, entry, columns } = this.#state;
    const changed = new Set([
      (equal(state.query, query) && state.misread === misread) || 'query',
      state.zone === zone || 'zone',
      state.entry === entry || 'entry',
      `${state.columns}` === `${columns}` || 'columns',
    ]);
    this.#state = state;
    changed.delete(true);
    if (changed.size > 0) this.dispatchEvent(new CustomEvent('change', { detail: changed }));
  }
}

/** @returns {ViewState} */
function read() {
  const { tz = '', entry = '', cols = '', q = DEFAULT_TEXT } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const zone = isZone(tz) ? tz : localZone();
  const columns = COLUMNS.filter((name) => name === 'time' || cols.split(',').includes(name));
  const { query, problems } = parse(q, zone);
  return {
    query,
    misread: problems.length > 0 ? q : '',
    zone,
    // A ULID.
    entry: /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/.test(entry) ? entry : '',
    columns: columns.length > 1 ? columns : AT_FIRST,
  };
}

/** The zone is always named: a link means the same in another place. @param {ViewState} state */
function write({ query, misread, zone, entry, columns }) {
  const parts = new URLSearchParams({ q: misread || format(query), tz: zone });
  if (entry) parts.set('entry', entry);
  if (`${columns}` !== `${AT_FIRST}`) parts.set('cols', `${columns}`);
  return `#${parts}`;
}
