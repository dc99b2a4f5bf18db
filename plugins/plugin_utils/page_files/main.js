// Copyright: (c) 2026, kubenode.proxy contributors
// GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Which view is shown, by the address of the page; light and dark.
"use strict";

const THEMES = { "": "Auto", light: "Light", dark: "Dark" };
const THEME_KEY = "kubenode.proxy.theme";

function viewOf(path, query) {
  const [, name, place] = path.split("/");
  const node = name === "nodes" && fleet.nodes[Number(place)];
  const service = name === "services" && fleet.services[Number(place)];
  if (place && node) {
    return nodeView(node);
  }
  if (place && service) {
    return serviceView(service, query);
  }
  const views = { nodes: nodesView, services: servicesView, drift: driftView };
  return (views[name] || overview)(query);
}

function show() {
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  disposeCharts();
  const view = document.getElementById("view");
  view.replaceChildren(...viewOf(path || "/", new URLSearchParams(query)).flat().filter(Boolean));
  for (const link of document.querySelectorAll(".top nav a")) {
    const own = link.getAttribute("href").slice(1);
    const current = own === "/" ? !path || path === "/" : (path || "").startsWith(own);
    if (current) {
      link.setAttribute("aria-current", "page");
    } else {
      link.removeAttribute("aria-current");
    }
  }
}

/** A browser may keep nothing for pages from files. */
function remembered(value) {
  try {
    if (value !== undefined) {
      localStorage.setItem(THEME_KEY, value);
    }
    return localStorage.getItem(THEME_KEY) || "";
  } catch {
    return value || "";
  }
}

function setTheme(theme) {
  document.documentElement.style.colorScheme = theme || "light dark";
  const button = document.getElementById("theme");
  button.dataset.theme = theme;
  button.textContent = THEMES[theme];
  button.setAttribute("aria-label", `Colours: ${THEMES[theme]}`);
}

document.getElementById("theme").addEventListener("click", (event) => {
  const themes = Object.keys(THEMES);
  const next = themes[(themes.indexOf(event.currentTarget.dataset.theme) + 1) % themes.length];
  setTheme(remembered(next));
  show();
});
addEventListener("hashchange", () => {
  show();
  scrollTo(0, 0);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
setTheme(THEMES[remembered()] ? remembered() : "");
show();
