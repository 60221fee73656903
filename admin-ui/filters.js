// The bar of filters: one text, and the same as chips.

import { button, fill, h, icon, place, submitted } from './dom.js';
import { ACTIONS, FIELDS, SYSTEMS, about, equal, format, has, parse, plus, without } from './query.js';
import { before, instant, localZone, shown, zones } from './time.js';

const PAUSE_MS = 700;

/** @type {[label: string, text: string][]} */
const PRESETS = [
  ['Failures', '-success'],
  ['Deletes', 'action:DELETE'],
  ['Hard deletes', 'action:PURGE'],
  ['Signed URLs', 'action:SIGNED_URL_GENERATED action:VIEW action:DOWNLOAD'],
  ['Outside office hours', 'hours:18:00-07:00'],
];

/** @type {[label: string, from: string][]} */
const RANGES = [
  ['15 min', '-15m'], ['1 h', '-1h'], ['24 h', '-24h'], ['7 days', '-7d'], ['30 days', '-30d'], ['90 days', '-90d'], ['1 year', '-365d'], ['All', ''],
];

/** @param {{ onChange: (query: Query) => void, onZone: (zone: string) => void }} on */
export function createFilters({ onChange, onZone }) {
  let query = parse('').query;
  let applied = query;
  let zone = '';
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let pause;

  const popup = createPopup();
  const text = input('', 'search', {
    class: 'mono', 'aria-label': 'Filter', 'aria-describedby': 'filter-problems', placeholder: 'user:1 action:DELETE -success …',
    oninput: () => {
      clearTimeout(pause);
      pause = setTimeout(read, PAUSE_MS);
    },
  });
  const trouble = h('ul', { id: 'filter-problems', class: 'filter-problems', 'aria-live': 'polite' });
  const ranges = () => popup.opener('Time range', () => rangeForm(query, zone, apply));
  const range = ranges();
  range.className = 'filter-range';
  const local = localZone();
  const zonePicker = h('select', { 'aria-label': 'Time zone', class: 'filter-zone', onchange: () => onZone(zonePicker.value) },
    options([...new Set(['UTC', local, ...zones()])], (name) => spaced(name) + (name === local ? ' (local)' : '')));
  const chips = h('ul', { class: 'chips', 'aria-label': 'Filters in use' });
  const more = fill(popup.opener('Add a filter', () => termForm(query, apply)), icon('plus'), 'Filter');
  more.className = 'quiet filter-add';
  const presets = PRESETS.map(([label, title]) => {
    const { terms, hours } = parse(title).query;
    const isOn = () => terms.every((term) => has(query, term)) && (!hours || query.hours === hours);
    const toggle = () => {
      const on = isOn();
      write({ ...terms.reduce(on ? without : plus, query), hours: on && hours ? '' : hours || query.hours });
    };
    return { isOn, self: button({ class: 'quiet', title, onclick: toggle }, label) };
  });
  const element = h('section', { class: 'filters', 'aria-label': 'Filters' },
    h('div', { class: 'bar' }, h('form', { role: 'search', class: 'filter-text', onsubmit: submitted(read) }, icon('search'), text), range, zonePicker),
    trouble,
    h('div', { class: 'bar' }, chips, more, h('div', { class: 'presets', role: 'group', 'aria-label': 'Presets' }, presets.map(({ self }) => self))),
    popup.element);

  function read() {
    clearTimeout(pause);
    const { problems, ...found } = parse(text.value, zone);
    query = found.query;
    draw(problems);
    if (problems.length > 0 || equal(query, applied)) return;
    applied = query;
    onChange(query);
  }

  /** @param {Query} next */
  function write(next) {
    text.value = format(next);
    read();
  }

  /** @param {Query} next */
  function apply(next) {
    const { problems } = parse(format(next), zone);
    fill(popup.trouble, h('ul', { class: 'filter-problems' }, lines(problems)));
    if (problems.length > 0) return;
    popup.element.hidePopover();
    write(next);
  }

  /** @param {Problem[]} problems */
  function draw(problems) {
    text.setAttribute('aria-invalid', String(problems.length > 0));
    fill(trouble, lines(problems));
    fill(range, icon('clock'), rangeWords(query), icon('down'));
    for (const { self, isOn } of presets) self.setAttribute('aria-pressed', String(isOn()));
    const stops = () => [...chips.querySelectorAll('button')];
    const focused = stops().findIndex((stop) => stop === document.activeElement);
    const { from, to, terms, hours, order } = query;
    fill(chips,
      from && chip('From', moment(from), { ...query, from: '' }, ranges()),
      to && chip('Before', moment(to), { ...query, to: '' }, ranges()),
      terms.map((term, index) => {
        const { field, value, not } = term;
        const or = field === 'action' && !not && terms[index - 1]?.field === 'action' ? 'or ' : '';
        const edit = popup.opener('Change the filter', () => termForm(query, apply, term));
        return chip(`${or}${about(field).label} ${not ? 'is not' : 'is'}`, said(field, value), without(query, term), edit);
      }),
      hours && chip('Hours', hours.replace('-', ' to '), { ...query, hours: '' }, ranges()),
      order === 'asc' && chip('Order', 'oldest first', { ...query, order: 'desc' }, h('span')));
    // Whoever works through the chips by keyboard stays among them.
    if (focused >= 0) (stops()[focused] ?? stops().at(-1) ?? more).focus();
  }

  /** @type {(name: string, value: string, removed: Query, words: HTMLElement) => HTMLElement} */
  function chip(name, value, removed, words) {
    words.className = 'chip-words';
    words.title = `${name} ${value}`;
    fill(words, h('span', {}, `${name} `, h('bdi', {}, value)));
    const remove = () => write(removed);
    const onkeydown = (/** @type {KeyboardEvent} */ { key }) => {
      if (key === 'Delete' || key === 'Backspace') remove();
    };
    return h('li', { class: 'chip', onkeydown }, words,
      button({ class: 'chip-remove', 'aria-label': `Remove: ${words.title}`, onclick: remove }, icon('cross')));
  }

  return {
    element,
    /** @param {{ query: Query, zone: string, misread?: string }} to */
    update(to) {
      const isNew = Boolean(to.misread) || !equal(to.query, applied);
      if (!isNew && to.zone === zone) return;
      zone = to.zone;
      zonePicker.value = zone;
      // A zone may have several names, of which the browser lists one.
      if (zonePicker.value !== zone) zonePicker.append(h('option', { selected: true }, zone));
      applied = to.query;
      if (isNew) text.value = to.misread || format(applied);
      read();
    },
    focus() {
      text.focus();
      text.select();
    },
  };
}

function createPopup() {
  /** @type {HTMLElement | undefined} */
  let anchor;
  let wasOpen = false;
  const trouble = h('div', { role: 'alert' });
  const element = h('div', {
    popover: 'auto', role: 'dialog', class: 'filter-popup',
    onbeforetoggle: (/** @type {ToggleEvent} */ { newState }) => {
      if (newState === 'open') return;
      anchor?.setAttribute('aria-expanded', 'false');
      anchor = undefined;
    },
    // What is focused must not lie below it.
    onfocusout: (/** @type {FocusEvent} */ { relatedTarget }) => {
      if (relatedTarget && !element.contains(/** @type {Node} */ (relatedTarget))) element.hidePopover();
    },
  });
  addEventListener('resize', () => anchor && place(element, anchor));

  /** @type {(title: string, form: () => HTMLElement) => HTMLElement} */
  function opener(title, form) {
    const self = button({
      'aria-haspopup': 'dialog', 'aria-expanded': 'false',
      // What is open closes before the click: it is not to open again.
      onpointerdown: () => { wasOpen = anchor === self; },
      onclick: () => {
        if (wasOpen) return (wasOpen = false);
        element.hidePopover();
        fill(element, form(), fill(trouble));
        element.setAttribute('aria-label', title);
        self.setAttribute('aria-expanded', 'true');
        element.showPopover();
        anchor = self;
        place(element, self);
        /** @type {HTMLElement | null} */ (element.querySelector('[data-first]') ?? element.querySelector('input, select'))?.focus();
      },
    });
    return self;
  }

  return { element, trouble, opener };
}

/** @type {(query: Query, apply: (query: Query) => void, term?: Term) => HTMLElement} */
function termForm(query, apply, term) {
  const field = h('select', {}, options(FIELDS.map(({ name }) => name), (name) => about(name).label, term?.field));
  const not = h('select', {}, options(['is', 'is not'], undefined, term?.not ? 'is not' : 'is'));
  const type = input(query.terms.find((other) => other.field === 'type' && !other.not)?.value ?? '');
  const [chosen, condition, typed] = [labelled('Field', field), labelled('Condition', not), labelled('Type', type)];
  const valued = h('label');
  const name = () => /** @type {FieldName} */ (field.value);
  let value = valueControl(name(), term?.value ?? '');
  if (term) value.dataset['first'] = '';
  chosen.hidden = term !== undefined;
  // An object's id means nothing without its type.
  const needsType = () => !term && name() === 'object' && not.value === 'is';

  function draw() {
    // Whatever did not succeed has failed.
    condition.hidden = name() === 'outcome';
    typed.hidden = !needsType();
    fill(valued, h('span', {}, needsType() ? 'ID' : 'Value'), value);
  }
  field.onchange = () => {
    value = valueControl(name(), '');
    draw();
  };
  not.onchange = draw;
  draw();

  function made() {
    let next = term ? { ...query, terms: query.terms.filter((other) => other !== term) } : query;
    if (needsType()) next = plus(next, { field: 'type', value: type.value.trim(), not: false });
    return plus(next, { field: name(), value: value.value.trim(), not: !condition.hidden && not.value !== 'is' });
  }
  return h('form', { novalidate: true, onsubmit: submitted(() => apply(made())) },
    h('div', { class: 'actions' }, chosen, condition, typed, valued),
    h('div', { class: 'actions' },
      term && button({ onclick: () => apply(without(query, term)) }, 'Remove'),
      h('button', { class: 'primary' }, term ? 'Apply' : 'Add')));
}

/** @type {(field: FieldName, value: string) => HTMLInputElement | HTMLSelectElement} */
function valueControl(field, value) {
  const choices = { action: ACTIONS, system: SYSTEMS, outcome: ['false', 'true'] }[String(field)];
  return choices ? h('select', {}, options(choices, (choice) => said(field, choice), value)) : input(value);
}

/** @type {(query: Query, zone: string, apply: (query: Query) => void) => HTMLElement} */
function rangeForm(query, zone, apply) {
  const [from, to] = [bound(query.from, zone), bound(query.to, zone)];
  const [start = '', end = ''] = query.hours.split('-');
  const [first, last] = [input(start, 'time'), input(end, 'time')];
  const ranges = RANGES.map(([label, text]) => {
    const on = query.from === text && query.to === '';
    return button({ 'aria-pressed': String(on), 'data-first': on, onclick: () => apply({ ...query, from: text, to: '' }) }, label);
  });
  const made = () => ({ ...query, from: from.text(), to: to.text(), hours: first.value || last.value ? `${first.value}-${last.value}` : '' });
  return h('form', { novalidate: true, onsubmit: submitted(() => apply(made())) },
    h('fieldset', {}, h('legend', {}, 'Last'), h('div', { class: 'actions' }, ranges)),
    h('fieldset', {}, h('legend', {}, `Exactly, in ${spaced(zone)}`),
      h('div', { class: 'actions' }, labelled('From', from.control), labelled('Before', to.control))),
    h('fieldset', {}, h('legend', {}, 'Hours of every day'),
      h('div', { class: 'actions' }, labelled('Start', first), labelled('End', last))),
    h('div', { class: 'actions' }, h('button', { class: 'primary' }, 'Apply')));
}

/** What was written stays so unless it is changed. @param {string} text @param {string} zone */
function bound(text, zone) {
  const at = before(text) === null ? instant(text, zone, 0) : null;
  const control = input(at === null ? '' : shown(at, zone).replace(' ', 'T').replace(/:00$/, ''), 'datetime-local');
  const given = control.value;
  return { control, text: () => (control.value === given ? text : control.value) };
}

/** @type {(value: string, type?: string, props?: Props) => HTMLInputElement} */
const input = (value, type = 'text', props) => h('input', { type, autocomplete: 'off', spellcheck: 'false', autocapitalize: 'none', value, ...props });

/** @type {<T extends string>(values: T[], name?: (value: T) => string, chosen?: string) => HTMLElement[]} */
const options = (values, name = String, chosen = '') => values.map((value) => h('option', { value, selected: value === chosen }, name(value)));

/** @type {(text: string, control: HTMLElement) => HTMLElement} */
const labelled = (text, control) => h('label', {}, h('span', {}, text), control);

/** @param {Problem[]} problems */
const lines = (problems) => problems.map(({ message }) => h('li', {}, icon('warning'), h('span', {}, message)));

/** @type {(field: FieldName, value: string) => string} */
const said = (field, value) => (field !== 'outcome' ? value : value === 'true' ? 'succeeded' : 'failed');

/** @param {string} zone */
const spaced = (zone) => zone.replaceAll('_', ' ');

/** `-7d` as `7 days`. @param {string} text */
const span = (text) => text.slice(1, -1) + { m: ' minute', h: ' hour', d: ' day' }[text.slice(-1)] + (text.slice(1, -1) === '1' ? '' : 's');

/** @param {string} text */
const moment = (text) => (before(text) === null ? text.replace(/(\d)T(?=\d)/, '$1 ') : `${span(text)} ago`);

/** @param {Query} query */
function rangeWords({ from, to }) {
  if (from && to) return `${moment(from)} – ${moment(to)}`;
  if (to) return `Before ${moment(to)}`;
  if (!from) return 'All time';
  return before(from) === null ? `Since ${moment(from)}` : `Last ${span(from)}`;
}
