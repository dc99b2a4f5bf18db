# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the expressions of roles and playbooks make of variables, whichever way those are given."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment, nodes

CHECKOUT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (CHECKOUT / "roles").iterdir())
FILES = sorted(
    path
    for pattern in ("roles/*/defaults/*.yml", "roles/*/vars/*.yml", "roles/*/tasks/*.yml", "roles/*/handlers/*.yml")
    for path in CHECKOUT.glob(pattern)
) + sorted((CHECKOUT / "playbooks").rglob("*.yml"))
TEMPLATES = sorted(CHECKOUT.glob("roles/*/templates/*.j2"))
# Keywords whose text is an expression without braces.
CONDITIONS = {"when", "that", "until", "failed_when", "changed_when"}
JINJA = Environment(autoescape=False)
# What the role knows once it has looked at the node.
PREFLIGHT = {"kernel_version": [6, 1], "ipvs_possible": True}


def options(role: str) -> dict[str, Any]:
    specification = yaml.safe_load((CHECKOUT / f"roles/{role}/meta/argument_specs.yml").read_text())
    found: dict[str, Any] = specification["argument_specs"]["main"]["options"]
    return found


def booleans() -> set[str]:
    """The options of roles that are true or false, and the variables of playbooks that are so by default."""
    found = {name for role in ROLES for name, option in options(role).items() if option["type"] == "bool"}
    for path in FILES:
        found |= set(re.findall(r"(\w+) \| default\((?:true|false)\b", path.read_text()))
    return found


def expressions(value: Any, key: str = "") -> Iterator[nodes.Node]:
    """The templates in a YAML value, and those of its conditions that count as true or false."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from expressions(item, name)
    elif isinstance(value, list):
        for item in value:
            yield from expressions(item, key)
    elif isinstance(value, str):
        # As the test of an "if", it is where truth counts.
        yield JINJA.parse(f"{{{{ 1 if ({value}) else 0 }}}}" if key in CONDITIONS else value)


def truths(tree: nodes.Node) -> Iterator[nodes.Node | None]:
    """What counts as true or false."""
    yield from (choice.test for choice in tree.find_all(nodes.CondExpr))
    yield from (choice.test for choice in tree.find_all(nodes.If))
    yield from (negation.node for negation in tree.find_all(nodes.Not))
    yield from (filtered.node for filtered in tree.find_all(nodes.Filter) if filtered.name == "ternary")
    for both in (*tree.find_all(nodes.And), *tree.find_all(nodes.Or)):
        yield from (both.left, both.right)


def bare(node: nodes.Node | None) -> str:
    """The variable whose truth counts as it stands, or with a default; "" for any other expression."""
    while isinstance(node, nodes.Filter) and node.name == "default":
        node = node.node
    return node.name if isinstance(node, nodes.Name) else ""


@pytest.mark.parametrize("path", [*FILES, *TEMPLATES], ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_a_variable_given_as_text_is_true_or_false_as_it_says(path: Path) -> None:
    """The text "false", of an extra variable or an inventory in INI form, is true to Jinja."""
    text = path.read_text()
    trees = [JINJA.parse(text)] if path in TEMPLATES else list(expressions(yaml.safe_load(text)))
    assert {bare(node) for tree in trees for node in truths(tree)} & booleans() == set()


def render(
    folder: Path, *wanted: tuple[str, Mapping[str, Any]], extra: Sequence[str] = (), roles: Sequence[str] = ROLES
) -> list[Any]:
    """What Ansible makes of each template with the variables of the roles, and those that go with it."""
    files = [str(CHECKOUT / f"roles/{role}/{part}/main.yml") for role in roles for part in ("defaults", "vars")]
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.set_fact": {f"shown_{number}": f"{{{{ {template} }}}}"}, "vars": dict(given)}
        for number, (template, given) in enumerate(wanted)
    ]
    shown = ", ".join(f"shown_{number}" for number in range(len(wanted)))
    content = f"{{{{ [{shown}] | to_json }}}}"
    tasks.append({"ansible.builtin.copy": {"dest": str(folder / "shown.json"), "content": content}})
    play = {"hosts": "all", "gather_facts": False, "vars_files": files, "tasks": tasks}
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    inventory = {"all": {"hosts": {"node-a": {**host, "node_prepare_preflight": PREFLIGHT}}}}
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    (folder / "inventory.yml").write_text(yaml.safe_dump(inventory))
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    done = subprocess.run(
        [program, "-i", "inventory.yml", *extra, "play.yml"],
        cwd=folder,
        env={**os.environ, "ANSIBLE_HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    found: list[Any] = json.loads((folder / "shown.json").read_text())
    return found


def test_a_node_gets_no_sysctls_that_text_says_are_not_wanted(tmp_path: Path) -> None:
    names = ("node_prepare_strict_arp", "node_prepare_bridge_nf_call", "node_prepare_ipv6_forwarding")
    extra = [word for name in names for word in ("-e", f"{name}=false")]
    [sysctls] = render(tmp_path, ("node_prepare_wanted_sysctls", {}), extra=extra)
    assert [name for name in sysctls if not name.startswith("net.ipv4.vs.")] == ["net.ipv4.ip_forward"]


def test_a_node_needs_what_its_mode_runs(tmp_path: Path) -> None:
    commands = {"iptables": ["iptables"], "ipvs": ["iptables", "ipset", "ipvsadm"], "nftables": ["nft"]}
    needed = render(tmp_path, *(("node_prepare_needed", {"kube_proxy_mode": mode}) for mode in commands))
    assert needed == [["ip", "modprobe", *names] for names in commands.values()]


DOCUMENT = {"mode": "iptables", "ipvs": {"strictARP": True, "scheduler": "mh"}}
IPVS = {**DOCUMENT, "mode": "ipvs"}
# What the user gives, and: the mode, whether the node is strict about ARP, and whether it has the document's scheduler.
CONFIGURATIONS: list[tuple[Mapping[str, Any], list[Any]]] = [
    ({}, ["ipvs", False, False]),
    ({"kube_proxy_configuration": DOCUMENT}, ["iptables", False, False]),
    ({"kube_proxy_configuration": IPVS}, ["ipvs", True, True]),
    # kube-proxy itself would run in iptables mode.
    ({"kube_proxy_configuration": {**DOCUMENT, "mode": ""}}, ["ipvs", True, True]),
    ({"kube_proxy_configuration": {"ipvs": None}}, ["ipvs", False, False]),
    ({"kube_proxy_configuration": None}, ["ipvs", False, False]),
    ({"kube_proxy_configuration": json.dumps(DOCUMENT)}, ["iptables", False, False]),
    ({"kube_proxy_configuration": json.dumps(IPVS)}, ["ipvs", True, True]),
    ({"kube_proxy_configuration": DOCUMENT, "kube_proxy_mode": "nftables"}, ["nftables", False, False]),
    (
        {"kube_proxy_configuration": IPVS, "kube_proxy_strict_arp": False, "kube_proxy_scheduler": "lc"},
        ["ipvs", False, False],
    ),
]


@pytest.mark.parametrize("roles", [["node_prepare"], ROLES])
def test_what_a_document_says_counts_where_no_variable_is_given(tmp_path: Path, roles: list[str]) -> None:
    template = "[node_prepare_effective_mode, node_prepare_strict_arp, 'mh' in node_prepare_schedulers]"
    found = render(tmp_path, *((template, given) for given, _expected in CONFIGURATIONS), roles=roles)
    assert found == [expected for _given, expected in CONFIGURATIONS]


def test_the_rule_set_is_of_the_mode_that_the_node_is_prepared_for(tmp_path: Path) -> None:
    wanted = (("[kube_proxy_fields.mode, node_prepare_effective_mode]", given) for given, _expected in CONFIGURATIONS)
    assert render(tmp_path, *wanted) == [[mode, mode] for _given, (mode, *_more) in CONFIGURATIONS]


def test_lists_of_the_node_may_be_text(tmp_path: Path) -> None:
    given: list[tuple[str, Mapping[str, Any]]] = [
        ("kube_proxy_node_fields", {}),
        ("kube_proxy_node_fields", {"kube_proxy_node_addresses": "192.0.2.1"}),
        (
            "kube_proxy_node_fields",
            {"kube_proxy_node_addresses": "192.0.2.1, fd00::1,", "kube_proxy_node_pod_cidrs": ""},
        ),
        (
            "kube_proxy_node_fields",
            {"kube_proxy_node_addresses": ["192.0.2.1"], "kube_proxy_node_pod_cidrs": "10.244.1.0/24"},
        ),
    ]
    found = [[node["addresses"], node["pod_cidrs"]] for node in render(tmp_path, *given)]
    assert found == [
        [[], []],
        [["192.0.2.1"], []],
        [["192.0.2.1", "fd00::1"], []],
        [["192.0.2.1"], ["10.244.1.0/24"]],
    ]


def test_the_variables_of_playbooks_are_documented() -> None:
    """What a playbook has a default for or does without, unless a role specifies it or another playbook sets it."""
    playbooks = "".join(path.read_text() for path in sorted((CHECKOUT / "playbooks").rglob("*.yml")))
    own = set(re.findall(r"\b(kube_proxy_\w+)(?: \| default\(| is defined)", playbooks))
    guides = "".join(path.read_text() for path in [CHECKOUT / "README.md", *(CHECKOUT / "docs/guides").glob("*.md")])
    others = {name for role in ROLES for name in options(role)} | set(
        re.findall(r"^ +(kube_proxy_\w+):", playbooks, re.MULTILINE)
    )
    assert {name for name in own - others if name not in guides} == set()


def test_roles_wait_for_other_runs_as_long_as_the_user_says() -> None:
    """Where a module has the option."""
    waiting = {"kubenode.proxy.kernel_modules", "kubenode.proxy.rule_set", "kubenode.proxy.sysctls"}
    tasks = [task for path in CHECKOUT.glob("roles/*/tasks/*.yml") for task in yaml.safe_load(path.read_text())]
    calls = [task[name] for task in tasks for name in waiting & set(task)]
    assert len(calls) == 5
    assert [call for call in calls if "kube_proxy_lock_timeout" not in str(call.get("lock_timeout"))] == []
