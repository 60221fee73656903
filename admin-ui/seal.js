// The seal of the log, for people: its state, and the proof of one entry, made in the browser.

import { announce, button, count, facts, fill, h, icon, save } from './dom.js';
import { changes, createTrust, ensureAble, leafHash as hashOf, must, parseProof, Refused, soon, toBase64, toHex, verifyInclusion } from './proof.js';
import { ago, shown } from './time.js';

/** The sealer writes a leaf every hour at least. */
const NEWEST_LEAF_MS = 65 * 60_000;
/** Leaves are under a checkpoint within seconds; clocks differ by less. */
const SLACK_MS = 60_000;
const PROOF_TRIES = 6;

const MARKS = /** @type {const} */ ({ running: 'clock', good: 'check', warn: 'warning', bad: 'cross', idle: 'minus' });
const SAYS = { running: 'Running: ', good: 'Passed: ', bad: 'Failed: ' };
const NOT_PINNED = 'The key came from the service that is to be checked. Put one that came another way into audit_keys of config.json.';
const LATE = 'Entries are signed within seconds, and one is written every hour at least. If this stays, tell the operator that the sealer does not run.';
const INCREDIBLE = 'The newest entry has no time, one later than now, or one before what is signed. Check your clock, and tell the operator.';
const MEANS = 'Each entry is a leaf of a tree of hashes under a signed root: none can be changed, removed or put in between without another root. It is not proved that an entry tells the truth, nor what was never written, nor that the list is new and complete: that is the service’s word.';

/** In the bytes' `m`. @type {Record<string, string>} */
const METADATA = {
  b: 'file_size', d: 'hard_delete', e: 'expires_in', f: 'filter', g: 'format', h: 'sha256', i: 'include_deleted', k: 'key',
  m: 'mime_type', o: 'object_id', p: 'purpose', r: 'org_id', s: 'system', t: 'object_type', u: 'upload_id', w: 'reason',
};

/** @param {Context} context */
export function createBadge(context) {
  const trust = createTrust(context);
  let seal = idle('Checking the seal', 'The log’s checkpoint is being checked.');
  /** @type {Signed | undefined} */ let signed;
  /** @type {AsOf | null} */ let head = null;
  let checkedAt = 0;
  /** Leaves that are not under a checkpoint yet, and since when. */
  let awaited = { size: 0, at: 0 };
  let running = Promise.resolve();

  const dialog = h('dialog', { class: 'seal', 'aria-labelledby': 'seal-title' });
  const badge = button({ 'aria-haspopup': 'dialog', onclick: open });
  changes.addEventListener('change', () => refresh(), { signal: context.signal });
  render();
  return { element: h('div', {}, badge, dialog), refresh };

  /** @param {AsOf | null} [asOf] is asked for if not given */
  function refresh(asOf) {
    running = running.then(() => check(asOf));
    return running;
  }

  /** @param {AsOf | null} [asOf] */
  async function check(asOf) {
    const { level } = seal;
    try {
      await ensureAble();
      signed = await trust.newest();
      checkedAt = Date.now();
      // What was asked for before may lag.
      head = asOf && asOf.tree_size >= signed.checkpoint.size ? asOf : (await context.api.get('/summary', [['from', '-1h'], ['interval', '1h']], soon())).as_of;
      seal = sealed(signed);
    } catch (error) {
      seal = failed(error, context.config);
    }
    render();
    if (level !== seal.level && /bad|warn/.test(seal.level)) announce(`${seal.title}. ${seal.text}`);
  }

  /** @type {(what: Signed) => Seal} */
  function sealed({ checkpoint: { size }, pinned }) {
    const now = Date.now();
    const newest = Date.parse(head?.time ?? '');
    const since = newest ? ` · ${ago(newest, now)}` : '';
    const unsealed = (head?.tree_size ?? 0) - size;
    if (size > 0 && !(unsealed >= 0 && newest < now + SLACK_MS)) return warn('Its time is not credible', INCREDIBLE);
    if (unsealed > 0 && awaited.size <= size) awaited = { size: size + unsealed, at: Math.min(now, newest || now) };
    if (unsealed > 0 && now - awaited.at > SLACK_MS) return warn(`Late · ${count(unsealed)} not sealed${since}`, LATE);
    if (now - newest > NEWEST_LEAF_MS) return warn(`Late · newest entry ${ago(newest, now)}`, LATE);
    const much = `${count(size)} ${size === 1 ? 'entry' : 'entries'}${since}`;
    if (!pinned) return idle(`Consistent, key not pinned · ${much}`, NOT_PINNED);
    return { level: 'good', title: `Sealed · ${much}`, text: 'Signed by a pinned key, and continues all that this browser saw before.' };
  }

  function render() {
    badge.className = `badge ${seal.level}`;
    fill(badge, icon(MARKS[seal.level]), h('span', {}, seal.title));
  }

  function open() {
    const [first] = trust.seen();
    fill(dialog,
      h('h2', { id: 'seal-title', tabindex: -1, autofocus: true }, seal.title),
      h('p', { class: seal.level }, seal.text),
      seal.level === 'bad' && advice(seal.evidence),
      ...details(),
      first && h('details', {},
        h('summary', {}, `Checkpoints remembered since ${utc(first.at)}`),
        h('p', {}, 'By them this browser notices if the log is replaced or cut. Forget them only if the log was begun anew on purpose, as on a development machine.'),
        button({ onclick: forget }, 'Forget them')),
      h('details', {}, h('summary', {}, 'What this proves'), h('p', {}, MEANS)),
      h('form', { method: 'dialog' }, h('button', {}, 'Close')));
    dialog.showModal();
  }

  function details() {
    if (!signed) return [];
    const { checkpoint: { origin, size, root, note }, key, pinned } = signed;
    return [
      facts(
        ['Log', origin],
        ['Size', `${count(size)} leaves`],
        ['Root hash', h('code', {}, toBase64(root))],
        ['Signed by', h('code', {}, key.id), pinned ? 'pinned in config.json' : 'not pinned'],
        ['Newest leaf', head?.time ? utc(Date.parse(head.time)) : 'none'],
        ['Last checked', utc(checkedAt)],
      ),
      keep('Save the checkpoint', `checkpoint-${size}`, note),
    ];
  }

  function forget() {
    dialog.close();
    return trust.forget();
  }
}

/** @param {Context & Claim} claim */
export function createVerify({ entry, raw, leafHash, cursor, ...context }) {
  const trust = createTrust(context);
  const steps = h('ol', { class: 'steps', hidden: true });
  const verdict = h('div', { hidden: true });
  const verify = button({ class: 'primary', onclick: run }, icon('shield'), 'Verify');
  let isRunning = false;
  let doing = '';
  /** @type {string | undefined} */ let file;

  return {
    element: h('div', {},
      h('div', { class: 'actions' }, verify,
        button({ onclick: () => save(`${entry.id}.json`, 'application/json', raw) }, icon('save'), 'Save the bytes'),
        button({ onclick: saveProof }, icon('save'), 'Save the proof')),
      steps, verdict),
  };

  /** The cursor spares the log another entry on who reads it. */
  async function fetchProof() {
    file = await context.api.text(`/${entry.id}/proof`, cursor ? [['cursor', cursor]] : [], soon());
    return file;
  }

  async function saveProof() {
    try {
      save(`${entry.id}.tlog-proof`, 'application/octet-stream', file ?? (await fetchProof()));
    } catch (error) {
      conclude('idle', 'No proof.', failed(error, context.config).text);
    }
  }

  async function run() {
    // Not disabled, which would take the focus away.
    if (isRunning) return;
    isRunning = true;
    verdict.hidden = true;
    fill(steps).hidden = false;
    try {
      await prove();
    } catch (error) {
      const { level, text, evidence } = failed(error, context.config, entry);
      steps.querySelector('.running')?.remove();
      if (level === 'bad') {
        steps.append(line('bad', doing, h('span', {}, text)));
        conclude('bad', `Not proven: ${doing}.`, text, advice(evidence));
      } else {
        conclude(level, 'Not verified.', text);
      }
    }
    isRunning = false;
    fill(verify, icon('shield'), 'Verify again');
  }

  /** @type {Step} */
  async function step(title, work) {
    doing = title;
    const found = h('span', {}, '…');
    const running = line('running', title, found);
    steps.append(running);
    const result = await work((...said) => fill(found, ...said));
    running.replaceWith(line('good', title, found));
    return result;
  }

  async function prove() {
    await ensureAble();
    await step('The bytes say what is shown', (say) => say(`${compare(raw, entry, context.org)} fields agree`));
    const leaf = await step('The hash is that of the bytes', async (say) => {
      const hash = await hashOf(raw);
      must(toHex(hash) === leafHash, `It is ${toHex(hash)}, and the service says ${leafHash}.`);
      say('SHA-256 ', h('code', {}, leafHash));
      return hash;
    });
    const { checkpoint, index } = await step('The log contains the hash', async (say) => {
      const proof = parseProof(await sealedProof(say));
      const { index, hashes, checkpoint } = proof;
      must((entry.seq ?? index) === index, `The proof is for place ${index}, and shown is ${entry.seq}.`);
      await verifyInclusion(leaf, index, hashes, checkpoint);
      say(`${hashes.length} hashes lead from place ${index} to the root `, h('code', {}, toBase64(checkpoint.root)));
      return proof;
    });
    const { pinned } = await step('The log is signed', async (say) => {
      const signed = await trust.signed(checkpoint);
      say(`${checkpoint.origin}, ${checkpoint.size} leaves, key `, h('code', {}, signed.key.id), signed.pinned ? ' pinned in config.json' : ' not pinned');
      return signed;
    });
    await step('The log continues what was seen before', async (say) => {
      const before = await trust.continues(checkpoint);
      say(before ? `It is one with the log of ${before.size} leaves seen before` : 'Nothing was seen before: it is remembered from now on');
    });
    const place = `this entry stands unchanged at place ${index} (from 0) of ${checkpoint.size}.`;
    if (pinned) conclude('good', `Proven: ${place}`);
    else conclude('warn', `Consistent, key not pinned: ${place}`, NOT_PINNED);
  }

  /** An entry is sealed within seconds. @param {(text: string) => void} say */
  async function sealedProof(say) {
    for (let tries = 1; ; tries++) {
      try {
        return await fetchProof();
      } catch (error) {
        const { code, retryAfter = 2 } = /** @type {{ code?: string, retryAfter?: number }} */ (error);
        if (code !== 'not_sealed_yet' || tries === PROOF_TRIES || !steps.isConnected) throw error;
        say(`Not sealed yet, again in ${retryAfter} s`);
        await new Promise((done) => setTimeout(done, retryAfter * 1000));
      }
    }
  }

  /** @type {(level: Level, title: string, text?: string, more?: Element) => void} */
  function conclude(level, title, text, more) {
    verdict.className = `verdict ${level}`;
    fill(verdict, h('p', {}, icon(MARKS[level]), h('strong', {}, title)), text && h('p', {}, text), more).hidden = false;
    announce(title);
  }
}

/** How many fields are shown as they are in the bytes; throws if one is not. @type {(bytes: string, entry: Claim['entry'], org: string) => number} */
export function compare(bytes, { seq, raw, leaf_hash, metadata, ...entry }, org) {
  let body;
  try {
    body = JSON.parse(bytes);
  } catch {
    // Refused below, as is what another reader may read differently: another spelling, a member twice.
  }
  must(body?.o && JSON.stringify(body) === bytes, 'The bytes are not an entry in canonical JSON.');
  const { a, c, d, e, f, g, i, m = {}, n, o, p, q, r, s, t, u, w, y, z, ...unknown } = body;
  const strange = [...Object.keys(unknown), ...Object.keys(m).filter((name) => !Object.hasOwn(METADATA, name))];
  must(strange.length === 0, `The bytes have members that this page does not know: ${strange}.`);
  must(o === org, `The bytes are of the organisation ${o}, not of ${org}.`);
  const at = new Date(t);
  must(at.getTime(), 'The time in the bytes is none.');
  // Seven years and 30 days; a 29 February counts as the 28th.
  const until = new Date(t);
  until.setUTCFullYear(at.getUTCFullYear() + 7);
  if (until.getUTCMonth() !== at.getUTCMonth()) until.setUTCDate(0);
  until.setUTCDate(until.getUTCDate() + 30);
  return agree('', flat(entry), flat({
    id: i, user_id: u, role: r, timestamp: at.toISOString(), ip_address: c ?? '', device_info: d ?? '', action_type: a,
    file_path: f === undefined ? null : /^\//.test(f) ? f.slice(1) : `${o}/${f}`,
    related_object_type: y ?? null, related_object_id: z ?? null, success: e === undefined ? 'true' : 'false', error_message: e ?? null,
    request_id: q, kept_until: `${until.toISOString().slice(0, 19)}Z`, ...(s !== undefined && { sub: s }),
  })) + agree('metadata ', flat(metadata ?? {}), flat(Object.fromEntries(Object.entries(m).map(([name, value]) => [METADATA[name], value]))));
}

/** @type {(of: string, shown: Map<string, string>, sealed: Map<string, string>) => number} */
function agree(of, shown, sealed) {
  for (const name of new Set([...sealed.keys(), ...shown.keys()])) {
    must(sealed.get(name) === shown.get(name), `${of}${name} is shown as ${shown.get(name)}, but sealed is ${sealed.get(name)}.`);
  }
  return sealed.size;
}

/** @param {object} object */
const flat = (object) => new Map(Object.entries(object).map(([name, value]) => [name, JSON.stringify(value)]));

/** Some characters reorder others. @param {string} text */
export const visible = (text) =>
  text.replace(/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);

/** @param {Evidence} [evidence] */
const advice = (evidence) => h('div', {},
  h('ol', {},
    h('li', {}, 'Do not rely on what this page shows.'),
    evidence && h('li', {}, `Save both checkpoints, found at ${utc(evidence.at)}.`),
    h('li', {}, 'Run audit-verify with your pins.'),
    h('li', {}, 'Call whoever answers for security in your organisation.')),
  evidence && h('div', { class: 'actions' },
    keep('Save the earlier', 'checkpoint-earlier', evidence.earlier), keep('Save the later', 'checkpoint-later', evidence.later)));

/** @type {(error: any, config: Config, entry?: Claim['entry']) => Seal} */
function failed(error, { audit_keys: pins }, entry) {
  const { evidence, code, status, name } = error;
  const text = visible(error.message);
  if (error instanceof Refused) return { level: 'bad', title: evidence?.isKept ? 'Log broken' : 'Seal not valid', text, evidence };
  if (code === 'log_not_sealed') return (pins[0] ? warn : idle)('Not sealed', 'This service does not seal its log: there is nothing to verify with.');
  const isDue = entry?.seq !== undefined || Date.now() - Date.parse(entry?.timestamp) > SLACK_MS;
  if (code === 'not_sealed_yet') return (isDue ? warn : idle)('Not sealed yet', LATE);
  if (status === 0 || name === 'TimeoutError') return idle('Seal not checked · offline', 'The service cannot be reached. Try again when you are online.');
  return idle('Seal not checked', text);
}

/** @type {(title: string, text: string) => Seal} */
const idle = (title, text) => ({ level: 'idle', title, text });

/** @type {(title: string, text: string) => Seal} */
const warn = (title, text) => ({ level: 'warn', title, text });

/** @type {(level: keyof typeof SAYS, title: string, found: Element) => Element} */
const line = (level, title, found) => h('li', { class: level }, icon(MARKS[level]),
  h('strong', {}, h('span', { class: 'unseen' }, SAYS[level]), title), found);

/** @type {(text: string, name: string, note: string) => Element} */
const keep = (text, name, note) => button({ onclick: () => save(`${name}.txt`, 'text/plain', note) }, icon('save'), text);

/** @param {number} ms */
const utc = (ms) => `${shown(ms, 'UTC')} UTC`;
