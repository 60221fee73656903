// Elements. Whatever comes from outside becomes a text node or an attribute, never markup.

/** @typedef {Node | string | number | false | null | undefined} Child */
/** @typedef {Record<string, unknown>} Props */

const SVG = 'http://www.w3.org/2000/svg';

/**
 * An element. Of `props`, functions named `on…` are listeners; `true` is an empty attribute; `false`, `null` and `undefined` are
 * none; `value` and `checked` are set as properties.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Props} [props]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function h(tag, props = {}, ...children) {
  return /** @type {HTMLElementTagNameMap[K]} */ (made(document.createElement(tag), props, children));
}

/**
 * The same for SVG.
 *
 * @param {string} tag
 * @param {Props} [props]
 * @param {...(Child | Child[])} children
 * @returns {SVGElement}
 */
export function svg(tag, props = {}, ...children) {
  return /** @type {SVGElement} */ (made(document.createElementNS(SVG, tag), props, children));
}

/**
 * @param {Element} element
 * @param {Props} props
 * @param {(Child | Child[])[]} children
 */
function made(element, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === false || value === null || value === undefined) continue;
    if (typeof value === 'function') {
      element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    } else if (name === 'value' || name === 'checked') {
      /** @type {any} */ (element)[name] = value;
    } else {
      element.setAttribute(name, value === true ? '' : String(value));
    }
  }
  element.append(...nodes(children));
  return element;
}

/**
 * Puts these in the place of all that an element contains.
 *
 * @template {Element} T
 * @param {T} element
 * @param {...(Child | Child[])} children
 * @returns {T}
 */
export function fill(element, ...children) {
  element.replaceChildren(...nodes(children));
  return element;
}

/** @param {(Child | Child[])[]} children */
function nodes(children) {
  const given = children.flat().filter((child) => child !== false && child !== null && child !== undefined);
  return given.map((child) => (child instanceof Node ? child : String(child)));
}

/** The paths of the icons, on a grid of 16 by 16, drawn as lines. */
const ICONS = {
  check: 'M3 8.5l3.5 3.5L13 4.5',
  cross: 'M4 4l8 8M12 4l-8 8',
  minus: 'M3.5 8h9',
  plus: 'M8 3.5v9M3.5 8h9',
  down: 'M4 6l4 4 4-4',
  right: 'M6 4l4 4-4 4',
  left: 'M10 4L6 8l4 4',
  search: 'M7 2.5a4.5 4.5 0 100 9 4.5 4.5 0 000-9zM10.5 10.5L14 14',
  link: 'M6.5 9.5l3-3M7 4.5l1.5-1.5a3 3 0 014.5 4.5L11.5 9M9 11.5L7.5 13A3 3 0 013 8.5L4.5 7',
  copy: 'M5.5 5.5h8v8h-8zM10.5 5.5v-3h-8v8h3',
  save: 'M8 2.5v8M4.5 7L8 10.5 11.5 7M2.5 13.5h11',
  print: 'M4.5 6V2.5h7V6M4.5 11.5h-2v-5.5h11v5.5h-2M4.5 9.5h7v4h-7z',
  shield: 'M8 1.5l5.5 2v4c0 3.5-2.5 6-5.5 7-3-1-5.5-3.5-5.5-7v-4z',
  warning: 'M8 2l6.5 11.5h-13zM8 6.5v3.5M8 11.8v.2',
  clock: 'M8 2a6 6 0 100 12A6 6 0 008 2zM8 4.5V8l2.5 1.5',
  live: 'M8 6.5a1.5 1.5 0 100 3 1.5 1.5 0 000-3zM4.5 4.5a5 5 0 000 7M11.5 4.5a5 5 0 010 7',
  columns: 'M2.5 3h11v10h-11zM6.200 3v10M9.8 3v10',
  theme: 'M8 2.5a5.5 5.5 0 100 11zM8 2.5a5.5 5.5 0 010 11',
  help: 'M6 6a2 2 0 113 1.7c-.7.4-1 .8-1 1.8M8 11.8v.2',
  leave: 'M9.5 4.5v-2h-7v11h7v-2M6.5 8h7M11 5.5L13.5 8 11 10.5',
};

/**
 * A drawing beside a text that says the same.
 *
 * @param {keyof typeof ICONS} name
 */
export function icon(name) {
  return svg('svg', { class: 'icon', viewBox: '0 0 16 16', 'aria-hidden': 'true' }, svg('path', { d: ICONS[name] }));
}

/**
 * Says something to those who do not see it. The page has one place for it.
 *
 * @param {string} text
 */
export function announce(text) {
  const place = document.getElementById('announcements');
  if (place) place.textContent = text;
}

/**
 * A file of these bytes, saved by the browser.
 *
 * @param {string} name
 * @param {string} type
 * @param {string} content
 */
export function save(name, type, content) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  h('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
