// The smallest page that has a session: who is signed in, and what the service answers them.

import { Api } from './log.js';
import { h } from './dom.js';
import { createSession, loadConfig } from './session.js';

const rows = h('output');
document.body.append(h('header', {}), rows);
try {
  const config = await loadConfig();
  const session = createSession(config);
  const api = new Api(config.api, () => session.token(), (token) => session.expired(token));
  const load = async () => {
    const answer = await api.get('', [['limit', '1']]).catch((error) => error);
    rows.textContent = answer.success ? 'an answer' : `refused with ${answer.status}`;
  };
  globalThis.changes = [];
  globalThis.load = load;
  globalThis.expired = (token) => session.expired(token);
  session.addEventListener('change', (event) => {
    globalThis.changes.push(event.detail.other);
    if (event.detail.other) rows.textContent = 'nothing of somebody else';
    else load();
  });
  document.querySelector('header').append(session.element);
  await session.signIn();
} catch (error) {
  rows.textContent = error.message;
}
