// What a JSON schema says, for people. Whatever comes from the document becomes a text node, never markup.

/** An element. A prop that is undefined or false is none. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== false));
  return element;
}

/** A text with `code` in it. */
export const prose = (text = '') => text.split('`').map((part, at) => (at % 2 ? h('code', {}, part) : part));

/** A value as JSON. */
export const code = (value) => h('pre', { tabindex: '0' }, typeof value === 'string' ? value : JSON.stringify(value, null, 2));

/** What a reference points to, anything else as it is; and what is said beside a reference counts, too. */
export function resolve(root, value) {
  if (!value?.$ref) return value;
  const { $ref, ...beside } = value;
  const names = $ref.slice(2).split('/').map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'));
  return { ...resolve(root, names.reduce((at, name) => at[name], root)), ...beside };
}

/** A schema in a few words: its type, its values, its bounds. */
export function words(root, given) {
  const schema = resolve(root, given);
  const range = (low, high, of) => {
    if (low === undefined && high === undefined) return undefined;
    return `${low ?? ''}${low === high ? '' : ` … ${high ?? ''}`}${of}`;
  };
  const values = schema.enum ?? ('const' in schema ? [schema.const] : undefined);
  const choice = schema.anyOf ?? (schema.type ? undefined : schema.oneOf);
  const type = [schema.type].flat().filter((name) => name && !values).join(' or ');
  return [
    schema.type === 'array' ? `list of ${words(root, schema.items)}` : type,
    schema.format,
    values?.map((value) => JSON.stringify(value)).join(', '),
    choice && !values && !schema.properties && choice.map((one) => words(root, one)).join(' or '),
    range(schema.minimum, schema.maximum, ''),
    range(schema.minLength, schema.maxLength, ' characters'),
    range(schema.minItems, schema.maxItems, ' of them'),
    !schema.description && schema.pattern,
    schema.default !== undefined && `default ${JSON.stringify(schema.default)}`,
  ].filter(Boolean).join(', ');
}

/** A name with what it is and means. */
export function field(root, name, schema, required, description) {
  const resolved = resolve(root, schema);
  return h('div', { class: 'field' },
    h('dt', {}, h('code', {}, name), required && h('span', { class: 'required' }, ' required')),
    h('dd', {}, h('span', { class: 'type' }, words(root, schema)), ' ', prose(description ?? resolved.description), members(root, schema)));
}

/** The members of an object, or of a list's items. */
export function members(root, given) {
  const schema = resolve(root, given);
  if (schema.type === 'array') return members(root, schema.items);
  const rest = schema.additionalProperties;
  if (!schema.properties) return rest?.type === 'object' ? members(root, rest) : undefined;
  const fields = Object.entries(schema.properties).map(([name, member]) =>
    field(root, name, member, schema.required?.includes(name)));
  return [h('dl', {}, fields), (schema.allOf ?? []).map((part) => together(root, part))];
}

/** What fields may only be together. */
function together(root, part) {
  const { description, anyOf } = resolve(root, part);
  const choices = anyOf.map(({ title, properties }) => h('li', {}, h('code', {}, title), ': ',
    Object.values(properties).filter((one) => one.enum).map((one) => one.enum.join(', '))));
  return h('div', {}, h('p', {}, description), h('ul', {}, choices));
}
