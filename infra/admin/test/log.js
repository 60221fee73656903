// A sealed log for tests, made without the page's code: RFC 6962 by its recursive definitions, notes signed by Node.

import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto';

const sha256 = (...parts) => createHash('sha256').update(Buffer.concat(parts.map((part) => Buffer.from(part)))).digest();

export const leafHash = (leaf) => sha256([0], leaf);

/** The largest power of two below a number. */
const split = (size) => 2 ** Math.ceil(Math.log2(size) - 1);

const roots = new Map();

export function root(leaves) {
  if (leaves.length === 1) return leafHash(leaves[0]);
  const known = roots.get(leaves.join('\n'));
  if (known) return known;
  const k = split(leaves.length);
  const hash = sha256([1], root(leaves.slice(0, k)), root(leaves.slice(k)));
  roots.set(leaves.join('\n'), hash);
  return hash;
}

/** PATH(m, D[n]) of section 2.1.1. */
export function inclusion(index, leaves) {
  if (leaves.length === 1) return [];
  const k = split(leaves.length);
  if (index < k) return [...inclusion(index, leaves.slice(0, k)), root(leaves.slice(k))];
  return [...inclusion(index - k, leaves.slice(k)), root(leaves.slice(0, k))];
}

/** PROOF(m, D[n]) of section 2.1.2. */
export function consistency(size, leaves, isWhole = true) {
  if (size === leaves.length) return isWhole ? [] : [root(leaves)];
  const k = split(leaves.length);
  if (size <= k) return [...consistency(size, leaves.slice(0, k), isWhole), root(leaves.slice(k))];
  return [...consistency(size - k, leaves.slice(k), false), root(leaves.slice(0, k))];
}

/** A key from its seed of 32 bytes. */
export function key(seed) {
  const pkcs8 = Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), Buffer.from(seed)]);
  const secret = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  const numbered = Buffer.concat([[1], createPublicKey(secret).export({ format: 'der', type: 'spki' }).subarray(-32)].map((part) => Buffer.from(part)));
  const id = (name) => sha256(name, '\n', numbered).subarray(0, 4);
  return {
    vkey: (name) => `${name}+${id(name).toString('hex')}+${numbered.toString('base64')}`,
    signature: (name, text) => `\u2014 ${name} ${Buffer.concat([id(name), sign(null, Buffer.from(text), secret)]).toString('base64')}\n`,
  };
}

export function checkpoint(origin, leaves, signer) {
  const text = `${origin}\n${leaves.length}\n${root(leaves).toString('base64')}\n`;
  return `${text}\n${signer.signature(origin, text)}`;
}

export function tlogProof(index, leaves, note) {
  const hashes = inclusion(index, leaves).map((hash) => `${hash.toString('base64')}\n`);
  return `c2sp.org/tlog-proof@v1\nindex ${index}\n${hashes.join('')}\n${note}`;
}
