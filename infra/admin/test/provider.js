// An identity provider of the tests: OpenID Connect's code flow with PKCE, and what may go wrong with it.

import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';

/** Starts it. It makes tokens by `jwt`; what a test puts into `faults` changes its next answers. */
export async function startProvider(jwt) {
  const provider = { issuer: '', faults: {}, asked: [], close: () => server.close() };
  const codes = new Map();
  const server = createServer(async (request, response) => {
    const url = new URL(request.url, provider.issuer);
    const { faults } = provider;
    response.setHeader('Access-Control-Allow-Origin', '*');
    const json = (status, body) => response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));

    if (url.pathname === '/.well-known/openid-configuration') {
      const endpoint = (name) => `${provider.issuer}/${name}`;
      return json(200, {
        issuer: provider.issuer,
        authorization_endpoint: endpoint('authorize?tenant=a%26b'),
        token_endpoint: endpoint('token'),
        code_challenge_methods_supported: ['plain', 'S256'],
        ...faults.discovery,
      });
    }
    if (url.pathname === '/authorize') {
      const asked = Object.fromEntries(url.searchParams);
      provider.asked.push(asked);
      const code = randomBytes(16).toString('hex');
      codes.set(code, asked);
      const back = new URL(asked.redirect_uri);
      for (const [name, value] of Object.entries({ code, state: asked.state, iss: provider.issuer, ...faults.answer })) {
        if (value !== null) back.searchParams.set(name, value);
      }
      provider.back = back.href;
      return response.writeHead(302, { Location: back.href }).end();
    }
    if (url.pathname === '/token') {
      let body = '';
      for await (const chunk of request) body += chunk;
      const form = new URLSearchParams(body);
      const asked = codes.get(form.get('code'));
      codes.delete(form.get('code'));
      const challenge = createHash('sha256').update(form.get('code_verifier') ?? '').digest('base64url');
      const isGood =
        asked !== undefined &&
        form.get('grant_type') === 'authorization_code' &&
        form.get('client_id') === asked.client_id &&
        form.get('redirect_uri') === asked.redirect_uri &&
        asked.code_challenge_method === 'S256' &&
        challenge === asked.code_challenge;
      if (!isGood) return json(400, { error: 'invalid_grant', error_description: 'The code is not good' });
      const id = { iss: provider.issuer, aud: asked.client_id, nonce: asked.nonce, ...faults.id };
      return json(200, { access_token: jwt(faults.claims), token_type: 'Bearer', id_token: jwt(id), ...faults.token });
    }
    return json(404, {});
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  provider.issuer = `http://127.0.0.1:${server.address().port}`;
  return provider;
}
