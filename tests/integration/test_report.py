# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The playbook report, from the built and installed collection, on nodes of every mode, over SSH.

node-000   a network namespace, iptables mode: a chain has lost its rules; a client connects again and again
node-001   a network namespace, nftables mode: an element of a map is gone
node-ipvs  a guest with a kernel of its own, IPVS mode: a real server has another weight
node-gone  does not answer

web        default/web  10.96.0.10:80/tcp, node port 30080 -> 10.244.1.5:8080, 10.244.2.7:8080
api        default/api  10.96.0.20:443/tcp -> 10.244.1.6:8443
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.bench.fleet import namespaces
from tests.integration.test_drift import SERVICES
from tests.integration.test_page import CHROMIUM
from tests.lab import Lab
from tests.lab.node import CHECKOUT
from tests.needs import root_and

pytestmark = [
    pytest.mark.lab,
    root_and(),
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs chromium: see requirements/apt-chromium.txt"),
]

VARIABLES = {
    "kube_proxy_cluster_cidrs": ["10.244.0.0/16"],
    # Limits that only the first network namespace has.
    "kube_proxy_conntrack_max_per_core": 0,
    "kube_proxy_conntrack_min": 0,
    "kube_proxy_report_readings": 3,
    "kube_proxy_report_interval": 1,
}
SERVICE_CHAIN = "KUBE-SVC-LOLE4ISW44XBNF3G"
TAMPERS = {
    "node-000": f"iptables -t nat -F {SERVICE_CHAIN}",
    "node-001": "nft delete element ip kube-proxy service-ips '{ 10.96.0.20 . tcp . 443 }'",
    "node-ipvs": "ipvsadm -e -t 10.96.0.10:80 -r 10.244.1.5:8080 -m -w 7",
}
FOUND = {
    "node-000": f"ipv4 nat {SERVICE_CHAIN}",
    "node-001": "ip kube-proxy service-ips 10.96.0.20 . tcp . 443",
    "node-ipvs": "tcp 10.96.0.10:80 -> 10.244.1.5:8080",
}
# Nobody answers: what counts is that the first packet is sent on its way.
CLIENT = "ip route add 10.0.0.0/8 dev eth0; while sleep 0.1; do timeout 0.05 nc -z 10.96.0.20 443; done"


@pytest.fixture
def fleet(ansible_env: Mapping[str, str], tmp_path: Path) -> Iterator[tuple[Path, Mapping[str, str]]]:
    """A directory with an inventory of all nodes, and the environment for commands there."""
    with namespaces(tmp_path, 2) as (controller, hosts), Lab("report") as lab, contextlib.ExitStack() as stack:
        proxy = f"-o ProxyCommand='ip netns exec {controller} nc %h %p'"
        for name, mode in (("node-000", "iptables"), ("node-001", "nftables")):
            hosts[name]["ansible_ssh_common_args"] += f" {proxy}"
            hosts[name]["kube_proxy_mode"] = mode
        guest = lab.start("node-ipvs").inventory_vars()
        gone = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_user": "root"}
        (tmp_path / "services.json").write_text(json.dumps(SERVICES))
        variables = {**VARIABLES, "kube_proxy_services_src": str(tmp_path / "services.json")}
        nodes = {**hosts, "node-ipvs": guest}
        inventory = {"kube_nodes": {"hosts": nodes, "vars": variables}, "others": {"hosts": {"node-gone": gone}}}
        (tmp_path / "inventory.json").write_text(json.dumps(inventory))
        client = ["ip", "netns", "exec", controller.replace("ctl", "node-000"), "sh", "-c", CLIENT]
        running = subprocess.Popen(client, stderr=subprocess.DEVNULL)
        stack.callback(running.wait)
        stack.callback(running.terminate)
        yield tmp_path, {**ansible_env, "ANSIBLE_COLLECTIONS_PATH": install(tmp_path, ansible_env)}


def install(folder: Path, environment: Mapping[str, str]) -> str:
    """Where the collection is installed as a user does it."""
    galaxy = ["ansible-galaxy", "collection"]
    run([*galaxy, "build", str(CHECKOUT), "--output-path", "."], folder, environment)
    (archive,) = folder.glob("*.tar.gz")
    run([*galaxy, "install", "--offline", "-p", "installed", str(archive)], folder, environment)
    return str(folder / "installed")


def run(command: list[str], folder: Path, environment: Mapping[str, str], status: int = 0) -> str:
    done = subprocess.run(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout


def test_a_page_names_what_differs_and_draws_it(fleet: tuple[Path, Mapping[str, str]]) -> None:
    folder, environment = fleet
    play = ["ansible-playbook", "-i", "inventory.json"]
    run([*play, "-l", "kube_nodes", "kubenode.proxy.site"], folder, environment)
    for name, command in TAMPERS.items():
        run(
            ["ansible", "-i", "inventory.json", name, "-m", "ansible.builtin.shell", "-a", command], folder, environment
        )
    # Status 4: a node does not answer.
    printed = run([*play, "kubenode.proxy.report"], folder, environment, status=4)
    assert f"page: {folder}/report.html" in printed
    report = json.loads((folder / "drift-report.json").read_text())
    assert {name: node["status"] for name, node in report["nodes"].items()} == {
        **dict.fromkeys(TAMPERS, "drifted"),
        "node-gone": "unreachable",
    }
    assert_drawn(folder / "report.html")


def assert_drawn(path: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        wrong: list[str] = []
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"file://{path}")
        expect(page.locator("h1")).to_have_text("4 of 4 nodes need a look")
        assert_nodes(page, page.evaluate("fleet.services.map((one) => one.name)"))
        assert wrong == []
        browser.close()


def assert_nodes(page: Any, services: list[str]) -> None:
    assert sorted(services) == ["default/api", "default/web"]
    names = page.evaluate("fleet.nodes.map((one) => one.name)")
    for name, found in FOUND.items():
        page.evaluate("(place) => { location.hash = `#/nodes/${place}` }", names.index(name))
        expect(page.locator("h1")).to_have_text(name)
        row = page.locator("table.rows tbody tr", has_text=found)
        expect(row).to_have_count(1)
        row.locator("td:nth-child(4) a").click()
        expect(page.locator("[aria-label^='Path of'] svg")).to_be_visible()
        expect(page.locator(".legend .status:not(.is-live)").first).to_be_visible()
    api = services.index("default/api")
    figures = f"trafficAt(fleet.services[{api}]).get(fleet.nodes[{names.index('node-000')}])"
    counted = page.evaluate(figures)
    assert counted["connections"] > 0
    assert counted["rate"] > 0
    assert counted["bytes"] is None
