"use strict";
/* Draws options with ECharts, again when theme or width change. */
L.charts = [];

L.theme = function () {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  return {
    ink: read("--ink"), soft: read("--soft"), line: read("--line"), card: read("--card"), accent: read("--accent"),
    bad: read("--bad"), good: read("--good"), muted: read("--muted"),
    palette: Array.from({ length: 11 }, (_, at) => read(`--c${at + 1}`)),
    font: getComputedStyle(document.body).fontFamily,
    narrow: document.documentElement.clientWidth < 640,
  };
};

/** A drawn figure: `option(theme)` gives what ECharts draws; `label` tells what is seen. Redraws with `.redraw()`. */
L.chart = function (label, height, option, renderer = "svg") {
  const box = L.h("div", { class: "chart", role: "img", "aria-label": label, style: `height:${height}px` });
  const chart = { box, instance: null };
  chart.redraw = function () {
    if (!chart.instance) return;
    const theme = L.theme();
    chart.instance.setOption(L.dressed(option(theme), theme), { notMerge: true });
  };
  chart.start = function () {
    if (chart.instance || !box.clientWidth) return;
    chart.instance = echarts.init(box, null, { renderer });
    chart.redraw();
  };
  L.charts.push(chart);
  return chart;
};

/** What all charts share: type, colours, tooltips that hold text and no markup. */
L.dressed = function (option, theme) {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const text = { color: theme.ink, fontFamily: theme.font, fontSize: 12 };
  const tooltip = {
    renderMode: "richText", backgroundColor: theme.card, borderColor: theme.line, confine: true,
    textStyle: { ...text, overflow: "break", width: 300 }, ...option.tooltip,
  };
  const axis = (one) => ({
    axisLine: { lineStyle: { color: theme.line } }, axisTick: { show: false },
    splitLine: { lineStyle: { color: theme.line } }, ...one,
    axisLabel: { color: theme.soft, ...one.axisLabel }, nameTextStyle: { color: theme.soft, ...one.nameTextStyle },
  });
  const axes = (ones) => (ones ? [ones].flat().map(axis) : undefined);
  const legend = option.legend && { textStyle: { color: theme.soft }, type: "scroll", top: 0, icon: "roundRect", itemWidth: 12,
    itemHeight: 8, itemGap: 16, pageTextStyle: { color: theme.soft }, ...option.legend };
  return {
    color: theme.palette, textStyle: text, animation: !still, animationDuration: 300, ...option,
    tooltip, legend, xAxis: axes(option.xAxis), yAxis: axes(option.yAxis),
  };
};

/** Bars by category. `series`: name → numbers in the order of `categories`. */
L.bars = function (categories, series, { horizontal = false, percent = false, stack = null, name = "", colours = {} } = {}) {
  return (theme) => {
    const told = (value) => (percent ? L.percent(value, 1) : L.number(value));
    const whole = !percent && Object.values(series).flat().every((value) => value === null || Number.isInteger(value));
    const long = horizontal && (theme.narrow ? 108 : 170);
    const labels = { type: "category", data: categories, inverse: horizontal, splitLine: { show: false },
      axisLabel: horizontal ? { width: long, overflow: "truncate", interval: 0 } : { hideOverlap: true, interval: 0, fontSize: categories.length > 10 ? 9.5 : categories.length > 8 ? 10.5 : 12, rotate: theme.narrow && categories.length > 6 ? 60 : 0 } };
    const values = { type: "value", name: horizontal ? "" : name, nameTextStyle: { align: "left" }, minInterval: whole ? 1 : 0,
      axisLabel: { formatter: (value) => (percent ? L.percent(value) : L.short(value)), hideOverlap: true } };
    const many = Object.keys(series).length > 1, named = name && !horizontal;
    return {
      legend: many ? {} : undefined,
      grid: { left: 6, right: 18, bottom: 6, top: many ? (named ? 54 : 34) : named ? 30 : 12, containLabel: true },
      tooltip: { trigger: "axis", axisPointer: { type: "shadow" },
        formatter: (items) => [items[0].name, ...items.filter((item) => item.value !== null && (!stack || item.value))
          .map((item) => `${item.seriesName}: ${told(item.value)}`)].join("\n") },
      xAxis: horizontal ? values : labels, yAxis: horizontal ? labels : values,
      series: Object.entries(series).map(([title, data]) => ({
        type: "bar", name: title, data, stack, barMaxWidth: 26, barMinWidth: 2,
        itemStyle: { borderRadius: stack ? 0 : 3, ...(colours[title] ? { color: theme[colours[title]] } : {}) },
      })),
    };
  };
};

L.startCharts = function () {
  const seen = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (!entry.isIntersecting) return;
    seen.unobserve(entry.target);
    L.charts.find((chart) => chart.box === entry.target).start();
  }), { rootMargin: "400px" });
  L.charts.forEach((chart) => seen.observe(chart.box));
  setTimeout(() => L.charts.forEach((chart) => chart.start()), 1000); // the rest, for printing and saving the page
  let waiting = 0;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => L.charts.forEach((chart) => {
      if (chart.instance) { chart.instance.resize(); chart.redraw(); }
    }), 120);
  });
  addEventListener("beforeprint", () => L.charts.forEach((chart) => chart.start()));
};

L.redrawAll = () => L.charts.forEach((chart) => chart.redraw());
