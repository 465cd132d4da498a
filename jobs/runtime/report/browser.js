"use strict";
/* The rows themselves: search, filters, order, and a row with all that it was made from. */
L.PAGE = 20;

L.ORDERS = {
  "in order": () => 0,
  "best score first": (a, b) => (b.score ?? -Infinity) - (a.score ?? -Infinity),
  "worst score first": (a, b) => (a.score ?? Infinity) - (b.score ?? Infinity),
  "least grounded first": (a, b) => (a.grounded_share ?? -1) - (b.grounded_share ?? -1),
  "longest first": (a, b) => (b.lengths?.context ?? 0) - (a.lengths?.context ?? 0),
};

L.sections.browser = {
  title: "Rows", menu: "Rows",
  build() {
    const rows = L.data.rows;
    if (!rows.length) return [L.h("p", { class: "note" }, L.data.missing.rows || "No sample was written yet.")];
    const scored = rows.some((row) => row.score !== undefined && row.score !== null);
    const texts = new Map(rows.map((row) => [row, [row.id, row.instruction, row.response, row.document_type, row.reason,
      ...(row.walk || []).map((step) => step[1]), ...(row.documents || []).flatMap((one) => [one.source, ...one.pieces.map((piece) => piece[1])])]
      .filter((one) => typeof one === "string").join("\n").toLowerCase()]));
    const chosen = { text: "", type: "", setting: "", status: "", order: "in order", shown: L.PAGE };
    const list = L.h("div", { class: "rows" }), told = L.h("p", { class: "note", role: "status", "aria-live": "polite" });
    const more = L.h("button", { type: "button", onclick: () => { chosen.shown += L.PAGE; draw(); } }, "Show more rows");
    const status = (row) => (row.status === "rejected" || row.status === "accepted" ? `${row.status}: ${L.words(row.reason || "")}` : row.status);
    const draw = function () {
      const wanted = chosen.text.toLowerCase().split(/\s+/).filter(Boolean);
      const found = rows.filter((row) => (!chosen.type || row.document_type === chosen.type) && (!chosen.setting || row.setting === chosen.setting)
        && (!chosen.status || status(row) === chosen.status) && wanted.every((word) => texts.get(row).includes(word)));
      found.sort(L.ORDERS[chosen.order]);
      told.textContent = `${L.count(found.length, "row")} of ${L.number(rows.length)} shown here${L.data.summary.browsed}.`;
      list.replaceChildren(...found.slice(0, chosen.shown).map((row) => L.row(row, status(row))));
      more.hidden = found.length <= chosen.shown;
    };
    const set = (name) => (event) => { chosen[name] = event.target.value; chosen.shown = L.PAGE; draw(); };
    const select = (label, name, values, first) => L.h("label", null, label, L.h("select", { onchange: set(name) },
      first ? L.h("option", { value: "" }, first) : null, values.map((value) => L.h("option", { value }, L.words(value)))));
    let typing = 0;
    const search = L.h("input", { type: "search", id: "search", placeholder: "words of request, answer, document, or an id", autocomplete: "off",
      oninput: (event) => { clearTimeout(typing); typing = setTimeout(() => set("text")(event), 120); } });
    L.find = function (text, open) {
      Object.assign(chosen, { text, type: "", setting: "", status: "", shown: L.PAGE });
      search.value = text;
      filters.querySelectorAll("select").forEach((one) => { if (!Object.hasOwn(L.ORDERS, one.value)) one.value = ""; });
      draw();
      document.getElementById("browser").scrollIntoView();
      if (!open || !list.firstElementChild) return;
      list.firstElementChild.open = true;
      list.firstElementChild.querySelector("summary").focus({ preventScroll: true });
    };
    const filters = L.h("div", { class: "filters", role: "search" },
      L.h("label", null, "Search", search),
      select("Type", "type", L.distinct(rows.map((row) => row.document_type)).sort(), "all types"),
      select("Setting", "setting", L.distinct(rows.map((row) => row.setting)), "all settings"),
      select("Status and reason", "status", L.distinct(rows.map(status)).sort(), "all"),
      select("Order", "order", Object.keys(L.ORDERS).filter((name) => scored || !name.includes("score"))));
    draw();
    return [
      L.h("p", null, "Open a row to see its document with the evidence marked, the walk it was planned with, the request it took as example, and the conversation that one came from."),
      filters, told, list, L.h("p", null, more),
    ];
  },
};

L.row = function (row, status) {
  const inside = L.h("div", { class: "inside" });
  const facts = [row.setting, row.document_type, row.lengths ? `${L.number(row.lengths.context)} tokens of context` : null,
    row.grounded_share !== undefined ? `${L.percent(row.grounded_share)} grounded` : null, `${L.count(row.spans, "evidence span")}`,
    row.score !== undefined ? `score ${L.number(row.score)}` : null];
  return L.h("details", { class: "row", ontoggle: (event) => { if (event.target.open && !inside.hasChildNodes()) inside.append(...L.inside(row).filter(Boolean)); } },
    L.h("summary", null,
      L.h("span", { class: "asked" }, row.instruction || row.draft || "(no instruction)"),
      L.h("span", { class: "meta" }, L.h("span", { class: `tag ${row.status}` }, status), facts.filter(Boolean).map((fact) => L.h("span", null, fact)))),
    inside);
};

L.inside = function (row) {
  const text = (title, value) => (value ? [L.h("h4", null, title), L.h("p", { class: "prose" }, value)] : []);
  const seed = row.seed_path && [
    L.h("h4", null, "The request taken as example"),
    L.h("p", { class: "prose" }, row.seed_instruction || "(none)"),
    L.h("p", { class: "note" }, "Its values; those framed are on the walk too:"), L.chips(row.seed_nodes || [], row.walk, false),
  ];
  const conversation = row.conversation && L.h("details", { class: "figures" },
    L.h("summary", null, "The conversation it came from"),
    L.h("p", { class: "note" }, `${row.path}, record ${row.line}`),
    L.h("div", { class: "document", tabindex: "0" }, row.user_text || "",
      row.user_length > (row.user_text || "").length ? L.h("span", { class: "gap" }, `\n… ${L.number(row.user_length - row.user_text.length)} characters left out`) : null),
    L.h("h4", null, "Reply"), L.h("div", { class: "document", tabindex: "0" }, row.assistant_text || ""));
  const generator = row.generator || {};
  const told = { id: row.id, status: row.reason ? `${row.status}, ${row.reason}` : row.status, "why selected": row.selected_because, position: row.position,
    rank: row.rank, score: row.score, HMP: row.hmp, CAS: row.cas, answerable: L.answerable(row),
    draw: row.draw === 2 ? "the second: the first answer failed its gates" : null, language: row.language,
    teacher: generator.teacher && `${generator.teacher}, ${generator.model}`, prompt: generator.prompt_sha, call: row.call_id, walk: row.walk_id };
  return [
    ...text("Request", row.instruction), ...text("Answer", row.response),
    ...(row.documents || []).flatMap((document, at) => L.document(document, at, row.documents.length)),
    row.walk && row.walk.length ? L.h("h4", null, row.novel ? "The walk (no conversation holds it whole)" : "The walk (one conversation holds it whole)") : null,
    row.walk && row.walk.length ? L.chips(row.walk, row.seed_nodes) : null,
    ...(seed || []), conversation, ...text("Draft before it met its document", row.draft), L.prompt(row),
    L.h("h4", null, "Facts"),
    L.h("dl", { class: "facts" }, Object.entries(told).filter(([, value]) => value !== undefined && value !== null && value !== "")
      .map(([name, value]) => [L.h("dt", null, name), L.h("dd", null, typeof value === "number" ? L.number(value) : String(value))])),
    L.h("p", { class: "note" }, "The whole chain, down to the file: ", L.h("code", null, `jobs/explain.py ${row.id.slice(0, 16)} --root ${L.data.root}`)),
  ];
};

/** What the answerability call said of the request, where one was made. */
L.answerable = function (row) {
  if (row.answerable_with === undefined) return null;
  const told = (value) => (value ? "yes" : "no");
  return `with its documents: ${told(row.answerable_with)}; without them: ${told(row.answerable_without)}. ${row.answerable_why || ""}`;
};

L.document = function (document, at, of) {
  const pieces = document.pieces.map(([kind, value]) => (kind === "evidence" ? L.h("mark", null, value)
    : kind === "left_out" ? L.h("span", { class: "gap" }, ` … ${L.number(value)} characters left out … `) : value));
  const box = L.h("div", { class: "document", tabindex: "0", role: "region", "aria-label": `Document ${at + 1}` }, pieces);
  const marks = pieces.filter((piece) => piece.tagName === "MARK");
  let here = -1;
  const step = function (by) {
    marks.forEach((mark) => mark.classList.remove("here"));
    here = (here + by + marks.length) % marks.length;
    marks[here].classList.add("here");
    box.scrollTop = marks[here].offsetTop - box.offsetTop - 60;
    said.textContent = ` ${here + 1} of ${marks.length}`;
  };
  requestAnimationFrame(() => { if (marks.length) box.scrollTop = marks[0].offsetTop - box.offsetTop - 60; });
  const said = L.h("span", { class: "note", role: "status" }, ` ${L.count(marks.length, "span")}`);
  const facts = [document.source, document.licence, document.n_tokens ? `${L.number(document.n_tokens)} tokens` : null, document.doc_id.slice(0, 16)];
  return [
    L.h("h4", null, of > 1 ? `Document ${at + 1} of ${of}` : "Document"),
    L.h("p", { class: "note" }, facts.filter(Boolean).join(" · ")),
    marks.length ? L.h("p", { class: "choice" }, L.h("button", { type: "button", onclick: () => step(-1) }, "← evidence"),
      L.h("button", { type: "button", onclick: () => step(1) }, "evidence →"), said) : null,
    document.pieces.length ? box : L.h("p", { class: "note" }, "(its text is not part of a row that was rejected)"),
  ];
};

L.prompt = function (row) {
  const sha = (row.generator || {}).prompt_sha;
  if (!row.generator || !L.data.prompts[row.setting]) return null;
  if (sha !== L.data.prompt_sha) return L.h("p", { class: "note" }, `The prompt that made this row (${String(sha).slice(0, 12)}) is no longer this program's.`);
  const filled = L.data.prompts[row.setting].replace("(draft instruction)", () => row.draft || "").replace("(document type)", () => row.document_type)
    .replace('"(walk)"', () => (row.walk || []).map(([field, value]) => JSON.stringify({ field, value })).join("\n"));
  return L.h("details", { class: "figures" }, L.h("summary", null, "The prompt it was answered with"), L.h("pre", { class: "document", tabindex: "0" }, filled));
};
