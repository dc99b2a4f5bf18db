// Copyright: (c) 2026, kubenode.proxy contributors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Elements of the page. Whatever comes from a node becomes text, never markup.
"use strict";

// A row takes as much of a phone as several of a larger screen.
const PAGE_ROWS = innerWidth > 640 ? 50 : 20;

/** An element; attributes that are functions are listeners, children are elements or text. */
function el(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") {
      element.addEventListener(name, value);
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value);
    }
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

const NUMBER = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

/** A count in full, or a dash for what is not known. */
function number(value) {
  return value === null || value === undefined ? "–" : NUMBER.format(value);
}

/** A figure of at most three digits. */
function short(value) {
  return value === null || value === undefined ? "–" : COMPACT.format(value);
}

/** A rate per second, with one digit after the point as long as that says something. */
function rate(value) {
  return value !== null && value !== undefined && value < 100 ? value.toFixed(1) : short(value);
}

/** Bytes per second in the unit that suits them. */
function byteRate(value) {
  if (value === null || value === undefined) {
    return "–";
  }
  const units = ["B/s", "kB/s", "MB/s", "GB/s"];
  const unit = Math.min(Math.floor(Math.log10(Math.max(value, 1)) / 3), units.length - 1);
  return value ? `${(value / 1000 ** unit).toPrecision(3)} ${units[unit]}` : "0 B/s";
}

function plural(count, what) {
  return `${number(count)} ${what}${count === 1 ? "" : "s"}`;
}

function status(name, text) {
  return el("span", { class: `status is-${name}` }, text || name);
}

function mono(text) {
  return el("span", { class: "mono" }, text);
}

function panel(title, ...children) {
  return el("section", { class: "panel" }, title ? el("h2", {}, title) : null, ...children);
}

function empty(text) {
  return el("p", { class: "empty" }, text);
}

function nodeLink(node) {
  return el("a", { href: `#/nodes/${node.place}` }, node.name);
}

function serviceLink(service, node) {
  const query = node ? `?node=${node.place}` : "";
  return el("a", { href: `#/services/${service.place}${query}` }, service.title);
}

/** A button for each choice; one of them is pressed. */
function choices(all, chosen, choose) {
  const buttons = new Map();
  for (const [value, text] of all) {
    const pressed = String(value === chosen);
    buttons.set(
      value,
      el("button", { type: "button", "aria-pressed": pressed, click: () => pick(value) }, text),
    );
  }
  function pick(value) {
    buttons.forEach((button, key) => button.setAttribute("aria-pressed", String(key === value)));
    choose(value);
  }
  return [...buttons.values()];
}

/** Back and forth through pages of something; nothing where there is only one page. */
function pager(page, pages, what, turn) {
  if (pages < 2) {
    return null;
  }
  const to = (next, label, text) =>
    el("button", { type: "button", disabled: next < 0 || next >= pages ? "" : null, "aria-label": label, click: () => turn(next) }, text);
  return el(
    "div",
    { class: "pager" },
    to(page - 1, `Previous page of ${what}`, "‹"),
    `${what} ${number(page + 1)} of ${number(pages)}`,
    to(page + 1, `Next page of ${what}`, "›"),
  );
}

/**
 * A table that is sorted by its titles, searched, filtered, and shown a page at a time.
 *
 * columns: title, show(row), and value(row) to sort by; number: right-aligned. text(row) is what is searched, in lower
 * case, where there is a placeholder. filters: pairs of a text and a predicate. chosen: the number of the filter to begin
 * with. sort: the number of the column to sort by.
 */
function dataTable({ columns, rows, text, filters = [], chosen = 0, placeholder = "", nothing, sort = null }) {
  const state = { page: 0, query: "", filter: chosen, sort };
  const body = el("tbody");
  const count = el("span", { class: "count", role: "status" });
  const foot = el("div");
  const heads = columns.map((column) =>
    el(
      "th",
      { scope: "col", class: column.number ? "number" : null },
      column.value ? el("button", { type: "button", click: () => sortBy(column) }, column.title) : column.title,
    ),
  );

  function sortBy(column) {
    const turned = state.sort && state.sort.column === column;
    const down = turned ? !state.sort.down : Boolean(column.number);
    update({ sort: { column, down }, page: 0 });
  }

  function wanted() {
    const words = state.query.toLowerCase().split(/\s+/).filter(Boolean);
    const passes = filters.length ? filters[state.filter][1] : () => true;
    const found = rows.filter((row) => passes(row) && (!words.length || words.every((word) => text(row).includes(word))));
    return state.sort ? sorted(found, state.sort.column.value, state.sort.down) : found;
  }

  function cell(column, row) {
    const attributes = { class: column.number ? "number" : column.wide ? "wide" : null, "data-title": column.title };
    return el("td", attributes, column.show(row));
  }

  function update(changes) {
    Object.assign(state, changes);
    const found = wanted();
    const pages = Math.ceil(found.length / PAGE_ROWS);
    const shown = found.slice(state.page * PAGE_ROWS, (state.page + 1) * PAGE_ROWS);
    const none = el("tr", {}, el("td", { colspan: columns.length }, empty(rows.length ? "Nothing matches." : nothing)));
    body.replaceChildren(...(shown.length ? shown.map((row) => el("tr", {}, columns.map((one) => cell(one, row)))) : [none]));
    count.textContent = found.length === rows.length ? number(rows.length) : `${number(found.length)} of ${number(rows.length)}`;
    foot.replaceChildren(...[pager(state.page, pages, "Page", (page) => update({ page }))].filter(Boolean));
    heads.forEach((head, at) => {
      const own = state.sort && state.sort.column === columns[at];
      head.setAttribute("aria-sort", own ? (state.sort.down ? "descending" : "ascending") : "none");
    });
  }

  const search = el("input", {
    type: "search",
    placeholder,
    "aria-label": placeholder,
    input: (event) => update({ query: event.target.value, page: 0 }),
  });
  const buttons = choices(filters.map(([title], at) => [at, title]), chosen, (filter) => update({ filter, page: 0 }));
  const tools = placeholder && rows.length > 5 ? el("div", { class: "tools" }, search, buttons, count) : null;
  if (Number.isInteger(sort)) {
    state.sort = { column: columns[sort], down: Boolean(columns[sort].number) };
  }
  update({});
  return el("div", {}, tools, el("div", { class: "scroll" }, el("table", { class: "rows" }, el("thead", {}, el("tr", {}, heads)), body)), foot);
}

/** Rows by a value, the unknown ones last. */
function sorted(rows, value, down) {
  const known = (one) => one !== null && one !== undefined;
  return [...rows].sort((first, second) => {
    const [a, b] = [value(first), value(second)];
    if (!known(a) || !known(b)) {
      return Number(known(b)) - Number(known(a));
    }
    const order = typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
    return down ? -order : order;
  });
}
