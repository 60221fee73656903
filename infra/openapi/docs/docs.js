// The API's description, read from the OpenAPI document beside it.

import { code, field, h, members, prose, resolve } from './schema.js';

const DOCUMENT = '/openapi.json';
const main = document.querySelector('main');

try {
  const answer = await fetch(DOCUMENT);
  if (!answer.ok) throw new Error(`${DOCUMENT}: ${answer.status}`);
  show(await answer.json());
} catch (error) {
  main.replaceChildren(h('p', { role: 'alert' }, `The description cannot be read. ${error}`));
}

function show(root) {
  const operations = Object.entries(root.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, ...operation })));
  const groups = root.tags.map((tag) => ({ ...tag, operations: operations.filter(({ tags }) => tags.includes(tag.name)) }));

  document.title = `${root.info.title}: API`;
  document.querySelector('nav').replaceChildren(
    h('a', { href: '#top', class: 'brand' }, root.info.title),
    ...groups.map(({ name, operations }) => h('section', {}, h('h2', {}, name),
      h('ul', {}, operations.map((one) => h('li', {}, h('a', { href: `#${one.operationId}` }, badge(one.method), breakable(one.path))))))),
    h('a', { href: '#codes' }, 'Codes'), h('a', { href: DOCUMENT }, 'openapi.json'));
  main.replaceChildren(introduction(root), ...groups.map((group) => section(root, group)), codes(root));

  // The elements were not there when the browser looked for them.
  document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

function introduction({ info, servers, components }) {
  const schemes = Object.entries(components.securitySchemes).map(([name, scheme]) => h('div', { class: 'field' },
    h('dt', {}, h('code', {}, scheme.in === 'cookie' ? `Cookie: ${scheme.name}` : 'Authorization: Bearer')),
    h('dd', { 'data-scheme': name }, prose(scheme.description))));
  return h('header', { id: 'top' }, h('h1', {}, info.title), h('p', { class: 'lead' }, info.summary), h('p', {}, prose(info.description)),
    h('p', {}, 'All paths stand under ', h('code', {}, servers[0].url), '.'), h('h2', {}, 'Who is calling'), h('dl', {}, schemes));
}

function section(root, { name, description, operations }) {
  return h('section', {}, h('h2', {}, name), h('p', { class: 'muted' }, prose(description)), operations.map((one) => article(root, one)));
}

function article(root, { path, method, operationId, summary, description, parameters = [], requestBody, responses }) {
  const [[mediaType, body] = []] = Object.entries(requestBody?.content ?? {});
  const given = parameters.map((one) => resolve(root, one));
  const isDone = ([status]) => status.startsWith('2');
  return h('article', { id: operationId, 'aria-labelledby': `${operationId}-title` },
    h('h3', { id: `${operationId}-title` }, h('a', { href: `#${operationId}` }, summary)),
    h('p', { class: 'route' }, badge(method), h('code', {}, breakable(path))),
    description && h('p', {}, prose(description)),
    given.length > 0 && fold(`Parameters (${given.length})`, given.length < 8, h('dl', {}, given.map((one) =>
      field(root, `${one.name}${one.in === 'query' ? '' : ` (${one.in})`}`, one.schema, one.required, one.description)))),
    body && fold(`Body: ${mediaType}${requestBody.required ? '' : ', optional'}`, true, members(root, body.schema) ?? ''),
    body?.example && fold('Example of a body', false, code(body.example)),
    Object.entries(responses).filter(isDone).map(([status, response]) => done(root, status, response)),
    fold('Refusals and failures', false, h('dl', {},
      Object.entries(responses).filter((one) => !isDone(one)).map(([status, response]) => refusal(root, status, response)))));
}

function done(root, status, { content }) {
  const [[mediaType, { schema, example }]] = Object.entries(content);
  const shape = members(root, schema) ?? h('p', {}, prose(resolve(root, schema).description));
  return [fold(`${status}: ${mediaType}`, false, shape), example && fold('Example of an answer', false, code(example))];
}

/** A status, what it means, and which codes come with it. */
function refusal(root, status, given) {
  const { description, headers = {}, content } = resolve(root, given);
  const schema = Object.values(content)[0].schema;
  const known = schema.allOf?.[1].properties.code.enum ?? [];
  return h('div', { class: 'field' }, h('dt', {}, h('code', {}, status)),
    h('dd', {}, prose(description), ' ', known.map((name) => [h('a', { href: `#code-${name}` }, h('code', {}, name)), ' ']),
      Object.keys(headers).length > 0 && h('span', { class: 'type' }, `with ${Object.keys(headers).join(', ')}`)));
}

function codes({ components }) {
  const all = components.schemas.Code.oneOf.map(({ const: name, description }) => h('div', { class: 'field', id: `code-${name}` },
    h('dt', {}, h('code', {}, name)), h('dd', {}, prose(description))));
  const text = h('p', { class: 'muted' }, prose(components.schemas.Code.description));
  return h('section', { id: 'codes' }, h('h2', {}, 'Codes'), text, h('dl', {}, all));
}

function badge(method) {
  return h('span', { class: `method ${method}` }, method.toUpperCase());
}

/** A path may be broken behind its slashes. */
function breakable(path) {
  return path.split('/').slice(1).flatMap((part) => ['/', part, h('wbr')]).slice(0, -1);
}

function fold(title, isOpen, ...children) {
  return h('details', isOpen ? { open: '' } : {}, h('summary', {}, title), ...children.filter(Boolean));
}
