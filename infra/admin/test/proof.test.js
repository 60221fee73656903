// Proofs, against a log that is made by the definitions, and against answers of the real service.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import * as proof from '../../../admin-ui/proof.js';
import { compare, visible } from '../../../admin-ui/seal.js';
import * as log from './log.js';

const ORIGIN = 'example.org/audit/org-1';
const KEY = log.key(Buffer.alloc(32, 7));
const LEAVES = Array.from({ length: 40 }, (_, index) => `leaf ${index}`);
const first = (size) => LEAVES.slice(0, size);
const tree = (size) => ({ size, root: new Uint8Array(log.root(first(size))) });
const bytes = (hashes) => hashes.map((hash) => new Uint8Array(hash));
const refused = (work, message) => assert.rejects(async () => work(), proof.Refused, message);

/** All that a page does with a proof: it throws, or the leaf is proved. */
async function verify(leaf, file, vkey, origin = ORIGIN) {
  const { index, hashes, checkpoint } = proof.parseProof(file);
  await proof.signer(checkpoint, [await proof.parseVkey(vkey)]);
  if (checkpoint.origin !== origin) throw new proof.Refused('origin');
  await proof.verifyInclusion(await proof.leafHash(leaf), index, hashes, checkpoint);
}

const file = (index, size) => log.tlogProof(index, first(size), log.checkpoint(ORIGIN, first(size), KEY));

/** The text with each of its bits flipped, one at a time. */
function* flips(text) {
  const whole = Buffer.from(text);
  for (let bit = 0; bit < whole.length * 8; bit++) {
    const copy = Buffer.from(whole);
    copy[bit >> 3] ^= 1 << (bit & 7);
    yield copy.toString();
  }
}

test('every leaf of every tree is proved, at its place alone', async () => {
  for (let size = 1; size <= 40; size++) {
    for (let index = 0; index < size; index++) {
      await verify(LEAVES[index], file(index, size), KEY.vkey(ORIGIN));
      const hashes = bytes(log.inclusion(index, first(size)));
      const leaf = await proof.leafHash(LEAVES[index]);
      for (const other of [index - 1, index + 1, size]) {
        if (other >= 0) await refused(() => proof.verifyInclusion(leaf, other, hashes, tree(size)), `${index} as ${other} of ${size}`);
      }
      await refused(() => proof.verifyInclusion(leaf, index, [...hashes, tree(1).root], tree(size)));
      if (size > 1) await refused(() => proof.verifyInclusion(leaf, index, hashes.slice(1), tree(size)));
    }
  }
});

test('every tree continues every earlier one, and no other', async () => {
  for (let size = 1; size <= 40; size++) {
    for (let from = 1; from <= size; from++) {
      const hashes = bytes(log.consistency(from, first(size)));
      await proof.verifyConsistency(tree(from), tree(size), hashes);
      const forged = { size: from, root: new Uint8Array(log.root([...first(from - 1), 'forged'])) };
      await refused(() => proof.verifyConsistency(forged, tree(size), hashes), `forged ${from} to ${size}`);
      await refused(() => proof.verifyConsistency(tree(from), { ...tree(size), root: forged.root }, hashes));
      await refused(() => proof.verifyConsistency(tree(from), tree(size), [...hashes, tree(1).root]));
      if (hashes.length > 0) await refused(() => proof.verifyConsistency(tree(from), tree(size), hashes.slice(0, -1)));
      if (from < size) await refused(() => proof.verifyConsistency(tree(size), tree(from), hashes));
    }
  }
  await refused(() => proof.verifyConsistency({ size: 0, root: tree(1).root }, tree(3), []));
});

test('no bit of a proof, an entry or a key can be another', async () => {
  const [leaf, whole, vkey] = [LEAVES[11], file(11, 23), KEY.vkey(ORIGIN)];
  await verify(leaf, whole, vkey);
  for (const flipped of flips(whole)) await refused(() => verify(leaf, flipped, vkey), flipped);
  for (const flipped of flips(leaf)) await refused(() => verify(flipped, whole, vkey), flipped);
  for (const flipped of flips(vkey)) await refused(() => verify(leaf, whole, flipped), flipped);
  const hashes = log.consistency(11, first(23));
  for (const [place, hash] of hashes.entries()) {
    for (let bit = 0; bit < 256; bit++) {
      const other = bytes(hashes);
      other[place][bit >> 3] ^= 1 << (bit & 7);
      await refused(() => proof.verifyConsistency(tree(11), tree(23), other), `hash ${place}, bit ${bit}`);
    }
  }
});

test('sizes beyond 32 bits are counted exactly', async () => {
  // A tree of 2^40 equal leaves: each level has one hash.
  let hash = log.leafHash('x');
  const levels = [];
  for (let level = 0; level < 40; level++) {
    levels.push(new Uint8Array(hash));
    hash = Buffer.from(await crypto.subtle.digest('SHA-256', Buffer.concat([[1], hash, hash].map((part) => Buffer.from(part)))));
  }
  const whole = { size: 2 ** 40, root: new Uint8Array(hash) };
  const leaf = await proof.leafHash('x');
  await proof.verifyInclusion(leaf, 2 ** 40 - 1, levels, whole);
  await proof.verifyInclusion(leaf, 2 ** 39 + 1, levels, whole);
  await refused(() => proof.verifyInclusion(leaf, 2 ** 40, levels, whole));
  await refused(() => proof.verifyInclusion(leaf, 1, levels, { ...whole, size: 2 ** 41 }));
  await proof.verifyConsistency({ size: 2 ** 39, root: levels[39] }, whole, [levels[39]]);
});

test('what is not of the form is refused', async () => {
  const note = log.checkpoint(ORIGIN, first(5), KEY);
  const [text, signature] = note.split('\n\n');
  const [, , base64] = signature.trimEnd().split(' ');
  const notes = {
    'no text at all': '',
    'not a text': null,
    'no signature': `${text}\n`,
    'an empty signature block': `${text}\n\n`,
    'no line feed at the end': note.trimEnd(),
    'a blank line more': note.replace('\n\n', '\n\n\n'),
    'a carriage return': note.replace('\n', '\r\n'),
    'a tab': note.replace(ORIGIN, `${ORIGIN}\t`),
    'a hyphen for the dash': note.replace('\u2014', '-'),
    'two spaces': note.replace(/\u2014 /, '\u2014  '),
    'a name with a space': note.replace(`\u2014 ${ORIGIN}`, '\u2014 a\u00a0b'),
    'a name with a plus': note.replace(`\u2014 ${ORIGIN}`, '\u2014 a+b'),
    'base64 without padding': note.replace(base64, base64.replace(/=*$/, '')),
    'base64 of the other alphabet': note.replace(base64, `${base64.slice(0, -4)}-_==`),
    'a signature of four bytes': note.replace(base64, 'AAAAAA=='),
    'two lines': note.replace('\n5\n', '\n'),
    'an empty origin': note.replace(ORIGIN, ''),
    'a size with a zero in front': note.replace('\n5\n', '\n05\n'),
    'a negative size': note.replace('\n5\n', '\n-5\n'),
    'a size of 2^53': note.replace('\n5\n', '\n9007199254740992\n'),
    'a size with an exponent': note.replace('\n5\n', '\n5e0\n'),
    'a size of other digits': note.replace('\n5\n', '\n\u0665\n'),
    'a short root': note.replace(/\n5\n.*\n/, '\n5\nAAAA\n'),
    'a root with idle bits': note.replace(/\n5\n.*\n/, `\n5\n${'A'.repeat(42)}B=\n`),
    'too many signatures': `${note}${signature.repeat(100)}`,
  };
  for (const [what, other] of Object.entries(notes)) await refused(() => proof.parseCheckpoint(other), what);

  const whole = file(3, 5);
  const files = {
    'another version': whole.replace('@v1', '@v2'),
    'no index': whole.replace('index 3\n', ''),
    'an index that is no number': whole.replace('index 3', 'index three'),
    'an index with a zero in front': whole.replace('index 3', 'index 03'),
    'extra data that is no base64': whole.replace('index 3', 'extra !\nindex 3'),
    'extra data behind the index': whole.replace('index 3', 'index 3\nextra AAAA'),
    'no checkpoint': whole.split('\n\n')[0],
    'a carriage return': whole.replace('\n', '\r\n'),
  };
  for (const [what, other] of Object.entries(files)) await refused(() => proof.parseProof(other), what);
  assert.equal(proof.parseProof(whole.replace('index 3', 'extra AAAA\nindex 3')).index, 3);

  const vkey = KEY.vkey(ORIGIN);
  const [name, id, key] = vkey.split('+');
  for (const other of ['', name, `${name}+${id}`, `${name}+00000000+${key}`, `${name} +${id}+${key}`, `${name}+${id}+AAAA`, `other+${id}+${key}`]) {
    await refused(() => proof.parseVkey(other), other);
  }
});

test('others may sign as well, and a false signature of a known key is not outweighed', async () => {
  const keys = [await proof.parseVkey(KEY.vkey(ORIGIN))];
  const note = log.checkpoint(ORIGIN, first(5), KEY);
  const text = note.slice(0, note.indexOf('\n\n') + 1);
  const witness = log.key(Buffer.alloc(32, 9));
  const signedBy = async (...signatures) => (await proof.signer(proof.parseCheckpoint(`${text}\n${signatures.join('')}`), keys)).id;
  const [ours, theirs] = [KEY.signature(ORIGIN, text), witness.signature('witness', text)];
  assert.equal(await signedBy(theirs, ours), keys[0].id);
  await refused(() => signedBy(theirs));
  await refused(() => signedBy(ours, KEY.signature(ORIGIN, 'another text')));
  await refused(() => signedBy(KEY.signature('another.org/audit/org-1', text)));
  // Lines behind the root are signed with it.
  const extended = `${text}extension\n`;
  const read = proof.parseCheckpoint(`${extended}\n${KEY.signature(ORIGIN, extended)}`);
  assert.equal((await proof.signer(read, keys)).id, keys[0].id);
});

/** Answers of the local stack. */
const ANSWERS = {
  vkey: 'localhost/audit/org-123+22c9031f+AX+5BYbXwH14r2VpMaFIaX6YuGt2PDpVm5KPzw13mpI7',
  entry: { id: '01M80S63QZNGXBKPTVPRC0AVKJ', user_id: 1, role: 'admin', timestamp: '2026-11-22T04:45:44.575Z', ip_address: '127.0.0.1', device_info: 'curl/7.88.1', action_type: 'UPLOAD', file_path: 'org-123/workspace/pdf/doc-1/20261122_044544_f1.pdf', related_object_type: null, related_object_id: null, metadata: { file_size: 15, sha256: '370e300d153b03e2215a2c98e4c68d5bfa59b222c9dacd8e9839d2fda79f21ef', mime_type: 'application/pdf' }, success: 'true', error_message: null, request_id: '01a20193-0eda-a783-ea96-bee176df712f', kept_until: '2033-12-22T04:45:44Z', seq: 0 },
  raw: '{"a":"UPLOAD","c":"127.0.0.1","d":"curl/7.88.1","f":"workspace/pdf/doc-1/20261122_044544_f1.pdf","i":"01M80S63QZNGXBKPTVPRC0AVKJ","m":{"b":15,"h":"370e300d153b03e2215a2c98e4c68d5bfa59b222c9dacd8e9839d2fda79f21ef","m":"application/pdf"},"n":0,"o":"org-123","q":"01a20193-0eda-a783-ea96-bee176df712f","r":"admin","t":1795322744575,"u":1,"w":"tmvybp85hprdmzd2"}',
  hash: '5be549dfa49875828c55c0bd0a40088eb36ec9a8fcbea2c4bc4b3d03e4a01083',
  proof: 'c2sp.org/tlog-proof@v1\nindex 0\nb5RKQYAU0iXTIscKVwwvCSVwf6ug2CpdeB5TllpIKZU=\nJ2WXujOhtleDOimH/ggj/ZfWrkVGr91lriOmwznzG/4=\n\nlocalhost/audit/org-123\n4\ngu6A85fwVGVyPIBkSv0mP24X0OoR+mTrCNmuTn/cR30=\n\n\u2014 localhost/audit/org-123 IskDH8B3Wsde4PlCp4eYQFO9IiCIP61kDqMq0+5U3nIxWpFsHLIfxHvgiDc0DRE80tbEoSzgQbTOjYoYcJniXSTOMgM=\n',
};

test('what the real service answered is proved', async () => {
  assert.equal(proof.toHex(await proof.leafHash(ANSWERS.raw)), ANSWERS.hash);
  await verify(ANSWERS.raw, ANSWERS.proof, ANSWERS.vkey, 'localhost/audit/org-123');
  assert.equal(compare(ANSWERS.raw, ANSWERS.entry, 'org-123'), 17);
});

test('the key that config.json pins is the one that signed these answers', async () => {
  const config = JSON.parse(await readFile(new URL('../../../admin-ui/config.json', import.meta.url), 'utf8'));
  const pinned = await proof.parseVkey(config.audit_keys[0]);
  const { bytes: listed } = await proof.parseVkey(ANSWERS.vkey);
  assert.deepEqual(pinned.bytes, listed);
});

test('a field that is not what the bytes say is named', async () => {
  const { raw, entry } = ANSWERS;
  const text = 'something else';
  for (const name of Object.keys(entry)) {
    if (name === 'seq' || name === 'metadata') continue;
    assert.throws(() => compare(raw, { ...entry, [name]: text }, 'org-123'), new RegExp(`^Error: ${name} is shown`), name);
    const { [name]: _, ...without } = entry;
    assert.throws(() => compare(raw, without, 'org-123'), proof.Refused, name);
  }
  for (const [name, other] of [['user_id', '1'], ['success', true], ['success', 'false'], ['error_message', ''], ['sub', '1'], ['severity', 'low']]) {
    assert.throws(() => compare(raw, { ...entry, [name]: other }, 'org-123'), proof.Refused, name);
  }
  for (const metadata of [{}, null, 'none', { ...entry.metadata, file_size: 16 }, { ...entry.metadata, hard_delete: true }]) {
    assert.throws(() => compare(raw, { ...entry, metadata }, 'org-123'), /metadata/);
  }
  assert.throws(() => compare(raw, entry, 'org-12'), /organisation/);
});

test('a member with the name of a metadata’s path is not that', () => {
  const { raw, entry } = ANSWERS;
  const { metadata, ...without } = entry;
  const beside = Object.fromEntries(Object.entries(metadata).flatMap(([name, value]) => [[`metadata.${name}`, value], [`metadata ${name}`, value]]));
  assert.throws(() => compare(raw, { ...without, ...beside }, 'org-123'), proof.Refused);
  for (const name of ['metadata.file_size', 'metadata file_size', '["metadata","file_size"]', '__proto__', 'unknown']) {
    const more = JSON.parse(`{${JSON.stringify(name)}:15}`);
    assert.throws(() => compare(raw, Object.defineProperty({ ...entry }, name, { value: 15, enumerable: true }), 'org-123'), proof.Refused, name);
    assert.throws(() => compare(raw, { ...entry, metadata: Object.defineProperties({ ...metadata }, Object.getOwnPropertyDescriptors(more)) }, 'org-123'), proof.Refused, name);
  }
});

test('what would change the order of a text is shown as what it is', () => {
  assert.equal(visible('a\u202egnp.\u2066b\u061c\u200e\u200f\u202a\u2069'), 'a\\u202egnp.\\u2066b\\u061c\\u200e\\u200f\\u202a\\u2069');
  assert.equal(visible('{"a":"é\u2028\u05d0"}'), '{"a":"é\u2028\u05d0"}');
});

test('every member of the bytes is shown in its field', () => {
  const metadata = { b: 1, d: true, e: 60, f: 'action_type=DELETE', g: 'csv', h: 'aa', i: false, k: 'key', m: 'text/plain', o: 'o', p: 'view', r: 'org-2', s: 'epcr', t: 'pdf', u: 'upload', w: 'why' };
  // 29 February 2028 and seven years: 28 February, and 30 days.
  const t = Date.parse('2028-02-29T23:59:59.999Z');
  const raw = JSON.stringify({ a: 'DELETE', c: '::1', d: 'x "\u0001\u2028', e: 'no', f: '/org-2/a', g: { i: 'i', w: 'w' }, i: 'ID', m: metadata, n: 1, o: 'org-1', p: 'p', q: 'q', r: 'member', s: 'sub', t, u: 'seven', w: 'w', y: 'call', z: '9' });
  const entry = {
    id: 'ID', user_id: 'seven', role: 'member', timestamp: '2028-02-29T23:59:59.999Z', ip_address: '::1', device_info: 'x "\u0001\u2028', action_type: 'DELETE', file_path: 'org-2/a',
    related_object_type: 'call', related_object_id: '9', success: 'false', error_message: 'no', request_id: 'q', kept_until: '2035-03-30T23:59:59Z', sub: 'sub',
    metadata: { file_size: 1, hard_delete: true, expires_in: 60, filter: 'action_type=DELETE', format: 'csv', sha256: 'aa', include_deleted: false, key: 'key', mime_type: 'text/plain', object_id: 'o', purpose: 'view', org_id: 'org-2', system: 'epcr', object_type: 'pdf', upload_id: 'upload', reason: 'why' },
  };
  assert.equal(compare(raw, entry, 'org-1'), 31);
});

test('bytes that are not canonical are refused', () => {
  const { raw, entry } = ANSWERS;
  const others = {
    'not JSON': 'x', null: 'null', 'a text': '"x"', 'an array': '[]', 'white space': `${raw} `,
    'a member twice': raw.replace('"a":"UPLOAD"', '"a":"DELETE","a":"UPLOAD"'),
    'another spelling': raw.replace('UPLOAD', '\\u0055PLOAD'),
    'an unknown member': raw.replace('"w":"tmvybp85hprdmzd2"', '"w":"tmvybp85hprdmzd2","x":1'),
    'a member of every object': raw.replace('{"a"', '{"__proto__":1,"a"'),
    'unknown metadata': raw.replace('"m":"application/pdf"', '"m":"application/pdf","z":1'),
    'a number for a text': raw.replace('"r":"admin"', '"r":1'),
    'no time': raw.replace(/"t":\d+/, '"t":9e15').replace('9e15', '9000000000000000'),
  };
  for (const [what, other] of Object.entries(others)) assert.throws(() => compare(other, entry, 'org-123'), proof.Refused, what);
});
