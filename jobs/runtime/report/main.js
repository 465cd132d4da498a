"use strict";
/* Builds the page, the menu, and the switch between light and dark. */
(function () {
  const order = ["overview", "funnel", "mix", "evidence", "lengths", "requests", "graph", "influence", "cost", "browser", "rejected", "origin"];
  const root = document.documentElement, main = document.getElementById("main"), nav = document.getElementById("nav");
  const button = document.getElementById("theme");
  const paint = function (dark) {
    root.dataset.theme = dark ? "dark" : "light";
    root.style.colorScheme = root.dataset.theme;
    button.textContent = dark ? "☀" : "☾";
    L.redrawAll();
  };
  const system = matchMedia("(prefers-color-scheme: dark)");
  paint(system.matches);
  system.addEventListener("change", () => paint(system.matches));
  button.addEventListener("click", () => paint(root.dataset.theme !== "dark"));
  main.replaceChildren();
  for (const name of order) {
    const section = L.sections[name];
    const element = L.h("section", { id: name, "aria-label": section.title });
    if (name !== "overview") element.append(L.h("h2", null, section.title));
    element.append(...section.build().flat(Infinity).filter(Boolean));
    main.append(element);
    nav.append(L.h("a", { href: `#${name}` }, section.menu));
  }
  main.append(L.h("footer", null, `${L.data.root}, training set version ${L.data.version}. Every figure is the answer to a question that jobs/ask.py answers too.`));
  const follow = function () {
    const [, what, text] = /^#(row|search)=(.+)$/.exec(location.hash) || [];
    if (what && L.find) L.find(decodeURIComponent(text), what === "row");
  };
  addEventListener("hashchange", follow);
  L.startCharts();
  follow();
})();
