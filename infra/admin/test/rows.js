// Rows of the audit log of any time and in any number, put into the table past the service: the service itself writes only
// the present, one entry a request. They are what it would have written (shared/audit-format), and it seals them.

import { createHash, randomBytes } from 'node:crypto';

const TABLE = 'storage_audit_logs';
/** Crockford's alphabet, in which ULIDs are written. */
const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const BATCH = 25;
const AT_ONCE = 4;

/** The short names of an entry's members, in the order of its bytes. */
const MEMBERS = {
  action_type: 'a',
  ip_address: 'c',
  device_info: 'd',
  error_message: 'e',
  file_path: 'f',
  id: 'i',
  metadata: 'm',
  sequence: 'n',
  org_id: 'o',
  previous: 'p',
  request_id: 'q',
  role: 'r',
  sub: 's',
  at: 't',
  user_id: 'u',
  writer: 'w',
  related_object_type: 'y',
  related_object_id: 'z',
};

/**
 * Puts entries into the table. Each has `at` (ms) and whatever of an entry's members matters, under the API's names but
 * for `file_path`, which begins below the organisation, and `metadata`, whose names are the stored ones. They are one writer's.
 *
 * @returns the ids
 */
export async function insert(world, entries) {
  const writer = ulid(Date.now());
  let previous;
  const rows = entries.map((given, sequence) => {
    const made = row({ ...given, writer, sequence, previous });
    previous = made.h.B.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
    return made;
  });
  const batches = [];
  for (let at = 0; at < rows.length; at += BATCH) batches.push(rows.slice(at, at + BATCH));
  const put = async () => {
    for (let batch = batches.shift(); batch; batch = batches.shift()) await write(world, batch);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, put));
  return rows.map((made) => made.sk.S);
}

/** An entry's row: all but its bytes follows from them. */
function row({ at, ...given }) {
  const entry = {
    action_type: 'VIEW',
    ip_address: '203.0.113.7',
    device_info: 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0',
    id: ulid(at),
    org_id: 'org-123',
    request_id: uuid(),
    role: 'accountant',
    user_id: 7,
    at,
    ...given,
  };
  const members = Object.entries(MEMBERS).map(([name, short]) => [short, entry[name]]);
  const bytes = Buffer.from(JSON.stringify(Object.fromEntries(members)));
  const { org_id: org, related_object_type: type, related_object_id: object } = entry;
  const month = new Date(at).toISOString().slice(0, 7);
  const action = `${entry.error_message === undefined ? '' : 'FAIL.'}${entry.action_type}#${month}`;
  const index = (name, value) => ({ B: sha256([name, org, value].join('\0')).subarray(0, 16).toString('base64') });
  return {
    pk: { S: `${org}#${month}` },
    sk: { S: entry.id },
    b: { B: bytes.toString('base64') },
    h: { B: sha256(Buffer.concat([Buffer.from([0]), bytes])).toString('base64') },
    ttl: { N: `${Math.floor(keptUntil(at) / 1000)}` },
    gu: index('by_user', entry.user_id),
    ga: index('by_action', action),
    ...(entry.file_path !== undefined && { gf: index('by_file', `${org}/${entry.file_path}`) }),
    ...(type !== undefined && object !== undefined && { go: index('by_object', `${type}\0${object}`) }),
  };
}

async function write(world, rows) {
  const answer = await fetch(world.dynamodb, {
    method: 'POST',
    headers: {
      'Content-Type': 'application/x-amz-json-1.0',
      'X-Amz-Target': 'DynamoDB_20120810.BatchWriteItem',
      // The embedded store wants to see one, and does not check it.
      Authorization: 'AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0',
      'X-Amz-Date': '20260101T000000Z',
    },
    body: JSON.stringify({ RequestItems: { [TABLE]: rows.map((Item) => ({ PutRequest: { Item } })) } }),
  });
  const { UnprocessedItems: left } = await answer.json();
  if (!answer.ok || Object.keys(left ?? {}).length > 0) throw new Error(`the rows were not put: ${answer.status}`);
}

/** Seven years and thirty days later. */
function keptUntil(at) {
  const date = new Date(at);
  const month = date.getUTCMonth();
  date.setUTCFullYear(date.getUTCFullYear() + 7);
  // Of the 29th of February, the 28th.
  if (date.getUTCMonth() !== month) date.setUTCDate(0);
  date.setUTCDate(date.getUTCDate() + 30);
  return date.getTime();
}

function ulid(at) {
  const bits = (BigInt(at) << 80n) | BigInt(`0x${randomBytes(10).toString('hex')}`);
  return Array.from({ length: 26 }, (_, digit) => DIGITS[Number((bits >> BigInt(5 * (25 - digit))) & 31n)]).join('');
}

function uuid() {
  return randomBytes(16).toString('hex').replace(/(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
}

function sha256(data) {
  return createHash('sha256').update(data).digest();
}
