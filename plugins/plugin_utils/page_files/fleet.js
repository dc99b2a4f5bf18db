// Copyright: (c) 2026, kubenode.proxy contributors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// The data of the page, and what follows from it. plugins/plugin_utils/fleet.py says what is where.
"use strict";

const STATUSES = ["unreachable", "failed", "drifted", "corrected", "clean"];
// What differs on a node without being one service's: kernel modules, settings, files, chains that all services share.
const NODE_ITSELF = -1;
const TRAFFIC_WIDTH = 5;

const fleet = JSON.parse(document.getElementById("data").textContent);

fleet.nodes.forEach((node, place) => {
  node.place = place;
});

fleet.objects = fleet.objects.map(([verb, kind, name, reason, services], place) => ({
  verb,
  kind,
  name,
  reason,
  services,
  place,
  nodes: [],
}));
for (const node of fleet.nodes) {
  for (const place of node.objects) {
    fleet.objects[place].nodes.push(node);
  }
}

// Families are named only where a service has both.
const families = new Map();
for (const service of fleet.services) {
  const key = `${service.name} ${service.protocol}`;
  families.set(key, (families.get(key) || 0) + 1);
}
fleet.services.forEach((service, place) => {
  const family = families.get(`${service.name} ${service.protocol}`) > 1 ? `, ${service.family}` : "";
  service.place = place;
  service.title = service.name;
  service.detail = service.protocol + family;
  service.paths = service.paths.map((steps) =>
    steps.map(([from, to, label, status]) => ({
      from: fleet.texts[from],
      to: fleet.texts[to],
      label: fleet.texts[label],
      status: fleet.texts[status],
    })),
  );
  service.whole = service.paths.map((steps) => steps.every((step) => step.status === "live"));
  service.search = [service.name, service.protocol, ...service.addresses.map(([, address]) => address)]
    .join(" ")
    .toLowerCase();
});

/** Which of a service's paths a node has; -1 where it was not looked at, or has none. */
function pathPlace(service, node) {
  if (!node.facts) {
    return -1;
  }
  const other = service.other[node.place];
  return other === undefined ? service.common : other;
}

/** Node -> service (or NODE_ITSELF) -> objects that differ there. */
function differences() {
  const found = fleet.nodes.map(() => new Map());
  const at = (node, service) => {
    const row = found[node.place];
    if (!row.has(service)) {
      row.set(service, []);
    }
    return row.get(service);
  };
  for (const object of fleet.objects) {
    const services = object.services.length ? object.services : [NODE_ITSELF];
    for (const node of object.nodes) {
      services.forEach((service) => at(node, service).push(object));
    }
  }
  // A rule that is gone from a chain of all services shows in the path of the one that it led to.
  for (const service of fleet.services) {
    if (service.whole.every(Boolean)) {
      continue;
    }
    for (const node of fleet.nodes) {
      if (service.whole[pathPlace(service, node)] === false) {
        at(node, service.place);
      }
    }
  }
  return found;
}

fleet.differences = differences();
fleet.nodesOfService = new Map();
for (const node of fleet.nodes) {
  for (const service of fleet.differences[node.place].keys()) {
    fleet.nodesOfService.set(service, [...(fleet.nodesOfService.get(service) || []), node]);
  }
}

/** What services have carried on a node: service -> figures. */
function trafficOf(node) {
  const found = new Map();
  for (let at = 0; at < node.traffic.length; at += TRAFFIC_WIDTH) {
    const [service, connections, rate, bytes, active] = node.traffic.slice(at, at + TRAFFIC_WIDTH);
    found.set(service, { connections, rate, bytes, active });
  }
  return found;
}

/** What a service has carried on each node: node -> figures. */
function trafficAt(service) {
  const found = new Map();
  for (const node of fleet.nodes) {
    for (let at = 0; at < node.traffic.length; at += TRAFFIC_WIDTH) {
      if (node.traffic[at] === service.place) {
        const [, connections, rate, bytes, active] = node.traffic.slice(at, at + TRAFFIC_WIDTH);
        found.set(node, { connections, rate, bytes, active });
      }
    }
  }
  return found;
}

/** The last known rate of a series: of connections (0) or of bytes (1). */
function lastRate(series, kind) {
  const known = series.map((rates) => rates[kind]).filter((rate) => rate !== null);
  return known.length ? known[known.length - 1] : null;
}
