// The service's endpoints for the log.

/** What the service refused, or that it could not be asked. */
export class ApiError extends Error {
  /**
   * @param {number} status 0 if no answer came
   * @param {string} code the service's stable code, or `offline`
   * @param {string} detail for people
   * @param {{ requestId?: string, retryAfter?: number }} [more] seconds until it may be tried again
   */
  constructor(status, code, detail, { requestId, retryAfter } = {}) {
    super(detail);
    this.status = status;
    this.code = code;
    this.requestId = requestId;
    this.retryAfter = retryAfter;
  }
}

/** @typedef {[name: string, value: string][]} Params */

export class Api {
  /** @type {string} */ #base;
  /** @type {() => string | null} */ #token;
  /** @type {() => void} */ #expired;

  /**
   * @param {string} base such as `/api/storage` or `https://….lambda-url.….on.aws/api/storage`
   * @param {() => string | null} token the token, while there is one
   * @param {() => void} expired called when the service no longer takes the token
   */
  constructor(base, token, expired) {
    this.#base = base.replace(/\/+$/, '');
    this.#token = token;
    this.#expired = expired;
  }

  /**
   * @param {string} path below `/audit-logs`
   * @param {Params} [params]
   * @param {AbortSignal} [signal]
   * @returns {Promise<any>}
   */
  async get(path, params = [], signal) {
    return (await this.#call('GET', path, { params, signal })).json();
  }

  /**
   * An answer that is a text: a checkpoint or a proof.
   *
   * @param {string} path
   * @param {Params} [params]
   * @param {AbortSignal} [signal]
   * @returns {Promise<string>}
   */
  async text(path, params = [], signal) {
    return (await this.#call('GET', path, { params, signal })).text();
  }

  /**
   * Sent again with the same `key`, it is the same request.
   *
   * @param {string} path
   * @param {{ body?: unknown, key?: string, signal?: AbortSignal }} [what]
   * @returns {Promise<any>}
   */
  async post(path, what = {}) {
    return (await this.#call('POST', path, what)).json();
  }

  /**
   * @param {string} path
   * @returns {Promise<any>}
   */
  async remove(path) {
    return (await this.#call('DELETE', path, {})).json();
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {{ params?: Params, body?: unknown, key?: string, signal?: AbortSignal }} what
   */
  async #call(method, path, { params = [], body, key, signal }) {
    const token = this.#token();
    if (!token) {
      this.#expired();
      throw new ApiError(401, 'no_token', 'You are not signed in.');
    }
    /** @type {Record<string, string>} */
    const headers = { Authorization: `Bearer ${token}` };
    if (body !== undefined) headers['Content-Type'] = 'application/json';
    if (key) headers['Idempotency-Key'] = key;
    const query = params.length > 0 ? `?${new URLSearchParams(params)}` : '';
    const request = {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      /** @type {RequestCache} */ cache: 'no-store',
      /** @type {RequestCredentials} */ credentials: 'omit',
      /** @type {ReferrerPolicy} */ referrerPolicy: 'no-referrer',
    };
    let answer;
    try {
      answer = await fetch(`${this.#base}/audit-logs${path}${query}`, request);
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ApiError(0, 'offline', 'The service cannot be reached.');
    }
    if (answer.ok) return answer;
    if (answer.status === 401) this.#expired();
    throw await refusal(answer);
  }
}

/** @param {Response} answer */
async function refusal(answer) {
  const problem = await answer.json().catch(() => ({}));
  const seconds = Number(answer.headers.get('Retry-After'));
  return new ApiError(answer.status, text(problem.code, 'unknown'), text(problem.detail, `The service answered ${answer.status}.`), {
    requestId: text(problem.request_id, undefined),
    retryAfter: seconds > 0 ? seconds : undefined,
  });
}

/**
 * @template T
 * @param {unknown} value
 * @param {T} otherwise
 */
function text(value, otherwise) {
  return typeof value === 'string' ? value : otherwise;
}
