// Elements. Whatever comes from outside becomes a text node or an attribute, never markup.

/**
 * Of an element's props, functions named `on…` are listeners, `true` is an empty attribute, and `false`, `null` and `undefined` are
 * none.
 *
 * @type {<K extends keyof HTMLElementTagNameMap>(tag: K, props?: Props, ...children: Children) => HTMLElementTagNameMap[K]}
 */
export const h = (tag, props, ...children) => made(document.createElement(tag), props, children);

/** @type {(tag: string, props?: Props, ...children: Children) => SVGElement} */
export function svg(tag, props, ...children) {
  return /** @type {SVGElement} */ (made(document.createElementNS('http://www.w3.org/2000/svg', tag), props, children));
}

/** @type {<T extends Element>(element: T, props: Props | undefined, children: Children) => T} */
function made(element, props = {}, children) {
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === 'function') element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    else if (name === 'value' || name === 'checked') Object.assign(element, { [name]: value });
    else if ((value ?? false) !== false) element.setAttribute(name, value === true ? '' : String(value));
  }
  return fill(element, ...children);
}

/** Instead of all that an element contains. @type {<T extends Element>(element: T, ...children: Children) => T} */
export function fill(element, ...children) {
  const given = children.flat().filter((child) => (child ?? false) !== false);
  element.replaceChildren(...given.map((child) => (child instanceof Node ? child : String(child))));
  return element;
}

const SHORTCUTS = 'shortcuts';
/** So long it is said that something is done. */
const TOAST_MS = 4_000;

/** Lines on a grid of 16 by 16. */
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
  save: 'M8 2.5v8M4.5 7L8 10.5 11.5 7M2.5 13.5h11',
  print: 'M4.5 6V2.5h7V6M4.5 11.5h-2v-5.5h11v5.5h-2M4.5 9.5h7v4h-7z',
  shield: 'M8 1.5l5.5 2v4c0 3.5-2.5 6-5.5 7-3-1-5.5-3.5-5.5-7v-4z',
  warning: 'M8 2l6.5 11.5h-13zM8 6.5v3.5M8 11.8v.2',
  clock: 'M8 2a6 6 0 100 12A6 6 0 008 2zM8 4.5V8l2.5 1.5',
  live: 'M8 6.5a1.5 1.5 0 100 3 1.5 1.5 0 000-3zM4.5 4.5a5 5 0 000 7M11.5 4.5a5 5 0 010 7',
  columns: 'M2.5 3h11v10h-11zM6.2 3v10M9.8 3v10',
  help: 'M6 6a2 2 0 113 1.7c-.7.4-1 .8-1 1.8M8 11.8v.2',
  leave: 'M9.5 4.5v-2h-7v11h7v-2M6.5 8h7M11 5.5L13.5 8 11 10.5',
};

/** Beside a text that says the same. @param {keyof typeof ICONS} name */
export function icon(name) {
  return svg('svg', { class: 'icon', viewBox: '0 0 16 16', 'aria-hidden': 'true' }, svg('path', { d: ICONS[name] }));
}

/** A button that is none of a form's. @type {(props: Props, ...children: Children) => HTMLButtonElement} */
export const button = (props, ...children) => h('button', { type: 'button', ...props }, ...children);

/** Names and their values, of those that have one. @type {(...pairs: [name: string, value: Child, ...more: Child[]][]) => HTMLElement} */
export const facts = (...pairs) => h('dl', {}, pairs.map(([name, ...values]) =>
  values[0] && h('div', {}, h('dt', {}, name), values.map((value) => h('dd', {}, value)))));

/**
 * Instead of what is not there: why, and what to do next.
 *
 * @type {(name: keyof typeof ICONS, title: string, text: Children, next?: Choice[], kind?: string) => HTMLElement}
 */
export function state(name, title, text, next = [], kind = 'muted') {
  const buttons = next.map(({ text, act }, at) => button({ class: at === 0 && 'primary', onclick: act }, text));
  return h('div', { class: `state ${kind}` }, icon(name), h('h2', {}, title), h('p', {}, ...text), h('div', { class: 'actions' }, buttons));
}

/** Rows to come. */
export const loading = () =>
  h('div', { class: 'state-loading' }, h('p', { class: 'unseen' }, 'Loading …'), Array.from({ length: 8 }, () => h('div', { class: 'skeleton' })));

/** @param {unknown} error */
export const messageOf = (error) => (error instanceof Error ? error.message : String(error));

export const { format: count } = new Intl.NumberFormat('en');

/** @type {(then: () => void) => (event: Event) => void} */
export const submitted = (then) => (event) => {
  event.preventDefault();
  then();
};

/** For those who do not see it. @param {string} text */
export function announce(text) {
  const place = document.getElementById('announcements');
  if (place) place.textContent = text;
}

/** @type {(name: string, type: string, content: string) => void} */
export function save(name, type, content) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  h('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Says `done` once the text is on the clipboard. @type {(text: string, done: string) => Promise<void>} */
export async function copy(text, done) {
  // Without the right to do that, it is shown, to be copied by hand.
  const write = navigator.clipboard?.writeText(text) ?? Promise.reject(new Error('not a secure page'));
  const said = await write.then(() => done, () => text);
  announce(said);
  const toast = h('div', { class: 'toast', 'aria-hidden': 'true' }, said);
  document.body.append(toast);
  setTimeout(() => toast.remove(), TOAST_MS);
}

/** Opens a menu at an element. @type {(anchor: HTMLElement, name: string, items: Choice[]) => void} */
export function openMenu(anchor, name, items) {
  const buttons = items.map(({ text, act }) => {
    const choose = () => {
      menu.hidePopover();
      act();
    };
    return button({ role: 'menuitem', class: 'quiet', tabindex: -1, onclick: choose }, text);
  });
  /** @param {KeyboardEvent} event */
  const walk = (event) => {
    const at = buttons.findIndex((item) => item === document.activeElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: -1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    buttons.at(to % buttons.length)?.focus();
  };
  const menu = h('div', { class: 'menu', role: 'menu', popover: 'auto', 'aria-label': name, onkeydown: walk }, buttons);
  menu.addEventListener('toggle', () => {
    if (menu.matches(':popover-open')) return;
    menu.remove();
    anchor.focus();
  });
  (anchor.closest('main') ?? document.body).append(menu);
  menu.showPopover();
  place(menu, anchor);
  buttons[0]?.focus();
}

/** Below the anchor, or above it where there is no room. @type {(popover: HTMLElement, anchor: HTMLElement) => void} */
export function place(popover, anchor) {
  const { left, top, bottom } = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = popover;
  const y = bottom + height + 12 < innerHeight ? bottom + 4 : top - height - 4;
  popover.style.left = `${Math.max(8, Math.min(left, document.body.clientWidth - width - 8))}px`;
  popover.style.top = `${Math.max(8, y)}px`;
}

/**
 * Single keys, where nothing is being typed. `?` says what there is, and switches them off. Those without `act` are the browser's own.
 *
 * @type {(signal: AbortSignal, shortcuts: { key: string, text: string, act?: () => void }[]) => { open: () => void }}
 */
export function createShortcuts(signal, shortcuts) {
  let areOn = true;
  const all = [...shortcuts, { key: '?', text: 'Show this help', act: open }];
  try {
    areOn = localStorage.getItem(SHORTCUTS) !== 'off';
  } catch {
    // No storage: what is chosen holds for this page.
  }
  const switched = () => {
    areOn = box.checked;
    try {
      localStorage.setItem(SHORTCUTS, areOn ? 'on' : 'off');
    } catch {
      // As above.
    }
  };
  const box = h('input', { type: 'checkbox', checked: areOn, onchange: switched });
  const dialog = h('dialog', { class: 'help', 'aria-labelledby': 'help-title', onclose: () => dialog.remove() },
    h('h2', { id: 'help-title' }, 'Keyboard'),
    facts(...all.map(({ key, text }) => /** @type {[string, Child]} */ ([key, text]))),
    h('label', {}, box, ' Single keys do this'),
    h('div', { class: 'actions' }, button({ class: 'primary', onclick: () => dialog.close() }, 'Close')));

  function open() {
    document.body.append(dialog);
    dialog.showModal();
  }

  addEventListener('keydown', (event) => {
    const target = /** @type {Element} */ (event.target);
    const isTyping = target.closest?.('input:not([type=checkbox], [type=radio]), select, textarea');
    const isOver = document.querySelector('dialog[open], :popover-open');
    if (!areOn || isTyping || isOver || event.ctrlKey || event.metaKey || event.altKey) return;
    const shortcut = all.find(({ key }) => key === event.key);
    if (!shortcut?.act) return;
    event.preventDefault();
    shortcut.act();
  }, { signal });
  return { open };
}
