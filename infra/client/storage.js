/**
 * The storage service for pages: one ES module without dependencies or a build step. Copy it, or serve it as it is.
 *
 * A file of up to 4 MiB travels in one request. A larger one goes to the bucket itself, in parts, four at a time. What
 * fails is tried again. Uploading the same file to the same place once more, after a closed tab or a lost connection,
 * continues: all that is remembered, in localStorage, is the id of the upload.
 *
 * Knows nothing of roles and file types: the service says what may be stored where. Requests go by XMLHttpRequest,
 * since fetch does not tell what it has sent. Needs a browser of 2024 or later, and for WebCrypto a page of https or of
 * localhost.
 */

/**
 * Where a file belongs, in the service's own words. The name of what is stored begins with the time, unless
 * `add_timestamp` is false.
 * @typedef {{org_id: string, system: string, object_type: string, object_id: string, related_object_type?: string,
 *   related_object_id?: string, add_timestamp?: boolean}} Context
 * @typedef {{size: number, mime_type: string, uploaded_at: string, original_filename: string, sha256: string | null,
 *   integrity?: "pending" | "verified" | "failed"}} Metadata
 * @typedef {{file_path: string, metadata: Metadata}} Stored
 * @typedef {{url: string, expires_at: string}} Link
 * @typedef {(sentBytes: number, totalBytes: number) => void} OnProgress
 * @typedef {{onProgress?: OnProgress, signal?: AbortSignal}} UploadOptions
 * @typedef {string | (() => string | Promise<string>)} Token
 *
 * @typedef {{part_number: number, size_bytes: number, method: string, url: string,
 *   headers: Record<string, string>}} Part
 * @typedef {{upload_id: string, file_path: string, part_size_bytes: number, part_count: number, parts: Part[],
 *   state?: string}} Session
 * @typedef {(part: number, bytes: number) => void} Meter
 * @typedef {{service: Service, file: File, context: Context, meter: Meter, signal?: AbortSignal}} Job
 * @typedef {{signal?: AbortSignal, onSent?: (bytes: number) => void}} Watch
 * @typedef {Watch & {json?: object, form?: FormData, key?: string}} Options
 * @typedef {Watch & {body?: XMLHttpRequestBodyInit}} Sent
 * @typedef {{status: number, text: string, retryAfter?: number}} Answer
 */

const MIB = 1024 * 1024;
/** The largest file that fits into one request: Lambda takes 6 MB, and makes base64 of it. */
const MAX_INLINE_BYTES = 4 * MIB;
/** WebCrypto hashes only what is in memory as a whole. The service hashes what is larger. */
const MAX_HASHED_BYTES = 64 * MIB;
const PARTS_AT_ONCE = 4;
/** URLs live 15 minutes, and nothing is begun with an older one than this. */
const FRESH_URL_MS = 10 * 60_000;
/** With the pauses in between, a connection may be gone for a minute and a half. */
const TRIES = 8;
/** Looking at a large file takes the service several requests, all but the last of which end with a 503. */
const TRIES_TO_COMPLETE = 30;
const MAX_PAUSE_MS = 30_000;
/** Who is told to come back later than this must decide whether to. */
const MAX_RETRY_AFTER_SECONDS = 30;
/** A connection on which nothing moves for so long is dead, even if the browser has not noticed. */
const SILENCE_MS = 60_000;

/** What came instead of what was asked for. */
export class StorageError extends Error {
  /**
   * @param {number} status The HTTP status; 0 if there was no answer.
   * @param {string} code Stable: the service's; `no_answer`; `part_refused`, by the bucket; or like `http_502`.
   * @param {string} detail For people.
   * @param {Record<string, any>} [more] What else the service says, such as `max_bytes`.
   * @param {number} [retryAfter] Seconds.
   */
  constructor(status, code, detail, more = {}, retryAfter) {
    super(`${code}: ${detail}`);
    this.name = 'StorageError';
    this.status = status;
    this.code = code;
    this.detail = detail;
    this.more = more;
    this.retryAfter = retryAfter;
    /** What the operator finds it by. @type {string | undefined} */
    this.requestId = more.request_id;
  }

  /** Whether the same request may succeed soon. */
  get isPassing() {
    if (this.retryAfter !== undefined) return this.retryAfter <= MAX_RETRY_AFTER_SECONDS;
    return [0, 502, 503, 504].includes(this.status) || this.code === 'part_refused';
  }
}

/** The service, for one user. */
export class Storage {
  #service;

  /**
   * @param {object} options
   * @param {string} options.api Where the service is: `https://…/api/storage`.
   * @param {Token} options.token The access token, or what gives one that is valid now: it is asked before every
   *   request, since an upload may outlive a token.
   */
  constructor({ api, token }) {
    this.#service = new Service(api.replace(/\/+$/, ''), token);
  }

  /**
   * Stores a file. If it fails, or `signal` aborts it, what was sent of a large file remains for a day: the next
   * `upload` of the same file and context continues, `discard` gives it up. Progress only rises; a file of which
   * everything is sent is not yet stored, since the service looks at it first.
   * @type {(file: File, context: Context, options?: UploadOptions) => Promise<Stored>}
   */
  async upload(file, context, { onProgress, signal } = {}) {
    const service = this.#service;
    const meter = meterOf(file.size, onProgress);
    if (file.size > MAX_INLINE_BYTES) return new DirectUpload({ service, file, context, meter, signal }).run();
    const form = new FormData();
    for (const [name, value] of Object.entries(context)) if (value !== undefined) form.append(name, String(value));
    form.append('file', file);
    const stored = await service.call('POST', '/upload', { form, signal, onSent: (bytes) => meter(1, bytes) });
    meter(1, file.size);
    return stored;
  }

  /**
   * Gives up an upload that did not end. What is stored stays.
   * @type {(file: File, context: Context) => Promise<void>}
   */
  async discard(file, context) {
    const name = await sessionName(this.#service, file, context);
    const id = sessions((storage) => storage.getItem(name));
    // What has ended needs no end: 409.
    if (id) await this.#service.call('DELETE', `/uploads/${id}`).catch(undefinedIf(404, 409));
    sessions((storage) => storage.removeItem(name));
  }

  /**
   * A link to a file, which works for whoever has it, for 60 to 900 seconds: to open it in the browser, where that is
   * safe, or to save it.
   * @type {(filePath: string, options?: {expiresIn?: number, purpose?: "view" | "download"}) => Promise<Link>}
   */
  signedUrl(filePath, { expiresIn, purpose } = {}) {
    const json = { file_path: filePath, expires_in: expiresIn, purpose };
    return this.#service.call('POST', '/signed-url', { json });
  }

  /**
   * Hides a file, or removes it for good.
   * @type {(filePath: string, options?: {hard?: boolean}) => Promise<{message: string}>}
   */
  remove(filePath, { hard = false } = {}) {
    return this.#service.call('DELETE', '/delete', { json: { file_path: filePath, hard_delete: hard } });
  }

  /**
   * What is recorded about a file.
   * @type {(filePath: string) => Promise<Record<string, any>>}
   */
  metadata(filePath) {
    return this.#service.call('GET', `/metadata/${filePath.split('/').map(encodeURIComponent).join('/')}`);
  }
}

/** One file's way to the bucket, in parts. */
class DirectUpload {
  /** The parts that nobody has begun to send. @type {number[]} */
  #queue = [];
  /** The parts that came with the session, until something is sent to their URLs. @type {Map<number, Part>} */
  #signed = new Map();
  #signedAt = 0;

  /** @param {Job} job */
  constructor(job) {
    this.job = job;
  }

  /** @returns {Promise<Stored>} */
  async run() {
    const { service, file, context, signal } = this.job;
    const name = await sessionName(service, file, context);
    const old = sessions((storage) => storage.getItem(name));
    const session = (await this.#resume(old)) ?? (await this.#begin());
    const id = session.upload_id;
    sessions((storage) => storage.setItem(name, id));
    for (let round = 1; ; round++) {
      await this.#sendParts(session);
      try {
        // The key is the upload's: a page that continues gets the answer that the one before did not live to see.
        const options = { key: `complete-${id}`, signal, tries: TRIES_TO_COMPLETE };
        const stored = await service.call('POST', `/uploads/${id}/complete`, options);
        sessions((storage) => storage.removeItem(name));
        return stored;
      } catch (error) {
        if (!(error instanceof StorageError) || error.code !== 'parts_missing' || round === TRIES) throw error;
        this.#queue = error.more.missing;
      }
    }
  }

  /** @returns {Promise<Session>} */
  async #begin() {
    const { service, file, context, signal } = this.job;
    const sha256 = file.size <= MAX_HASHED_BYTES ? await sha256Of(await file.arrayBuffer()) : undefined;
    // What the browser does not know is declared as what the service takes for undeclared.
    const mime_type = file.type || 'application/octet-stream';
    const json = { ...context, filename: file.name, size_bytes: file.size, mime_type, sha256 };
    /** @type {Session} */
    const session = await service.call('POST', '/uploads', { json, signal });
    this.#signed = new Map(session.parts.map((part) => [part.part_number, part]));
    this.#signedAt = Date.now();
    this.#queue = Array.from({ length: session.part_count }, (_, index) => index + 1);
    return session;
  }

  /** @type {(id: string | null) => Promise<Session | undefined>} */
  async #resume(id) {
    const { service, meter, signal } = this.job;
    if (!id) return undefined;
    // The upload of whoever used this browser before is none of this user's.
    const session = await service.call('GET', `/uploads/${id}`, { signal }).catch(undefinedIf(403, 404));
    if (!['open', 'completing', 'stored'].includes(session?.state)) return undefined;
    if (session.state === 'stored') {
      // It may have been deleted since: then this is a new upload.
      const path = session.file_path.split('/').map(encodeURIComponent).join('/');
      const there = await service.call('GET', `/metadata/${path}`, { signal }).catch(undefinedIf(403, 404));
      if (!there) return undefined;
    }
    const there = new Map(session.parts.map((/** @type {Part} */ part) => [part.part_number, part.size_bytes]));
    for (let number = 1; number <= session.part_count; number++) {
      const { size } = this.#slice(session, number);
      // An upload that is being completed, or is, takes no parts.
      if (session.state !== 'open' || there.get(number) === size) meter(number, size);
      else this.#queue.push(number);
    }
    return session;
  }

  /** @type {(session: Session) => Promise<void>} */
  async #sendParts(session) {
    // When one part is given up, the others stop.
    const stop = new AbortController();
    const signal = AbortSignal.any([stop.signal, ...(this.job.signal ? [this.job.signal] : [])]);
    const work = async () => {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
        const number = next;
        await retry(() => this.#sendPart(session, number, signal), TRIES, signal);
      }
    };
    await Promise.all(Array.from({ length: PARTS_AT_ONCE }, work)).finally(() => stop.abort());
  }

  /** @type {(session: Session, number: number, signal: AbortSignal) => Promise<void>} */
  async #sendPart(session, number, signal) {
    const { method, url, headers } = await this.#sign(session, number, signal);
    const body = this.#slice(session, number);
    // Browsers set these themselves, and complain about pages that do.
    const own = Object.entries(headers).filter(([name]) => !/^(content-length|host)$/i.test(name));
    const onSent = (/** @type {number} */ bytes) => this.job.meter(number, bytes);
    const { status } = await send(method, url, own, { body, signal, onSent });
    if (status !== 200) throw new StorageError(status, 'part_refused', `The bucket answered ${status}`);
    onSent(body.size);
  }

  /** @type {(session: Session, number: number, signal: AbortSignal) => Promise<Part>} */
  async #sign(session, number, signal) {
    const signed = this.#signed.get(number);
    // Whatever goes wrong with a URL, the next try has another: they are cheap.
    this.#signed.delete(number);
    if (signed && Date.now() - this.#signedAt < FRESH_URL_MS) return signed;
    // Signing has no effect: a key would only cost.
    const options = { json: { part_numbers: [number] }, key: '', signal };
    const { parts } = await this.job.service.once('POST', `/uploads/${session.upload_id}/parts`, options);
    return parts[0];
  }

  /** @type {(session: Session, number: number) => Blob} */
  #slice({ part_size_bytes: bytes }, number) {
    return this.job.file.slice((number - 1) * bytes, number * bytes);
  }
}

/** Requests to the service. */
class Service {
  /** @param {string} api @param {Token} token */
  constructor(api, token) {
    this.api = api;
    this.token = token;
  }

  /**
   * A request, made as often as may help. By its key it has one effect.
   * @type {(method: string, path: string, options?: Options & {tries?: number}) => Promise<any>}
   */
  call(method, path, { tries = TRIES, key = crypto.randomUUID(), ...options } = {}) {
    return retry(() => this.once(method, path, { key, ...options }), tries, options.signal);
  }

  /** @type {(method: string, path: string, options: Options) => Promise<any>} */
  async once(method, path, { json, form, key = crypto.randomUUID(), signal, onSent }) {
    const token = typeof this.token === 'function' ? await this.token() : this.token;
    /** @type {[string, string][]} */
    const headers = [['Authorization', `Bearer ${token}`]];
    if (method !== 'GET' && key) headers.push(['Idempotency-Key', key]);
    if (json) headers.push(['Content-Type', 'application/json']);
    const body = json ? JSON.stringify(json) : form;
    const { status, text, retryAfter } = await send(method, this.api + path, headers, { body, signal, onSent });
    if (status === 200) return JSON.parse(text);
    // Lambda's own refusals are plain text.
    const { code, detail, ...rest } = text.startsWith('{') ? JSON.parse(text) : {};
    const known = status === 413 ? 'too_large' : `http_${status}`;
    throw new StorageError(status, code ?? known, detail ?? `The service answered ${status}`, rest, retryAfter);
  }
}

/** @type {(method: string, url: string, headers: [string, string][], sent: Sent) => Promise<Answer>} */
function send(method, url, headers, { body, signal, onSent }) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    let silence = setTimeout(abort, SILENCE_MS);
    signal?.addEventListener('abort', abort);
    request.upload.onprogress = ({ loaded }) => {
      clearTimeout(silence);
      silence = setTimeout(abort, SILENCE_MS);
      onSent?.(loaded);
    };
    request.onloadend = () => {
      clearTimeout(silence);
      signal?.removeEventListener('abort', abort);
      const { status, responseText: text } = request;
      // Of the bucket's answers browsers show no such header, and complain about pages that ask.
      const retryAfter = status >= 400 ? parseInt(request.getResponseHeader('Retry-After') ?? '', 10) : NaN;
      if (status > 0) resolve({ status, text, retryAfter: retryAfter >= 0 ? retryAfter : undefined });
      else if (signal?.aborted) reject(signal.reason);
      else reject(new StorageError(0, 'no_answer', 'The connection failed, or the file can no longer be read'));
    };
    request.open(method, url);
    for (const [name, value] of headers) request.setRequestHeader(name, value);
    request.send(body);
  });
}

/** @type {<T>(attempt: () => Promise<T>, tries: number, signal?: AbortSignal) => Promise<T>} */
async function retry(attempt, tries, signal) {
  for (let tried = 1; ; tried++) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof StorageError) || !error.isPassing || tried === tries) throw error;
      const pause = error.retryAfter === undefined ? Math.min(500 * 2 ** tried, MAX_PAUSE_MS) : error.retryAfter * 1000;
      // Those who were refused together must not come back together.
      await sleep(pause * (1 + Math.random() / 4), signal);
    }
  }
}

/** @type {(ms: number, signal?: AbortSignal) => Promise<void>} */
function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    setTimeout(resolve, ms);
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}

/**
 * Adds up what was sent of every part. What is sent again counts once it is more than before.
 * @type {(totalBytes: number, onProgress?: OnProgress) => Meter}
 */
function meterOf(totalBytes, onProgress) {
  /** @type {Map<number, number>} */
  const sent = new Map();
  let [sum, shown] = [0, -1];
  return (part, bytes) => {
    sum += bytes - (sent.get(part) ?? 0);
    sent.set(part, bytes);
    // A form is a little larger than its file.
    const now = Math.min(sum, totalBytes);
    if (now > shown) onProgress?.((shown = now), totalBytes);
  };
}

/**
 * Under what an upload is remembered. Hashed: names may tell more than the next user of a browser should know.
 * @type {(service: Service, file: File, context: Context) => Promise<string>}
 */
async function sessionName(service, file, context) {
  const place = Object.entries(context).filter(([, value]) => value !== undefined).sort();
  const what = JSON.stringify([service.api, place, file.name, file.size, file.lastModified]);
  return `storage-upload:${await sha256Of(new TextEncoder().encode(what))}`;
}

/**
 * The ids of uploads that did not end, in localStorage. A browser may refuse to keep them: then nothing is continued.
 * @type {(action: (storage: globalThis.Storage) => string | null | void) => string | null}
 */
function sessions(action) {
  try {
    return action(localStorage) ?? null;
  } catch {
    return null;
  }
}

/** @type {(bytes: BufferSource) => Promise<string>} */
async function sha256Of(bytes) {
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/** @type {(...statuses: number[]) => (error: unknown) => undefined} */
function undefinedIf(...statuses) {
  return (error) => {
    if (!(error instanceof StorageError) || !statuses.includes(error.status)) throw error;
  };
}
