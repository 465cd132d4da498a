"use strict";
/* The sections before the rows: each says in a sentence what its figures answer. */
L.card = function (title, sentence, ...content) {
  const boxes = content.flat().map((one) => (one && one.box ? one.box : one));
  return L.h("div", { class: "card" }, L.h("h3", null, title), sentence ? L.h("p", { class: "note" }, sentence) : null, boxes);
};
L.wide = (chart) => L.h("div", { class: "wide" }, chart.box);
L.absent = (name) => L.h("p", { class: "note" }, L.data.missing[name] || "Nothing to show yet.");
L.settings = (records) => L.distinct(records.map((record) => record.setting)).sort().reverse();

L.sections = {};

L.sections.overview = {
  title: "What it is", menu: "Overview",
  build() {
    const about = L.data.summary;
    return [
      L.h("h1", null, about.title),
      L.h("p", { class: "lead" }, about.paragraph),
      about.warnings.map((warning) => L.h("p", { class: "banner", role: "note" }, warning)),
      L.h("div", { class: "tiles" }, about.numbers.map((one) =>
        L.h("div", { class: "tile" }, L.h("b", null, one.value), L.h("span", null, one.label)))),
      L.figures("overview"),
    ];
  },
};

L.LANES = [
  ["Conversations, read for what people ask", ["conversations", "long_conversations", "meta_records", "conversation_types"], "typed"],
  ["Documents, read for what is answered from", ["documents", "long_documents", "typed_documents"], "typed"],
  ["Rows", ["imports", "walks", "instructions", "pairings", "samples", "training_set"], "in the training set"],
];

/** One lane of the funnel: what is kept flows on, what is not leaves under its reason. */
L.lane = function (steps, end) {
  const records = L.answer("funnel").filter((record) => steps.includes(record.stage));
  const present = steps.filter((step) => records.some((record) => record.stage === step));
  const total = (step) => L.sum(records.filter((record) => record.stage === step), "n_rows");
  const nodes = [], links = [];
  present.forEach((step, at) => {
    const kept = L.sum(records.filter((one) => one.stage === step && one.outcome === "kept"), "n_rows");
    const count = kept === total(step) ? L.number(kept) : `${L.number(kept)} of ${L.number(total(step))}`;
    nodes.push({ name: step, told: `${L.words(step)}\n${count}`, kind: "step", depth: at });
    for (const record of records.filter((one) => one.stage === step)) {
      const last = at === present.length - 1;
      if (record.outcome === "kept" && !last) {
        links.push({ source: step, target: present[at + 1], value: Math.min(record.n_rows, total(present[at + 1])), rows: record.n_rows });
      } else {
        const kept = record.outcome === "kept";
        const name = kept ? `${step}: kept` : `${step}: ${record.reason}`;
        const what = kept ? end : record.outcome === "waits" ? `waits: ${record.reason}` : L.words(record.reason);
        nodes.push({ name, told: `${what} ${L.number(record.n_rows)}`, kind: record.outcome, depth: at + 1 });
        links.push({ source: step, target: name, value: record.n_rows, rows: record.n_rows });
      }
    }
  });
  return { nodes, links };
};

/** The losses of a lane in words. */
L.lost = function (steps) {
  const left = L.answer("funnel").filter((record) => steps.includes(record.stage) && record.outcome !== "kept");
  if (!left.length) return "Nothing was turned away.";
  return L.distinct(left.map((record) => record.stage)).map((step) => `${L.title(L.words(step))}: `
    + left.filter((record) => record.stage === step).map((record) => `${L.number(record.n_rows)} ${record.outcome === "waits" ? "wait, " : ""}${L.words(record.reason)}`).join(", ")).join(". ") + ".";
};

L.sections.funnel = {
  title: "Why so many rows", menu: "Funnel",
  build() {
    if (!L.answer("funnel").length) return [L.absent("funnel")];
    const cards = L.LANES.map(([title, steps, end]) => {
      const lane = L.lane(steps, end);
      if (!lane.links.length) return null;
      const lost = lane.nodes.filter((node) => node.kind === "rejected").length;
      const chart = L.chart(`Funnel: ${title}`, Math.max(170, 92 + 36 * lost), (theme) => ({
        tooltip: { formatter: (item) => (item.dataType === "edge" ? `${L.number(item.data.rows)} rows` : item.data.told) },
        series: [{
          type: "sankey", left: 4, right: theme.narrow ? 120 : 150, top: 22, bottom: 22, nodeWidth: 12, nodeGap: 15, draggable: false,
          layoutIterations: 32, nodeAlign: "left", emphasis: { focus: "adjacency" },
          data: lane.nodes.map((node) => ({ ...node,
            itemStyle: { color: { step: theme.accent, kept: theme.good, rejected: theme.bad, waits: theme.muted }[node.kind], borderWidth: 0 },
            label: { color: theme.ink, fontSize: 12, lineHeight: 15, width: 145, overflow: "break", formatter: node.told } })),
          links: lane.links, lineStyle: { color: "source", opacity: 0.22, curveness: 0.5 },
        }],
      }));
      return L.card(title, L.lost(steps), L.wide(chart));
    });
    return [L.h("p", null, "Blue is what reached a table and how much of it was kept, orange what left there and why. Each band has a scale of its own; between two steps it is drawn as wide as what the next one took."),
      cards, L.figures("funnel")];
  },
};

L.sunburst = function (side, theme) {
  const records = L.answer("types_by_tasks").filter((record) => record.side === side);
  return L.distinct(records.map((record) => record.document_type)).map((type, at) => {
    const own = records.filter((record) => record.document_type === type);
    const colour = theme.palette[at % theme.palette.length];
    const children = own.slice(0, 8).map((record) => ({ name: record.task === "(none)" ? "no task" : record.task, value: record.n_rows }));
    const rest = L.sum(own.slice(8), "n_rows");
    if (rest) children.push({ name: `${own.length - 8} other tasks`, value: rest });
    return { name: type, value: L.sum(own, "n_rows"), itemStyle: { color: colour },
      children: children.map((child, place) => ({ ...child, itemStyle: { color: colour, opacity: Math.max(0.35, 0.8 - 0.07 * place) } })) };
  });
};

L.sections.mix = {
  title: "Is the mix right", menu: "Mix",
  build() {
    const mix = L.answer("type_mix"), distances = L.answer("type_distance");
    if (!mix.length) return [L.absent("type_mix")];
    const said = distances.filter((one) => one.selected_distance !== null)
      .map((one) => `${L.number(one.selected_distance)} for ${one.setting}`).join(", ");
    let side = "training set", setting = L.settings(mix)[0];
    const burst = L.chart("Sunburst: document types inside, their tasks outside", L.theme().narrow ? 350 : 460, (theme) => ({
      tooltip: { formatter: (item) => `${item.treePathInfo.slice(1).map((one) => one.name).join(" › ")}\n${L.number(item.value)}` },
      series: [{
        type: "sunburst", data: L.sunburst(side, theme), radius: ["13%", "98%"], sort: null, nodeClick: "rootToNode",
        itemStyle: { borderColor: theme.card, borderWidth: 1.5 }, emphasis: { focus: "ancestor" },
        levels: [{}, { r0: "13%", r: "50%", label: { rotate: "radial", fontSize: 11, width: theme.narrow ? 56 : 76, overflow: "break", lineHeight: 12, minAngle: theme.narrow ? 30 : 24 } },
          { r0: "51%", r: "98%", label: { fontSize: 10, width: theme.narrow ? 64 : 96, overflow: "truncate", minAngle: 7 } }],
        label: { color: "#fff", textBorderColor: "rgba(0,0,0,.55)", textBorderWidth: 2 },
      }],
    }));
    const shares = L.chart("Shares of document types: conversations against the training set", 460, (theme) => {
      const own = mix.filter((one) => one.setting === setting);
      const all = L.sum(own, "documents");
      return L.bars(own.map((one) => one.document_type), {
        conversations: own.map((one) => one.conversation_share), "training set": own.map((one) => one.selected_share),
        "documents at hand": own.map((one) => (all ? one.documents / all : null)),
      }, { horizontal: true, percent: true, colours: { conversations: "muted", "training set": "accent", "documents at hand": "soft" } })(theme);
    });
    return [
      L.h("p", null, said ? `Jensen–Shannon distance of the training set's types from the conversations': ${said} (0 is the same mix, 1 nothing in common). Small training sets cannot match shares exactly.` : "There is no mix of conversations to compare with."),
      L.h("div", { class: "grid" },
        L.card("Types and tasks", "Inside the types, outside the tasks asked of them (“no task”: the walk went by none); choose a type to look closer.",
          L.choice("Whose types and tasks", ["training set", "conversations"], (value) => { side = value; burst.redraw(); }), burst),
        L.card("Types against their source", "Where the blue bar is short, documents or accepted answers of the type ran out.",
          L.choice("Setting", L.settings(mix), (value) => { setting = value; shares.redraw(); }), shares)),
      L.figures("types_by_tasks", "type_mix", "type_distance"),
    ];
  },
};

L.sections.requests = {
  title: "What is asked", menu: "Requests",
  build() {
    const verbs = L.answer("instruction_verbs"), diverse = L.answer("instruction_diversity");
    if (!verbs.length) return [L.absent("instruction_verbs")];
    const top = verbs.filter((one) => one.verb !== "(none)").slice(0, 16);
    const chart = L.chart("Commonest verbs and objects of the instructions", 60 + 26 * top.length, L.bars(
      top.map((one) => (one.object === "(none)" ? one.verb : `${one.verb} ${one.object}`)), { rows: top.map((one) => one.n_rows) }, { horizontal: true }));
    return [
      L.h("p", null, diverse.map((one) => `${L.title(one.setting)}: ${L.percent(one.unique_share)} of ${L.count(one.n_rows, "instruction")} are unique, ${L.percent(one.distinct_2)} of their word pairs are different, ${L.percent(one.near_duplicate_share, 1)} of those written were turned away as repeats`).join("; "), "."),
      L.card("Commonest requests", "Verb and object as a simple rule finds them in English; rows without a verb it knows are left out here.", chart),
      L.figures("instruction_diversity", "instruction_verbs"),
    ];
  },
};

L.sections.lengths = {
  title: "How long", menu: "Lengths",
  build() {
    const lengths = L.answer("lengths"), summary = L.answer("length_summary");
    if (!lengths.length) return [L.absent("lengths")];
    const whole = summary.filter((one) => one.part === "context");
    const cards = ["context", "response", "instruction"].map((part) => {
      const own = lengths.filter((one) => one.part === part).sort((a, b) => a.tokens_from - b.tokens_from);
      const starts = L.distinct(own.map((one) => one.tokens_from));
      const series = Object.fromEntries(L.settings(own).map((setting) => [setting, starts.map((start) => {
        const found = own.find((one) => one.setting === setting && one.tokens_from === start);
        return found ? found.n_rows : 0;
      })]));
      return L.card(`Tokens of the ${part}`, "Two buckets double the length.", L.chart(`Token lengths of the ${part}`, 250,
        L.bars(starts.map((start) => `${L.short(start)}+`), series, { stack: "rows", name: "rows" })));
    });
    return [
      L.h("p", null, whole.map((one) => `${L.title(one.setting)}: contexts from ${L.number(one.shortest)} to ${L.number(one.longest)} tokens, half of them over ${L.number(one.median)}`).join("; "), "."),
      L.h("div", { class: "grid three" }, cards), L.figures("length_summary", "lengths"),
    ];
  },
};

L.sections.evidence = {
  title: "Are answers grounded", menu: "Grounding",
  build() {
    const places = L.answer("evidence_positions"), apart = L.answer("evidence_distance"), grounding = L.answer("grounding");
    if (!grounding.length) return [L.absent("grounding")];
    const tenths = Array.from({ length: 10 }, (_, at) => at + 1);
    const by = (records, column, numbers) => Object.fromEntries(L.settings(records).map((setting) => [setting, numbers.map((number) => {
      const found = records.find((one) => one.setting === setting && one.decile === number);
      return found ? found[column] : 0;
    })]));
    const positions = L.chart("Where in the document the evidence lies, by tenths", 280,
      L.bars(tenths.map((n) => `${10 * (n - 1)}–${10 * n}`), by(places, "share", tenths), { percent: true, name: "share of spans" }));
    const distances = L.chart("How much of the context lies between the first and the last evidence", 280,
      L.bars(["one", ...tenths.map((n) => `${10 * (n - 1)}–${10 * n}`)], by(apart, "share", [0, ...tenths]), { percent: true, name: "share of rows" }));
    const types = L.distinct(grounding.map((one) => one.document_type));
    const total = (type, column) => L.sum(grounding.filter((one) => one.document_type === type), column);
    const reasons = ["unanswerable", "no_evidence", "ungrounded", "one_sided"].filter((reason) => L.sum(grounding, reason));
    const told = L.chart("Answers accepted and turned away, by document type", 80 + 30 * types.length, L.bars(types,
      Object.fromEntries([["accepted", types.map((type) => total(type, "accepted"))], ...reasons.map((reason) => [L.words(reason), types.map((type) => total(type, reason))])]),
      { horizontal: true, stack: "answers", colours: { accepted: "good", unanswerable: "muted", ungrounded: "bad" } }));
    const late = places.length ? L.sum(places.filter((one) => one.decile > 5), "spans") / L.sum(places, "spans") : null;
    return [
      L.h("p", null, `${L.percent(L.data.summary.grounded)} of the answers' sentences rest on evidence that was located in the documents; ${L.percent(late)} of the evidence lies in the second half of its document.`),
      L.h("div", { class: "grid" }, L.card("Where the evidence lies", "By hundredths of the document from its beginning; even bars mean that all of it is used.", positions),
        L.card("How far it is apart", "From the first to the last evidence of a row, in hundredths of its context; “one” is a single span.", distances)),
      L.card("Answers by type", "What was accepted, and what the gates turned away.", told),
      L.figures("grounding", "answerability", "second_draws", "evidence_positions", "evidence_distance", "document_balance", "document_reuse"),
    ];
  },
};

/** A plan in words: what of it was met. */
L.planned = function (plan) {
  const inside = (one) => one.calls >= one.calls_low && one.calls <= one.calls_high;
  const off = plan.filter((one) => !inside(one)).map((one) => L.words(one.stage));
  const whole = `${L.count(Math.round(L.sum(plan, "calls_planned")), "call")} with ${L.short(L.sum(plan, "tokens_in_planned"))} prompt tokens were planned, ${L.number(L.sum(plan, "calls"))} with ${L.short(L.sum(plan, "tokens_in"))} made`;
  return `${whole}. ${off.length ? `Outside of the planned range: ${off.join(", ")}.` : "Every stage stayed in the planned range."}`;
};

L.against = function (plan) {
  const money = plan.every((one) => one.usd_planned !== null && one.usd !== null) && L.sum(plan, "usd_planned") > 0;
  const [column, unit] = money ? ["usd", "USD"] : L.sum(plan, "tokens_in") ? ["tokens_in", "prompt tokens"] : ["calls", "calls"];
  return L.chart(`Planned against actual by stage, in ${unit}`, 90 + 44 * plan.length, L.bars(plan.map((one) => L.words(one.stage)), {
    [`planned, ${unit}`]: plan.map((one) => one[`${column}_planned`]), actual: plan.map((one) => one[column]),
  }, { horizontal: true, colours: { [`planned, ${unit}`]: "muted", actual: "accent" } }));
};

L.sections.cost = {
  title: "What it cost", menu: "Cost",
  build() {
    const costs = L.answer("costs"), times = L.answer("stage_times"), plan = L.answer("planned_costs");
    if (!costs.length && !times.length) return [L.absent("costs")];
    const calls = L.sum(costs, "calls"), tokens = L.sum(costs, "tokens_in") + L.sum(costs, "tokens_out");
    const metered = tokens > 0;
    const asked = L.chart("Calls to the teacher by stage", 70 + 34 * costs.length, L.bars(costs.map((one) => L.words(one.stage)), metered
      ? { "prompt tokens": costs.map((one) => one.tokens_in), "reply tokens": costs.map((one) => one.tokens_out) }
      : { calls: costs.map((one) => one.calls) }, { horizontal: true, stack: metered ? "tokens" : null }));
    const spent = L.chart("Seconds by stage", 70 + 24 * times.length, L.bars(times.map((one) => L.words(one.stage)),
      { seconds: times.map((one) => one.seconds) }, { horizontal: true }));
    const paid = L.answer("run_costs");
    const known = (records, column) => (records.length && records.every((one) => one[column] !== null) ? L.sum(records, column) : null);
    const usd = known(paid, "usd"), saved = L.sum(paid, "usd_saved_by_ledger") + L.sum(paid, "usd_saved_by_cache");
    const money = usd === null ? (paid.length ? " The price of a model that was asked is not known, so no sum of money is told." : "")
      : usd || saved ? ` The runs that ended paid ${L.number(usd)} USD; the ledger and prefix caches saved ${L.number(saved)} USD.` : " It cost no money.";
    return [
      L.h("p", null, `${L.count(calls, "call")} to the teacher${metered ? ` with ${L.short(tokens)} tokens` : ", which counts no tokens,"} and ${L.number(Math.round(L.sum(times, "seconds") / 60))} minutes of stages: ${L.number(L.sum(costs, "calls_per_accepted"))} calls an accepted row. Calls that only prepare the graph do not grow with the number of rows.${money}`),
      plan.length ? L.card("Planned against actual", L.planned(plan), L.against(plan)) : L.h("p", { class: "note" }, "No plan stood open when these runs began, so there is nothing to hold them against: jobs/plan.py makes one before a run."),
      L.h("div", { class: "grid" }, costs.length ? L.card(metered ? "Tokens" : "Calls", "All calls that were made, failed ones too.", asked) : null,
        L.card("Time", "Of all runs of this root; stages may run two at a time.", spent)),
      L.figures("planned_costs", "run_costs", "costs", "stage_times"),
    ];
  },
};

L.sections.influence = {
  title: "Influence", menu: "Influence",
  build() {
    const points = L.data.points;
    if (!points.length) return [L.h("p", { class: "note" }, "No row of this root carries influence scores: nothing was measured with a pair of models.")];
    const chart = L.chart("Influence: HMP against CAS, selected rows marked", 420, (theme) => ({
      legend: {}, grid: { left: 10, right: 20, top: 40, bottom: 30, containLabel: true },
      tooltip: { formatter: (item) => `${item.seriesName}\nHMP ${L.number(item.value[0])}, CAS ${L.number(item.value[1])}, score ${L.number(item.value[2])}` },
      xAxis: { type: "value", name: "HMP", nameLocation: "middle", nameGap: 26, scale: true, axisLine: { onZero: false } }, yAxis: { type: "value", name: "CAS", scale: true, axisLine: { onZero: false } },
      series: [["not selected", false, theme.muted], ["selected", true, theme.accent]].map(([name, chosen, colour]) => ({
        type: "scatter", name, symbolSize: 7, itemStyle: { color: colour, opacity: 0.75 },
        data: points.filter((one) => one.selected === chosen).map((one) => [one.hmp, one.cas, one.score]) })),
    }), "canvas");
    return [
      L.h("p", null, "HMP tells how much more the long context helps the long model than the short one, CAS how the answer's attention agrees with what segments explain. High CAS means attention on unimportant segments: a hard row."),
      L.card("HMP against CAS", `${L.count(points.length, "scored row")} shown.`, chart),
      L.figures("influence_distribution", "influence_truncated", "influence_scorers", "influence_correlations", "selection_overlap"),
    ];
  },
};

L.sections.rejected = {
  title: "What was turned away", menu: "Rejected",
  build() {
    const found = L.answer("rejected_examples");
    if (!found.length) return [L.h("p", { class: "note" }, "Nothing was turned away.")];
    const groups = L.distinct(found.map((one) => `${one.stage}\u0000${one.reason}`)).map((key) => found.filter((one) => `${one.stage}\u0000${one.reason}` === key));
    return [
      L.h("p", null, "No row vanishes: each of these is still in its table, with its reason."),
      groups.map((group) => L.h("details", { class: "card" },
        L.h("summary", null, L.h("strong", null, L.words(group[0].reason)), ` in ${L.words(group[0].stage)}: ${L.count(group[0].n_rows, "row")}`),
        L.h("ul", { class: "examples" }, group.map((one) => L.h("li", null, L.h("code", null, one.id.slice(0, 16)),
          one.reject_reason !== one.reason ? [" ", L.h("code", null, one.reject_reason.slice(0, 48))] : null,
          L.h("div", { class: "note" }, one.excerpt || "(no text)")))))),
    ];
  },
};

L.sections.origin = {
  title: "What it was made with", menu: "Origin",
  build() {
    const recipes = L.answer("recipes");
    return [
      L.h("p", null, "Sources, licences and teachers, and the settings behind every table. The hash of a recipe changes with its settings, prompts, models and code."),
      L.figures("sources_and_licences", "languages", "teachers"),
      recipes.map((one) => L.h("details", { class: "figures" },
        L.h("summary", null, `${L.words(one.stage)}: version ${one.output_version}, recipe `, L.h("code", null, one.recipe.slice(0, 16))),
        L.h("pre", { class: "scroll prose", tabindex: "0" }, L.pretty(one.made_from)),
        L.h("p", { class: "note" }, "Run ", L.h("code", null, one.run_id), `, epoch ${one.epoch}`))),
    ];
  },
};

L.pretty = function (text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
};
