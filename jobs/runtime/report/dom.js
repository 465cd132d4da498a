"use strict";
/* Elements and numbers. Every text goes in as text, never as markup. */
const L = { data: JSON.parse(document.getElementById("data").textContent) };

/** An element: properties by name, `class` and aria-* as attributes, on* as listeners, then children or texts. */
L.h = function (tag, properties, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
};

L.count = (n, one, many) => `${L.number(n)} ${n === 1 ? one : many || one + "s"}`;

L.number = function (value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return Math.abs(value) >= 1000
    ? value.toLocaleString("en", { maximumFractionDigits: 0 })
    : String(Number(value.toPrecision(3)));
};

L.percent = (share, digits = 0) => (share === null || share === undefined ? "–" : `${(100 * share).toFixed(digits)} %`);

/** Large numbers as people say them: 182,439 becomes 182 K. */
L.short = function (value) {
  for (const [size, name] of [[1e9, " G"], [1e6, " M"], [1e4, " K"]]) {
    if (value >= size) return (value / (name === " K" ? 1e3 : size)).toPrecision(3).replace(/\.0+$/, "") + name;
  }
  return L.number(value);
};

/** The answer to a question as records; empty when the root cannot answer it. */
L.answer = function (name) {
  const found = L.data.figures[name];
  if (!found) return [];
  return found.rows.map((row) => Object.fromEntries(found.columns.map((column, at) => [column, row[at]])));
};

L.sum = (records, column) => records.reduce((total, record) => total + (record[column] || 0), 0);
L.words = (name) => String(name).replaceAll("_", " ").replace(/:(?=\S)/g, ": ");
L.distinct = (values) => [...new Set(values)];

L.cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
L.title = (text) => text.charAt(0).toUpperCase() + text.slice(1);
L.MOST = 200; // lines of a table

/** The whole answers behind a section, as tables that open on demand. */
L.figures = function (...names) {
  const known = names.filter((name) => L.data.figures[name]);
  if (!known.length) return null;
  const inside = L.h("div");
  const fill = () => inside.hasChildNodes() || inside.append(...known.flatMap(L.table));
  return L.h("details", { class: "figures", ontoggle: fill },
    L.h("summary", null, `The figures: ${known.map(L.words).join(", ")}`), inside);
};

L.table = function (name) {
  const { question, notes, columns, rows } = L.data.figures[name];
  const numeric = columns.map((_, at) => rows.some((row) => typeof row[at] === "number"));
  const cells = (row) => row.map((cell, at) =>
    L.h("td", { class: numeric[at] ? "n" : null }, typeof cell === "object" && cell ? JSON.stringify(cell) : L.number(cell)));
  return [
    L.h("h4", null, L.words(name)), L.h("p", { class: "note" }, question, " ", notes),
    L.h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": L.words(name) },
      L.h("table", null,
        L.h("thead", null, L.h("tr", null, columns.map((column, at) =>
          L.h("th", { scope: "col", class: numeric[at] ? "n" : null }, L.words(column))))),
        L.h("tbody", null, rows.slice(0, L.MOST).map((row) => L.h("tr", null, cells(row)))))),
    rows.length > L.MOST ? L.h("p", { class: "note" }, `The first ${L.MOST} of ${L.number(rows.length)} lines.`) : "",
  ];
};

/** A row of buttons of which one is pressed; `choose` is called with its value. */
L.choice = function (label, values, choose, names = {}) {
  const buttons = values.map((value, at) => L.h("button", {
    type: "button", "aria-pressed": at === 0 ? "true" : "false",
    onclick: (event) => {
      buttons.forEach((one) => one.setAttribute("aria-pressed", String(one === event.currentTarget)));
      choose(value);
    },
  }, names[value] || L.words(value)));
  return L.h("div", { class: "choice", role: "group", "aria-label": label }, buttons);
};
