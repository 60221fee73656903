// Proofs of the sealed log, and which checkpoints are trusted. Formats: C2SP signed-note, tlog-checkpoint, tlog-proof; trees: RFC 9162,
// section 2.1. Whatever is not exactly as it must be is refused.

export class Refused extends Error {
  /** @param {string} [message] @param {Evidence} [evidence] */
  constructor(message, evidence) {
    super(message);
    this.evidence = evidence;
  }
}

/** @type {(holds: unknown, message?: string, evidence?: Evidence) => asserts holds} */
export function must(holds, message, evidence) {
  if (!holds) throw new Refused(message, evidence);
}

const ED25519 = 1;
const MAX_SIGNATURES = 100;

/** @param {Bytes} bytes */
export const toHex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

/** @param {Bytes} bytes */
export const toBase64 = (bytes) => btoa(String.fromCharCode(...bytes));

/** @type {(text: unknown) => Bytes} */
function fromBase64(text) {
  try {
    const bytes = Uint8Array.from(atob(String(text)), (char) => char.charCodeAt(0));
    // `atob` also takes white space, missing padding and idle bits: texts that stand for the same bytes.
    if (toBase64(bytes) === text) return bytes;
  } catch {
    // Refused below.
  }
  throw new Refused(`“${text}” is not base64.`);
}

/** @param {unknown} text */
function readHash(text) {
  const bytes = fromBase64(text);
  must(bytes.length === 32, `“${text}” is not a hash.`);
  return bytes;
}

/** @param {string} [text] */
function readNumber(text = '') {
  must(/^(0|[1-9]\d*)$/.test(text) && Number.isSafeInteger(Number(text)), `“${text}” is not a whole number below 2^53.`);
  return Number(text);
}

/** @param {string} text */
const utf8 = (text) => new TextEncoder().encode(text);

/** @param {...(Bytes | number[])} parts */
async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest('SHA-256', new Uint8Array(parts.flatMap((part) => [...part]))));
}

/** The hash of a leaf. @param {string} text */
export const leafHash = (text) => sha256([0], utf8(text));

/** @type {(one: Bytes, other: Bytes) => boolean} */
const same = (one, other) => toHex(one) === toHex(other);

/** @param {Bytes} bytes */
const verifier = async (bytes) => crypto.subtle.importKey('raw', bytes, 'Ed25519', false, ['verify']);

export async function ensureAble() {
  await verifier(new Uint8Array(32).fill(1)).catch(() => {
    throw new Error('This browser cannot verify: that takes https, and Ed25519 in WebCrypto. Save the files, and verify them with audit-verify.');
  });
}

/** @type {(name: string, bytes: Bytes) => Promise<Key>} */
async function keyOf(name, bytes) {
  const id = await sha256(utf8(`${name}\n`), [ED25519], bytes);
  return { name, id: toHex(id.slice(0, 4)), bytes };
}

/** `name+id+base64(0x01 ‖ key)`. @param {unknown} text */
export async function parseVkey(text) {
  const [, name, id, base64] = /^([^\s\x85+]+)\+([0-9a-f]{8})\+(.+)$/.exec(String(text)) ?? [];
  const bytes = name && fromBase64(base64);
  must(bytes && bytes.length === 33 && bytes[0] === ED25519, `“${text}” is not an Ed25519 key of the form name+id+base64.`);
  const key = await keyOf(name, bytes.slice(1));
  must(key.id === id, `The id of the key named ${name} does not fit it.`);
  return key;
}

/** @type {(note: unknown) => Checkpoint} */
export function parseCheckpoint(note) {
  must(typeof note === 'string' && /^[^\0-\t\v-\x1f]*\n$/.test(note), 'The checkpoint is not a signed note.');
  const end = note.lastIndexOf('\n\n');
  const [origin, size, root, ...extensions] = note.slice(0, Math.max(end, 0)).split('\n');
  must(origin && !extensions.includes(''), 'The checkpoint does not have origin, size and root.');
  const lines = note.slice(end + 2, -1).split('\n');
  must(lines.length <= MAX_SIGNATURES, 'The checkpoint has too many signatures.');
  const signatures = lines.map((line) => {
    const [, name, base64] = /^\u2014 ([^\s\x85+]+) ([^ ]+)$/.exec(line) ?? [];
    const bytes = name && fromBase64(base64);
    must(bytes && bytes.length > 4, `“${line}” is not a signature.`);
    return { name, id: toHex(bytes.slice(0, 4)), bytes: bytes.slice(4) };
  });
  return { note, text: note.slice(0, end + 1), signatures, origin, size: readNumber(size), root: readHash(root) };
}

/** @param {string} text */
export function parseProof(text) {
  const end = text.indexOf('\n\n');
  const [version, ...lines] = text.slice(0, Math.max(end, 0)).split('\n');
  if (lines[0]?.startsWith('extra ')) fromBase64(lines.shift()?.slice(6));
  const [, index] = /^index (.+)$/.exec(lines.shift() ?? '') ?? [];
  must(version === 'c2sp.org/tlog-proof@v1' && index, 'The proof is not of the form c2sp.org/tlog-proof@v1.');
  return { index: readNumber(index), hashes: lines.map(readHash), checkpoint: parseCheckpoint(text.slice(end + 2)) };
}

/** The one of these keys that signed it. @type {(checkpoint: Checkpoint, keys: Key[]) => Promise<Key>} */
export async function signer({ signatures, text }, keys) {
  let found;
  for (const { name, id, bytes } of signatures) {
    const key = keys.find((known) => known.name === name && known.id === id);
    // Others may sign, too: witnesses, and keys to come.
    if (!key) continue;
    must(await crypto.subtle.verify('Ed25519', await verifier(key.bytes), bytes, utf8(text)), `The signature by key ${id} is false.`);
    found ??= key;
  }
  must(found, 'None of the trusted keys signed the checkpoint.');
  return found;
}

// Numbers may have more bits than JavaScript's shifts take.
const half = (/** @type {number} */ number) => Math.floor(number / 2);
const isOdd = (/** @type {number} */ number) => number % 2 === 1;

/**
 * From a node up to the root: what it makes of the whole tree, and of the part that ends with it. `at` is its place in its level,
 * `last` that of the last node there.
 *
 * @type {(at: number, last: number, node: Bytes, hashes: Bytes[]) => Promise<{ part: Bytes, whole: Bytes }>}
 */
async function climb(at, last, node, hashes) {
  let [part, whole] = [node, node];
  for (const next of hashes) {
    must(last > 0, 'The proof has too many hashes.');
    if (isOdd(at) || at === last) {
      part = await sha256([1], next, part);
      whole = await sha256([1], next, whole);
      while (at > 0 && !isOdd(at)) [at, last] = [half(at), half(last)];
    } else {
      whole = await sha256([1], whole, next);
    }
    [at, last] = [half(at), half(last)];
  }
  must(last === 0, 'The proof has too few hashes.');
  return { part, whole };
}

/** Section 2.1.3.2. @type {(leaf: Bytes, index: number, hashes: Bytes[], tree: Tree) => Promise<void>} */
export async function verifyInclusion(leaf, index, hashes, { size, root }) {
  must(index < size, `The log has only ${size} leaves.`);
  const { whole } = await climb(index, size - 1, leaf, hashes);
  must(same(whole, root), 'The proof does not lead to the root hash of the log.');
}

/** Section 2.1.4.2. @type {(earlier: Tree, later: Tree, hashes: Bytes[]) => Promise<void>} */
export async function verifyConsistency(earlier, later, hashes) {
  let [at, last] = [earlier.size - 1, later.size - 1];
  must(at >= 0 && at <= last, 'The later log is the smaller one.');
  // Up to the largest node that ends the earlier tree, and is one of the later tree, too.
  while (at > 0 && (isOdd(at) || at === last)) [at, last] = [half(at), half(last)];
  // Where that is the whole earlier tree, its root is what the proof begins with.
  const [first, ...rest] = at === 0 ? [earlier.root, ...hashes] : hashes;
  must(first, 'The proof has too few hashes.');
  const { part, whole } = await climb(at, last, first, rest);
  must(same(part, earlier.root) && same(whole, later.root), 'The later log does not begin with the earlier one.');
}

/** The first checkpoint is kept, and the newest. */
const KEPT = 5;
/** So often a log may grow between two requests that are compared. */
const TRIES = 5;

/** Nothing waits longer: other tabs may wait for the same answer. */
export const soon = () => AbortSignal.timeout(30_000);

/** Says `change` when a log is found broken, or forgotten. */
export const changes = new EventTarget();

/** Where the browser stores nothing. @type {Map<string, string>} */
const inMemory = new Map();

/** A checkpoint is trusted if a key of config.json signed it, and it continues what this browser saw. @param {Context} context */
export function createTrust({ api, config, org }) {
  const place = `audit-log ${config.api} ${org}`;
  const pinned = config.audit_keys.length > 0;

  /** @returns {Memory} */
  function memory() {
    try {
      const stored = JSON.parse(inMemory.get(place) ?? localStorage.getItem(place) ?? '');
      for (const { note } of stored.seen) parseCheckpoint(note);
      return stored;
    } catch {
      return { seen: [] };
    }
  }

  /** @param {Memory} changed */
  function store(changed) {
    const text = JSON.stringify(changed);
    try {
      localStorage.setItem(place, text);
    } catch {
      // Then it is kept as long as the page.
      inMemory.set(place, text);
    }
  }

  function largest() {
    const last = memory().seen.at(-1);
    return last && parseCheckpoint(last.note);
  }

  /** @param {Checkpoint} checkpoint */
  function remember({ note, size }) {
    const { seen } = memory();
    if (size === 0 || size === largest()?.size) return;
    seen.push({ note, at: Date.now() });
    if (seen.length > KEPT) seen.splice(1, 1);
    store({ seen });
  }

  /** In one tab at a time: what it has seen, the next one reads. @type {<T>(work: (base?: Checkpoint) => Promise<T>) => Promise<T>} */
  const alone = (work) => navigator.locks.request(place, () => {
    const { broken } = memory();
    must(!broken, broken?.message, broken);
    return work(largest());
  });

  /** Keeps what two notes show by themselves, and throws. @type {(earlier: Checkpoint, later: Checkpoint) => never} */
  function contradict(earlier, later) {
    let message = `The log of ${later.size} leaves is not proved to continue the one of ${earlier.size} seen before.`;
    let isKept = later.origin === earlier.origin;
    if (!isKept) message = `The log is ${later.origin}, and was ${earlier.origin} before.`;
    else if (later.size < earlier.size) message = `The log has ${later.size} leaves, and had ${earlier.size} before.`;
    else if (later.size === earlier.size && !same(later.root, earlier.root)) message = `There are two logs of ${later.size} leaves.`;
    else isKept = false;
    const evidence = { message, earlier: earlier.note, later: later.note, at: Date.now(), isKept };
    if (isKept) {
      store({ ...memory(), broken: evidence });
      changes.dispatchEvent(new Event('change'));
    }
    throw new Refused(message, evidence);
  }

  /** The keys that may sign this log. @param {string} origin */
  async function trusted(origin) {
    if (!pinned) return Promise.all((await api.get('/keys', [], soon())).keys.map((/** @type {any} */ { vkey }) => parseVkey(vkey)));
    const keys = await Promise.all(config.audit_keys.map(parseVkey)).catch(({ message }) => {
      throw new Refused(`audit_keys of config.json: ${message}`);
    });
    // A key's name is the log's, or what the names of all logs begin with.
    const fitting = keys.filter(({ name }) => origin === name || origin === `${name}/${org}`);
    return Promise.all(fitting.map(({ bytes }) => keyOf(origin, bytes)));
  }

  /** Refuses what no trusted key signed, and other logs. @type {(checkpoint: Checkpoint) => Promise<Signed>} */
  async function signed(checkpoint) {
    const { origin } = checkpoint;
    must(origin.endsWith(`/${org}`), `The checkpoint is of the log ${origin}, which is not that of ${org}.`);
    return { checkpoint, key: await signer(checkpoint, await trusted(origin)), pinned };
  }

  const current = async () => signed(parseCheckpoint(await api.text('/checkpoint', [], soon())));

  /** The log's newest checkpoint, proved to continue an earlier one. @param {Checkpoint} earlier */
  async function since(earlier) {
    const answer = await api.get('/consistency', [['from', `${earlier.size}`]], soon()).catch(async (error) => {
      must(!/sealed/.test(error.code), `The service has no checkpoint, and had one of ${earlier.size} leaves before.`);
      // It may say that the log is smaller. Only its checkpoint is evidence of that.
      const { checkpoint } = error.code === 'invalid_from' ? await current() : { checkpoint: earlier };
      if (checkpoint.size < earlier.size) contradict(earlier, checkpoint);
      throw error;
    });
    const later = await signed(parseCheckpoint(answer.checkpoint));
    must(Array.isArray(answer.proof), 'There is no proof.');
    const hashes = answer.proof.map(readHash);
    if (later.checkpoint.origin !== earlier.origin) contradict(earlier, later.checkpoint);
    await verifyConsistency(earlier, later.checkpoint, hashes).catch(() => contradict(earlier, later.checkpoint));
    return later;
  }

  return {
    signed,
    seen: () => memory().seen,

    newest: () => alone(async (base) => {
      const newest = await (base ? since(base) : current());
      remember(newest.checkpoint);
      return newest;
    }),

    /** Refuses a signed checkpoint of another log than those seen before. Answers with what it was held against. @param {Checkpoint} checkpoint */
    continues: (checkpoint) => alone(async (base) => {
      if (!base) remember(checkpoint);
      if (!base || base.text === checkpoint.text) return base;
      // A proof leads to the log's newest checkpoint, whichever that is: both must lead to the same.
      for (let tries = 0; tries < TRIES; tries++) {
        const [{ checkpoint: one }, { checkpoint: other }] = [await since(base), await since(checkpoint)];
        if (one.size !== other.size) continue;
        if (!same(one.root, other.root)) contradict(one, other);
        remember(one);
        return base;
      }
      throw new Error('The log grows too quickly to be compared. Try again.');
    }),

    /** Also that the log is broken. */
    forget: () => navigator.locks.request(place, () => {
      store({ seen: [] });
      changes.dispatchEvent(new Event('change'));
    }),
  };
}
