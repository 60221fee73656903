// The local stack for tests in Node: starts it, makes tokens for it, and says how Chromium is started beside it.

import { spawn } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

const ROOT = new URL('../../', import.meta.url);
const FREE_PORTS = ['--port', '0', '--s3-port', '0', '--dynamodb-port', '0'];

/** How a test starts Chromium: without anything that talks to others by itself. */
export const CHROMIUM = {
  executablePath: '/usr/bin/chromium',
  headless: true,
  args: [
    '--no-sandbox',
    '--disable-gpu',
    '--no-first-run',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
  ],
};

/** Starts the stack: where everything answers, tokens for it, and `stop`, which leaves nothing behind. */
export async function startStack() {
  const secret = randomBytes(32).toString('hex');
  const stack = spawn('cargo', ['run', '-q', '--locked', '--', '--ephemeral', ...FREE_PORTS], {
    cwd: ROOT,
    env: { RUST_LOG: 'error', ...process.env, JWT_SECRET: secret },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const addresses = await firstLine(stack);
  const stop = async () => {
    stack.kill('SIGTERM');
    if (stack.exitCode === null) await once(stack, 'exit');
  };
  return { ...addresses, token: (claims) => token(claims, secret), stop };
}

/** The stack says where it answers in one line for programs. */
async function firstLine(stack) {
  for await (const line of createInterface({ input: stack.stdout })) {
    if (line.startsWith('{')) return JSON.parse(line);
  }
  throw new Error('the local stack did not start');
}

/** An access token for an hour and of user 1 of org-123, unless the claims say otherwise. */
function token(claims, secret) {
  const now = Math.floor(Date.now() / 1000);
  const all = { sub: '1', org_id: 'org-123', iat: now, exp: now + 3600, ...claims };
  const [head, body] = [{ alg: 'HS256', typ: 'JWT' }, all].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url'));
  return `${head}.${body}.${createHmac('sha256', secret).update(`${head}.${body}`).digest('base64url')}`;
}
