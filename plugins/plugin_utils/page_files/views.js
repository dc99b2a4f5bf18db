// Copyright: (c) 2026, kubenode.proxy contributors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// The views of the page; each gives the elements that it consists of.
"use strict";

const MATRIX_ROWS = 25;
const BARS = 8;
const COMMON_OBJECTS = 8;
const NO_READINGS =
  "No rates: the counters were read less than twice (kube_proxy_report_readings), or no node was looked at.";
const NO_COUNTERS = "No rates: the rules of nftables mode count nothing, and no other mode was found on the nodes.";

function heading(title, ...below) {
  return [el("h1", {}, title), el("div", { class: "facts" }, below)];
}

function fact(name, value) {
  return value === null || value === undefined || value === "" ? null : el("span", {}, `${name} `, el("b", {}, value));
}

function figure(value, text, link) {
  const content = [el("b", {}, number(value)), text];
  const attributes = { class: value ? "card" : "card zero", href: link };
  return el(link ? "a" : "div", attributes, content);
}

function whyNoRates(nodes) {
  const modes = new Set(nodes.filter((node) => node.facts).map((node) => node.facts.mode));
  return modes.size === 1 && modes.has("nftables") ? NO_COUNTERS : NO_READINGS;
}

function ratePanels(series, nodes, whose) {
  const known = (kind) => series.some((rates) => rates[kind] !== null);
  if (!known(0)) {
    return [panel("Connections per second", empty(whyNoRates(nodes)))];
  }
  const panels = [panel("Connections per second", rateChart(series, 0, `Connections per second, ${whose}`))];
  if (known(1)) {
    panels.push(panel("Bytes per second, both directions", rateChart(series, 1, `Bytes per second, ${whose}`)));
  }
  return panels;
}

function resetNote(nodes) {
  const resets = nodes.reduce((sum, node) => sum + node.resets, 0);
  return resets
    ? el("p", { class: "note is-drifted" }, `${plural(resets, "counter")} began anew between two readings, as their objects were made anew. The rates of that time are left out.`)
    : null;
}

// Overview

function overview() {
  const { totals } = fleet;
  const count = fleet.nodes.length;
  const services = fleet.services.filter((service) => fleet.nodesOfService.has(service.place)).length;
  const shares = STATUSES.filter((name) => totals.nodes[name]).map((name) =>
    el("i", { class: `is-${name}`, style: `flex:${totals.nodes[name]}`, title: `${totals.nodes[name]} ${name}` }),
  );
  return [
    ...heading(
      summary(totals.nodes, count),
      fact("Compared", fleet.started.replace("T", " ").replace("Z", " UTC")),
      fact("Services", number(fleet.services.length)),
      fact("Modes", modes()),
    ),
    el("div", { class: "share", "aria-hidden": "true" }, shares.reverse()),
    el(
      "div",
      { class: "cards" },
      [...STATUSES].reverse().map((name) => figure(totals.nodes[name], status(name), `#/nodes?status=${name}`)),
      figure(totals.objects, el("span", {}, "differences"), "#/drift"),
      figure(services, el("span", {}, "services differ"), "#/services?filter=1"),
    ),
    resetNote(fleet.nodes),
    el("div", { class: "grid" }, panel("What differs on most nodes", commonObjects()), panel("Nodes to look at", worstNodes())),
    el("div", { class: "grid three" }, ratePanels(fleet.series, fleet.nodes, "all nodes"), busiest()),
  ];
}

function summary(counts, count) {
  if (!count) {
    return "No node was compared";
  }
  const off = count - counts.clean;
  return off ? `${number(off)} of ${plural(count, "node")} ${off === 1 ? "needs" : "need"} a look` : `All ${plural(count, "node")} clean`;
}

function modes() {
  const counts = new Map();
  fleet.nodes.forEach(({ facts }) => facts && facts.mode && counts.set(facts.mode, (counts.get(facts.mode) || 0) + 1));
  return [...counts].map(([mode, count]) => (counts.size > 1 ? `${mode} (${number(count)})` : mode)).join(", ");
}

function commonObjects() {
  const most = sorted(fleet.objects, (object) => object.nodes.length, true).slice(0, COMMON_OBJECTS);
  return dataTable({
    columns: [
      { title: "Object", wide: true, show: objectName },
      { title: "Nodes", number: true, show: (object) => el("a", { href: `#/drift?object=${object.place}` }, number(object.nodes.length)) },
    ],
    rows: most,
    nothing: "Nothing differs: every node is as its service data says.",
  });
}

function worstNodes() {
  const order = (node) => STATUSES.indexOf(node.status) * 1e9 - node.objects_total;
  const worst = sorted(fleet.nodes.filter((node) => node.status !== "clean"), order, false).slice(0, COMMON_OBJECTS);
  return dataTable({
    columns: [
      { title: "Node", show: nodeLink },
      { title: "Status", show: (node) => status(node.status) },
      { title: "Objects", number: true, show: (node) => number(node.objects_total) },
    ],
    rows: worst,
    nothing: "Every node is as its service data says.",
  });
}

function busiest() {
  const busy = (service) => lastRate(service.series, 0);
  const rows = sorted(fleet.services.filter(busy), busy, true).slice(0, BARS);
  const bars = rows.map((service) => [service.title, busy(service)]);
  const chartOrNot = bars.length
    ? barChart(bars, "Connections per second", (value) => `${rate(value)}/s`)
    : empty("No service had a new connection between the last two readings.");
  return panel("Busiest services", chartOrNot);
}

// Nodes

function nodesView(query) {
  const statuses = STATUSES.filter((name) => fleet.totals.nodes[name]);
  const filters = [["All", () => true], ...statuses.map((name) => [name, (node) => node.status === name])];
  return [
    ...heading("Nodes", fact("", summary(fleet.totals.nodes, fleet.nodes.length))),
    panel(
      null,
      dataTable({
        columns: [
          { title: "Node", value: (node) => node.name, show: nodeLink },
          { title: "Status", value: (node) => STATUSES.indexOf(node.status), show: (node) => status(node.status) },
          { title: "Mode", value: (node) => node.facts && node.facts.mode, show: (node) => (node.facts && node.facts.mode) || "–" },
          { title: "Differences", number: true, value: (node) => node.objects_total, show: (node) => number(node.objects_total) },
          { title: "Services", number: true, value: concerned, show: (node) => number(concerned(node)) },
          { title: "Connections/s", number: true, value: (node) => lastRate(node.series, 0), show: (node) => rate(lastRate(node.series, 0)) },
          { title: "Traffic", number: true, value: (node) => lastRate(node.series, 1), show: (node) => byteRate(lastRate(node.series, 1)) },
        ],
        rows: fleet.nodes,
        text: (node) => [node.name, node.status, node.message, node.facts && node.facts.mode].join(" ").toLowerCase(),
        filters: filters.length > 2 ? filters : [],
        chosen: filters.length > 2 ? Math.max(0, statuses.indexOf(query.get("status")) + 1) : 0,
        placeholder: "Search nodes",
        nothing: "No node was compared.",
        sort: 1,
      }),
    ),
  ];
}

function concerned(node) {
  return [...fleet.differences[node.place].keys()].filter((service) => service !== NODE_ITSELF).length;
}

function nodeView(node) {
  const facts = node.facts || {};
  const versions = facts.versions || {};
  return [
    ...heading(
      node.name,
      status(node.status),
      fact("Mode", facts.mode),
      fact("Kernel", facts.kernel),
      fact("iptables", versions.iptables && `${versions.iptables} (${versions.iptables_backend})`),
      fact("nft", versions.nft),
      fact("IPVS", versions.ipvs),
    ),
    node.message ? el("p", { class: `note is-${node.status}` }, node.message) : null,
    facts.kube_proxy_running ? el("p", { class: "note is-drifted" }, "kube-proxy runs on this node beside the collection.") : null,
    resetNote([node]),
    panel("What differs", objectTable(node.objects.map((place) => fleet.objects[place]), { node, nothing: nothingDiffers(node) })),
    node.truncated ? el("p", { class: "muted" }, `The report lists ${number(node.objects.length)} of ${plural(node.objects_total, "object")}.`) : null,
    el("div", { class: "grid", style: "margin-bottom:1.15rem" }, ratePanels(node.series, [node], node.name)),
    panel("Services", servicesOfNode(node)),
    (facts.notes || []).length ? panel("Notes", facts.notes.map((note) => el("p", { class: "note" }, note))) : null,
  ];
}

function nothingDiffers(node) {
  return node.status === "clean" ? "Nothing: the node is as its service data says." : "Nothing was found before the run on this node ended.";
}

function servicesOfNode(node) {
  const traffic = trafficOf(node);
  const at = (service, key) => (traffic.get(service.place) || {})[key];
  const rows = fleet.services.filter((service) => pathPlace(service, node) >= 0);
  return dataTable({
    columns: [
      { title: "Service", wide: true, value: (service) => service.title, show: (service) => [serviceLink(service, node), el("span", { class: "muted" }, ` ${service.detail}`)] },
      { title: "State", value: (service) => stateRank(service, node), show: (service) => state(service, node) },
      { title: "Connections", number: true, value: (service) => at(service, "connections"), show: (service) => number(at(service, "connections")) },
      { title: "Connections/s", number: true, value: (service) => at(service, "rate"), show: (service) => rate(at(service, "rate")) },
      { title: "Traffic", number: true, value: (service) => at(service, "bytes"), show: (service) => byteRate(at(service, "bytes")) },
      { title: "Active now", number: true, value: (service) => at(service, "active"), show: (service) => number(at(service, "active")) },
    ],
    rows,
    text: (service) => service.search,
    filters: [["All", () => true], ["Differs", (service) => fleet.differences[node.place].has(service.place)]],
    placeholder: "Search services, addresses",
    nothing: "The node was not looked at, or has no services.",
    sort: 1,
  });
}

/** The worse, the less. */
function stateRank(service, node) {
  const found = fleet.differences[node.place].get(service.place);
  return found ? -1 - found.length : 0;
}

function state(service, node) {
  const found = fleet.differences[node.place].get(service.place);
  if (!found) {
    return pathPlace(service, node) < 0 ? status("unknown", "not looked at") : status("clean", "as wanted");
  }
  const corrected = node.status === "corrected";
  const text = found.length ? `${plural(found.length, "object")} ${corrected ? "corrected" : "differ"}` : "path differs";
  return status(corrected ? "corrected" : "drifted", found.length === 1 && !corrected ? text.replace("differ", "differs") : text);
}

// Services

function servicesView(query) {
  const nodes = (service) => (fleet.nodesOfService.get(service.place) || []).length;
  return [
    ...heading("Services", fact("", `${plural(fleet.services.length, "service port")} on ${plural(fleet.nodes.length, "node")}`)),
    panel(
      null,
      dataTable({
        columns: [
          { title: "Service", wide: true, value: (service) => service.title, show: (service) => [serviceLink(service), el("span", { class: "muted" }, ` ${service.detail}`)] },
          { title: "Addresses", wide: true, show: (service) => mono(service.addresses.map(([, address]) => address).slice(0, 4).join(", ")) },
          { title: "Endpoints", number: true, value: endpointCount, show: (service) => number(endpointCount(service)) },
          { title: "Differs on", number: true, value: nodes, show: (service) => (nodes(service) ? status("drifted", plural(nodes(service), "node")) : "–") },
          { title: "Connections/s", number: true, value: (service) => lastRate(service.series, 0), show: (service) => rate(lastRate(service.series, 0)) },
          { title: "Traffic", number: true, value: (service) => lastRate(service.series, 1), show: (service) => byteRate(lastRate(service.series, 1)) },
        ],
        rows: fleet.services,
        text: (service) => service.search,
        filters: [["All", () => true], ["Differs", nodes], ["Without endpoints", (service) => !endpointCount(service)]],
        chosen: Number(query.get("filter")) || 0,
        placeholder: "Search services, addresses",
        nothing: "No node said which services it has.",
        sort: 3,
      }),
    ),
  ];
}

/** The most that a node has. */
function endpointCount(service) {
  const counts = service.paths.map((steps) => endpointsOf(steps).size);
  return Math.max(0, ...counts);
}

function endpointsOf(steps) {
  const sources = new Set(steps.map((step) => step.from));
  const ends = steps.map((step) => step.to).filter((name) => !sources.has(name));
  return new Set(ends.filter((name) => /:\d+$/.test(name) && !name.includes(" ")));
}

function serviceView(service, query) {
  const concernedNodes = fleet.nodesOfService.get(service.place) || [];
  const looked = fleet.nodes.filter((node) => pathPlace(service, node) >= 0);
  const chosen = fleet.nodes[Number(query.get("node"))] || concernedNodes.find((node) => looked.includes(node)) || looked[0];
  const at = query.has("node") && chosen ? ` on ${chosen.name}` : "";
  return [
    ...heading(
      service.title,
      fact("Protocol", service.protocol),
      fact("Family", service.family),
      concernedNodes.length ? status("drifted", `differs on ${plural(concernedNodes.length, "node")}`) : status("clean", "as wanted on all nodes"),
    ),
    el("div", { class: "facts" }, service.addresses.map(([kind, address]) => el("span", {}, `${kind} `, mono(address)))),
    panel(null, el("div", { class: "tools" }, el("h2", { style: "margin:0;flex:1" }, "Path"), nodeChoice(service, looked, chosen)), pathOf(service, chosen)),
    panel("What differs", objectTable(fleet.objects.filter((object) => object.services.includes(service.place)), { nothing: "No object of this service differs on any node." })),
    el("div", { class: "grid", style: "margin-bottom:1.15rem" }, ratePanels(service.series, fleet.nodes, `all nodes${at && ""}`)),
    panel("On each node", serviceOnNodes(service)),
  ];
}

/** Nodes on which the path is another than on most come first. */
function nodeChoice(service, looked, chosen) {
  const rank = (node) => (fleet.differences[node.place].has(service.place) ? 0 : 1);
  const options = sorted(looked, rank, false).map((node) =>
    el("option", { value: node.place, selected: node === chosen ? "" : null }, rank(node) ? node.name : `${node.name} (differs)`),
  );
  return el(
    "label",
    {},
    "on ",
    el("select", { change: (event) => { location.hash = `#/services/${service.place}?node=${event.target.value}`; } }, options),
  );
}

function pathOf(service, node) {
  const steps = node ? service.paths[pathPlace(service, node)] : null;
  if (!steps) {
    return empty("No node said how the traffic of this service goes: none was looked at.");
  }
  const kinds = ["live", "missing", "extra", "changed"].filter((kind) => steps.some((step) => step.status === kind));
  const meaning = { live: "as wanted", missing: "missing in the kernel", extra: "only in the kernel", changed: "other than wanted" };
  const ends = endpointsOf(steps).size;
  return [
    steps.length ? pathChart(service, steps) : empty("Nothing in the kernel or in the rule set leads anywhere from these addresses."),
    el("div", { class: "legend" }, kinds.map((kind) => status(kind, meaning[kind])), ends > PATH_ENDPOINTS ? el("span", { class: "muted" }, `${PATH_ENDPOINTS} of ${plural(ends, "endpoint")} are drawn`) : null),
  ];
}

function serviceOnNodes(service) {
  const traffic = trafficAt(service);
  const at = (node, key) => (traffic.get(node) || {})[key];
  return dataTable({
    columns: [
      { title: "Node", value: (node) => node.name, show: (node) => el("a", { href: `#/services/${service.place}?node=${node.place}` }, node.name) },
      { title: "State", value: (node) => stateRank(service, node), show: (node) => state(service, node) },
      { title: "Connections", number: true, value: (node) => at(node, "connections"), show: (node) => number(at(node, "connections")) },
      { title: "Connections/s", number: true, value: (node) => at(node, "rate"), show: (node) => rate(at(node, "rate")) },
      { title: "Traffic", number: true, value: (node) => at(node, "bytes"), show: (node) => byteRate(at(node, "bytes")) },
      { title: "Active now", number: true, value: (node) => at(node, "active"), show: (node) => number(at(node, "active")) },
    ],
    rows: fleet.nodes,
    text: (node) => node.name.toLowerCase(),
    placeholder: "Search nodes",
    nothing: "There are no nodes.",
    sort: 1,
  });
}

// Drift

const MEANING = { add: "missing", change: "other than wanted", remove: "too much" };

function objectName(object) {
  return [el("span", { class: "muted" }, `${object.verb} ${object.kind} `), mono(object.name)];
}

function objectTable(rows, { node, nothing }) {
  const verbs = Object.keys(MEANING).filter((verb) => rows.some((object) => object.verb === verb));
  const where = { title: "Nodes", number: true, value: (object) => object.nodes.length, show: objectNodes };
  const whose = { title: "Services", wide: true, value: (object) => object.services.length, show: (object) => objectServices(object, node) };
  return dataTable({
    columns: [
      { title: "Object", wide: true, value: (object) => `${object.kind} ${object.name}`, show: (object) => [el("span", { class: "muted" }, `${object.kind} `), mono(object.name)] },
      { title: "Is", value: (object) => object.verb, show: (object) => status({ add: "missing", change: "changed", remove: "extra" }[object.verb], MEANING[object.verb]) },
      { title: "Reason", wide: true, show: (object) => (object.reason === MEANING[object.verb] ? "" : object.reason) },
      whose,
      ...(node ? [] : [where]),
    ],
    rows,
    text: (object) => [object.verb, object.kind, object.name, object.reason, ...object.nodes.slice(0, 50).map((one) => one.name)].join(" ").toLowerCase(),
    filters: verbs.length > 1 ? [["All", () => true], ...verbs.map((verb) => [MEANING[verb], (object) => object.verb === verb])] : [],
    placeholder: "Search objects, reasons, nodes",
    nothing,
  });
}

function objectNodes(object) {
  return object.nodes.length === 1 ? nodeLink(object.nodes[0]) : el("a", { href: `#/drift?object=${object.place}` }, number(object.nodes.length));
}

function objectServices(object, node) {
  if (!object.services.length) {
    return el("span", { class: "muted" }, "the node itself");
  }
  const links = object.services.slice(0, 3).flatMap((place, at) => [at ? ", " : "", serviceLink(fleet.services[place], node)]);
  const more = object.services.length - 3;
  return more > 0 ? [...links, el("span", { class: "muted" }, ` and ${number(more)} more`)] : links;
}

function driftView(query) {
  const object = fleet.objects[Number(query.get("object"))];
  if (query.has("object") && object) {
    return objectView(object);
  }
  return [
    ...heading("Drift", fact("", driftSummary())),
    panel("Nodes × services", matrix()),
    panel("Objects", objectTable(fleet.objects, { nothing: "Nothing differs: every node is as its service data says." })),
  ];
}

function driftSummary() {
  const count = fleet.nodes.filter((node) => node.objects_total).length;
  return `${plural(fleet.totals.objects, "difference")} on ${number(count)} of ${plural(fleet.nodes.length, "node")}`;
}

function objectView(object) {
  return [
    ...heading(object.name, fact("Kind", object.kind), fact("Is", MEANING[object.verb]), fact("Reason", object.reason)),
    panel("Services", el("p", {}, objectServices(object))),
    panel(
      `On ${plural(object.nodes.length, "node")}`,
      dataTable({
        columns: [
          { title: "Node", value: (node) => node.name, show: nodeLink },
          { title: "Status", value: (node) => STATUSES.indexOf(node.status), show: (node) => status(node.status) },
          { title: "Differences", number: true, value: (node) => node.objects_total, show: (node) => number(node.objects_total) },
        ],
        rows: object.nodes,
        text: (node) => node.name.toLowerCase(),
        placeholder: "Search nodes",
        nothing: "On no node.",
      }),
    ),
  ];
}

/** What differs where: as many nodes as fit side by side, and some services, a page at a time. */
function matrix() {
  const state = { all: fleet.nodes.length * fleet.services.length <= 400, query: "", x: 0, y: 0 };
  const itself = { place: NODE_ITSELF, title: "The node itself", search: "node itself kernel module sysctl file package" };
  const host = el("div");
  const wide = () => Math.max(4, Math.floor(((host.clientWidth || 1100) - (innerWidth > 640 ? 300 : 170)) / 34));

  function draw(changes) {
    Object.assign(state, changes);
    const words = state.query.toLowerCase().split(/\s+/).filter(Boolean);
    const hits = (service) => fleet.nodesOfService.has(service.place);
    const found = [itself, ...fleet.services].filter((service) => words.every((word) => service.search.includes(word)));
    const services = found.filter((service) => state.all || hits(service));
    const places = new Set(services.map((service) => service.place));
    const nodes = fleet.nodes.filter((node) => state.all || [...fleet.differences[node.place].keys()].some((place) => places.has(place)));
    if (!services.length || !nodes.length) {
      host.replaceChildren(empty(words.length ? "Nothing matches." : "Nothing differs: every node is as its service data says."));
      return;
    }
    const columns = wide();
    const pages = [Math.ceil(nodes.length / columns), Math.ceil(services.length / MATRIX_ROWS)];
    const [x, y] = [Math.min(state.x, pages[0] - 1), Math.min(state.y, pages[1] - 1)];
    const across = nodes.slice(x * columns, (x + 1) * columns);
    const down = services.slice(y * MATRIX_ROWS, (y + 1) * MATRIX_ROWS);
    host.replaceChildren(
      ...[
        el("div", { class: "scroll" }, grid(across, down)),
        pager(x, pages[0], "Nodes, page", (next) => draw({ x: next })),
        pager(y, pages[1], "Services, page", (next) => draw({ y: next })),
      ].filter(Boolean),
    );
  }

  const search = el("input", { type: "search", placeholder: "Search services", "aria-label": "Search services", input: (event) => draw({ query: event.target.value, x: 0, y: 0 }) });
  const buttons = choices([[false, "What differs"], [true, "All"]], state.all, (all) => draw({ all, x: 0, y: 0 }));
  requestAnimationFrame(() => draw({}));
  const legend = [["clean", "as wanted"], ["drifted", "differs: number of objects"], ["corrected", "corrected"], ["unknown", "not looked at"]];
  return [el("div", { class: "tools" }, search, buttons), host, el("div", { class: "legend" }, legend.map(([name, text]) => status(name, text)))];
}

function grid(nodes, services) {
  const head = nodes.map((node) => el("th", { scope: "col" }, el("a", { href: `#/nodes/${node.place}`, title: node.name }, node.name)));
  const rows = services.map((service) =>
    el("tr", {}, el("th", { scope: "row" }, service.place === NODE_ITSELF ? service.title : serviceLink(service)), nodes.map((node) => el("td", {}, matrixCell(node, service)))),
  );
  return el("table", { class: "matrix" }, el("thead", {}, el("tr", {}, el("td"), head)), el("tbody", {}, rows));
}

function matrixCell(node, service) {
  const found = fleet.differences[node.place].get(service.place);
  const title = `${service.title} on ${node.name}`;
  if (found) {
    const tone = node.status === "corrected" ? "corrected" : "drifted";
    const href = service.place === NODE_ITSELF ? `#/nodes/${node.place}` : `#/services/${service.place}?node=${node.place}`;
    const objects = found.slice(0, 8).map((object) => `${object.verb} ${object.kind} ${object.name}`);
    const text = [title, ...(found.length ? objects : ["the path differs"])].join("\n");
    return el("a", { class: `cell hit is-${tone}`, href, title: text }, found.length ? short(found.length) : "~");
  }
  const known = service.place === NODE_ITSELF ? !["failed", "unreachable"].includes(node.status) : pathPlace(service, node) >= 0;
  return el("span", { class: `cell is-${known ? "clean" : "unknown"}`, title: `${title}: ${known ? "as wanted" : "not looked at"}` }, known ? "·" : "");
}
