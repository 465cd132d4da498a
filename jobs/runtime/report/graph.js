"use strict";
/* The picture of one type's graph, with a walk drawn on it, and walks as chips. */
L.fieldColour = function (fields, theme) {
  return Object.fromEntries(fields.map((field, at) => [field, theme.palette[at % theme.palette.length]]));
};

/** Values as chips; those of a walk in their order, those of `shared` framed. */
L.chips = function (steps, shared = [], ordered = true) {
  const theme = L.theme(), colours = L.fieldColour(L.FIELDS, theme), held = new Set(shared.map(([field, value]) => field + "\u0000" + value));
  return L.h(ordered ? "ol" : "ul", { class: "steps" }, steps.map(([field, value]) => L.h("li", null,
    L.h("span", { class: held.has(field + "\u0000" + value) ? "chip shared" : "chip", style: `--chip:${colours[field] || theme.muted}` },
      L.h("small", null, L.words(field)), value))));
};

L.FIELDS = ["tasks", "user_intention", "user_profile", "language_style", "context", "user_knowledge", "chatbot_knowledge",
  "long_context_capability", "output_format", "sentiment", "constraint"];

L.sections.graph = {
  title: "How requests are combined", menu: "Graph",
  build() {
    const graph = L.data.graph;
    if (!graph) return [L.h("p", { class: "note" }, "No selected row was made from a walk yet."), L.figures("graph_size")];
    const places = new Map(graph.nodes.map((node, at) => [node.node, at]));
    const steps = graph.walk.filter((node) => places.has(node)).map((node) => graph.nodes[places.get(node)]);
    const next = new Map(graph.walk.slice(1).map((node, at) => [graph.walk[at] + node, at + 1]));
    const fields = L.distinct(graph.nodes.map((node) => node.field));
    const most = Math.max(...graph.nodes.flatMap((node) => node.edges.map((edge) => edge.weight)), 1);
    const chart = L.chart(`Co-occurrence graph of the type ${graph.document_type}, with one walk`, 760, (theme) => {
      const colours = L.fieldColour(L.FIELDS, theme);
      const edges = graph.nodes.flatMap((node, source) => node.edges.map((edge) => ({ source, target: places.get(edge.target), weight: edge.weight })));
      const walked = graph.walk.slice(1).map((node, at) => ({ source: places.get(graph.walk[at]), target: places.get(node), step: at + 1 }))
        .filter((edge) => edge.source !== undefined && edge.target !== undefined);
      const taken = new Set(walked.flatMap((edge) => [`${edge.source}-${edge.target}`, `${edge.target}-${edge.source}`]));
      return {
        legend: { data: fields.map((field) => L.words(field)), type: "plain", bottom: 0, top: undefined, left: "center", width: "94%" },
        tooltip: { formatter: (item) => (item.dataType === "edge"
          ? item.data.step ? `step ${item.data.step} of the walk` : `${L.count(item.data.weight, "conversation")} held both`
          : `${L.words(item.data.field)}: ${item.data.name}\n${L.count(item.data.conversations, "conversation")}, ${L.count(item.data.degree, "neighbour")}`) },
        series: [{
          type: "graph", layout: "circular", circular: { rotateLabel: true }, roam: false, top: 175, bottom: 225,
          categories: fields.map((field) => ({ name: L.words(field), itemStyle: { color: colours[field] } })),
          data: graph.nodes.map((node) => ({ name: node.value, category: L.words(node.field), field: node.field, conversations: node.conversations,
            degree: node.degree, symbolSize: 6 + 16 * Math.sqrt(node.strength / graph.nodes.reduce((top, one) => Math.max(top, one.strength), 1)),
            itemStyle: { opacity: node.on_walk ? 1 : 0.75, borderColor: node.on_walk ? theme.ink : theme.card, borderWidth: node.on_walk ? 2 : 0.5 },
            label: { show: node.on_walk || !theme.narrow, color: node.on_walk ? theme.ink : theme.soft, fontWeight: node.on_walk ? 700 : 400,
              fontSize: node.on_walk ? 12.5 : 10.5, formatter: L.cut(node.value, node.on_walk ? 20 : 26) } })),
          links: [
            ...edges.filter((edge) => !taken.has(`${edge.source}-${edge.target}`)).map((edge) => ({ ...edge,
              lineStyle: { color: theme.soft, width: 0.4 + 2.4 * (edge.weight / most), opacity: 0.08 + 0.3 * (edge.weight / most), curveness: 0.12 } })),
            ...walked.map((edge) => ({ ...edge, symbol: ["none", "arrow"], symbolSize: 11,
              lineStyle: { color: theme.accent, width: 4, opacity: 0.95, curveness: 0.12 },
              label: { show: true, formatter: String(edge.step), color: theme.accent, fontSize: 13, fontWeight: 700 } })),
          ],
          emphasis: { focus: "adjacency", label: { show: true } },
        }],
      };
    });
    const novelty = L.answer("walk_novelty");
    const walks = L.sum(novelty, "walks");
    const novel = walks ? novelty.reduce((total, one) => total + one.walks * one.novel_share, 0) / walks : null;
    return [
      L.h("p", null, `Values that people's requests hold together are joined; a walk over six different fields is the plan of a new request. ${L.percent(novel)} of ${L.count(walks, "walk")} combine what no single conversation held.`),
      L.card(`“${graph.document_type}” (${graph.setting})`,
        `The ${graph.nodes.length} strongest of ${L.number(graph.nodes[0].of_nodes)} values and ${L.number(graph.nodes[0].of_edges)} edges. Larger is stronger; the walk is drawn thick.`,
        L.wide(chart), L.h("h4", null, "The walk"), L.chips(steps.map((node) => [node.field, node.value])),
        L.h("p", { class: "note" }, L.h("a", { href: `#row=${graph.row}` }, "The row that was made from it"))),
      L.figures("walk_novelty", "walk_entropy", "graph_size", "graph_degrees", "graph_hubs", "field_coverage", "field_values"),
    ];
  },
};
