// Copyright: (c) 2026, kubenode.proxy contributors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Charts, by ECharts as SVG. Tooltips are drawn, not markup.
"use strict";

const PATH_ROW = 58;
const PATH_COLUMN = 180;
const PATH_BOX = [240, 42];
const PATH_ENDPOINTS = 40;
let live = [];

/** Forgets the charts of the view before. */
function disposeCharts() {
  live.forEach(({ chart, observer }) => {
    observer.disconnect();
    chart.dispose();
  });
  live = [];
}

/** The colours of the page, as it has them now. */
function colors() {
  const probe = document.body.appendChild(el("i", { hidden: "" }));
  const found = {};
  for (const name of ["surface", "raised", "text", "muted", "border", "accent", "clean", "drifted", "failed"]) {
    probe.style.color = `var(--${name})`;
    found[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  return found;
}

/** A chart of this height; `options` are made when it is in the page. */
function chart(height, label, options) {
  const host = el("div", { class: "chart", role: "img", "aria-label": label, style: `height:${height}px` });
  // A chart needs to know its width.
  requestAnimationFrame(() => {
    if (!host.isConnected) {
      return;
    }
    const made = echarts.init(host, null, { renderer: "svg" });
    made.setOption(options(colors(), host.clientWidth));
    const observer = new ResizeObserver(() => made.resize());
    observer.observe(host);
    live.push({ chart: made, observer });
  });
  return host;
}

function base(color) {
  return {
    animation: false,
    // By name: what a text will measure is found out before it is in the page.
    textStyle: { fontFamily: getComputedStyle(document.body).fontFamily, color: color.muted },
    tooltip: {
      renderMode: "richText",
      backgroundColor: color.surface,
      borderColor: color.border,
      textStyle: { color: color.text, fontSize: 13 },
    },
  };
}

function axes(color) {
  const label = { color: color.muted, fontSize: 12 };
  return {
    label,
    line: { lineStyle: { color: color.border } },
    split: { lineStyle: { color: color.border } },
  };
}

/** Bytes per second without the zeros that align numbers in a column. */
function axisBytes(value) {
  const [figure, unit] = byteRate(value).split(" ");
  return `${Number(figure)} ${unit}`;
}

/** Rates over the time of the readings. kind: 0 for connections, 1 for bytes. */
function rateChart(series, kind, label) {
  const show = kind ? byteRate : (value) => `${rate(value)}/s`;
  let elapsed = 0;
  const points = series.map((rates, at) => {
    elapsed += fleet.seconds[at];
    return [`${Math.round(elapsed)} s`, rates[kind]];
  });
  return chart(210, label, (color) => {
    const axis = axes(color);
    const many = points.length > 2;
    return {
      ...base(color),
      grid: { left: 8, right: 16, top: 16, bottom: 4, containLabel: true },
      tooltip: { ...base(color).tooltip, trigger: "axis", valueFormatter: show },
      xAxis: { type: "category", data: points.map(([when]) => when), axisLabel: axis.label, axisLine: axis.line, boundaryGap: !many, axisTick: { show: false } },
      yAxis: { type: "value", axisLabel: { ...axis.label, formatter: (value) => (kind ? axisBytes(value) : short(value)) }, splitLine: axis.split, splitNumber: 3 },
      series: [
        {
          name: label,
          type: many ? "line" : "bar",
          barMaxWidth: 44,
          data: points.map(([, value]) => value),
          color: color.accent,
          symbolSize: 7,
          areaStyle: many ? { opacity: 0.1 } : undefined,
          connectNulls: false,
        },
      ],
    };
  });
}

/** The first of these as bars: pairs of a name and a value. */
function barChart(rows, label, show) {
  return chart(Math.max(210, rows.length * 30 + 12), label, (color, width) => {
    const axis = axes(color);
    return {
      ...base(color),
      grid: { left: 8, right: 64, top: 0, bottom: 4, containLabel: true },
      xAxis: { type: "value", show: false },
      yAxis: {
        type: "category",
        inverse: true,
        data: rows.map(([name]) => name),
        axisLabel: { ...axis.label, width: Math.min(200, width * 0.4), overflow: "truncate" },
        axisLine: { show: false },
        axisTick: { show: false },
      },
      tooltip: { ...base(color).tooltip, valueFormatter: show },
      series: [
        {
          name: label,
          type: "bar",
          barMaxWidth: 16,
          color: color.accent,
          itemStyle: { borderRadius: 3 },
          label: { show: true, position: "right", color: color.text, formatter: ({ value }) => show(value) },
          data: rows.map(([, value]) => value),
        },
      ],
    };
  });
}

/** Columns of the vertices of a path: addresses first, endpoints last, each as far right as what leads to it. */
function pathColumns(service, steps) {
  const starts = service.addresses.map(([, address]) => address);
  const level = new Map(starts.map((name) => [name, 0]));
  // As often as a path has steps at most; one that leads in a circle ends there.
  for (let round = 0; round < 8; round += 1) {
    for (const { from, to } of steps) {
      level.set(to, Math.max(level.get(to) || 0, (level.get(from) || 0) + 1));
    }
  }
  const sources = new Set(steps.map((step) => step.from));
  const last = Math.max(1, ...level.values());
  level.forEach((at, name) => {
    if (at > 0 && !sources.has(name) && !/^KUBE-/.test(name)) {
      level.set(name, last);
    }
  });
  const columns = Array.from({ length: last + 1 }, () => []);
  level.forEach((at, name) => columns[at].push(name));
  return columns;
}

/** What a vertex says beside its name: the kind of an address, or the label that all steps to it have. */
function vertexDetail(service, steps) {
  const found = new Map();
  for (const { to, label, status } of steps) {
    const labels = found.get(to) || new Set();
    found.set(to, labels.add(status === "changed" ? null : label));
  }
  const kinds = new Map(service.addresses.map(([kind, address]) => [address, kind]));
  return (name) => kinds.get(name) || (found.has(name) && found.get(name).size === 1 ? [...found.get(name)][0] : "") || "";
}

function vertexStyle(color, size, reached, starts) {
  const tone = reached ? (starts ? color.accent : color.border) : color.failed;
  return {
    symbol: "rect",
    // The label draws the box. This is what lies behind it, and what the pointer finds.
    symbolSize: [size[0] - 6, size[1] - 6],
    itemStyle: { color: color.raised },
    label: {
      show: true,
      width: size[0] - 16,
      height: size[1] - 12,
      padding: [6, 8],
      backgroundColor: color.raised,
      borderColor: tone,
      borderWidth: 1.5,
      borderType: reached ? "solid" : "dashed",
      borderRadius: 7,
      overflow: "truncate",
      lineHeight: 15,
      color: color.text,
      fontSize: 12,
      rich: { detail: { color: color.muted, fontSize: 11, lineHeight: 15 } },
    },
  };
}

function stepStyle(color, step, labelled) {
  const state = step.status;
  const tone = { live: color.muted, missing: color.failed, extra: color.drifted, changed: color.drifted }[state];
  const text = state === "live" || state === "changed" ? step.label : [state, step.label].filter(Boolean).join(", ");
  return {
    lineStyle: { color: tone, type: state === "live" ? "solid" : "dashed", width: state === "live" ? 1.4 : 2.2, opacity: 1 },
    label: { show: state !== "live" || labelled, formatter: () => text, color: tone, fontSize: 11, backgroundColor: color.surface, padding: [1, 3] },
  };
}

/** The way of a service's traffic on a node, from left to right. */
function pathChart(service, steps) {
  const columns = pathColumns(service, steps).map((names) => names.slice(0, PATH_ENDPOINTS));
  const drawn = new Set(columns.flat());
  const rows = Math.max(...columns.map((names) => names.length));
  const reached = new Set(steps.filter((step) => step.status !== "missing").flatMap((step) => [step.from, step.to]));
  const detail = vertexDetail(service, steps);
  const host = chart(rows * PATH_ROW, `Path of ${service.title}`, (color, width) => {
    const size = [Math.min(width / columns.length - 36, PATH_BOX[0]), PATH_BOX[1]];
    const vertex = (name, x, y, of) => {
      const style = vertexStyle(color, size, reached.has(name), x === 0);
      style.label.formatter = () => (detail(name) ? `${name}\n{detail|${detail(name)}}` : name);
      const tip = [name, detail(name), reached.has(name) ? "" : "not reached on this node"].filter(Boolean).join("\n");
      return { name, value: [x + 0.5, (rows * (y + 0.5)) / of], ...style, tooltip: { formatter: () => tip } };
    };
    const link = (step) => {
      const tip = [`${step.from} → ${step.to}`, step.label, step.status].filter(Boolean).join("\n");
      const labelled = Boolean(step.label) && !detail(step.to);
      return { source: step.from, target: step.to, ...stepStyle(color, step, labelled), tooltip: { formatter: () => tip } };
    };
    return {
      ...base(color),
      grid: { left: 0, right: 0, top: 0, bottom: 0 },
      xAxis: { type: "value", min: 0, max: columns.length, show: false },
      yAxis: { type: "value", min: 0, max: rows, inverse: true, show: false },
      series: [
        {
          type: "graph",
          coordinateSystem: "cartesian2d",
          layout: "none",
          data: columns.flatMap((names, x) => names.map((name, y) => vertex(name, x, y, names.length))),
          links: steps.filter((step) => drawn.has(step.from) && drawn.has(step.to)).map(link),
          emphasis: { disabled: true },
        },
      ],
    };
  });
  host.style.minWidth = `${columns.length * PATH_COLUMN}px`;
  host.style.minHeight = "0";
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Path; scroll sideways for all of it" }, host);
}
