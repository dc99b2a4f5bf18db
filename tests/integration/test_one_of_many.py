# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One object that somebody changed, among very many: the cost of a run is saved nowhere at its expense."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.model import canonical, native

from tests.bench.worker import TAMPERS, Bench
from tests.clusters import regular_services
from tests.needs import root_and

if TYPE_CHECKING:
    from pathlib import Path

RULES_OF_A_SERVICE = 33

pytestmark = [
    pytest.mark.usefixtures("fresh_namespace"),
    root_and("nft", "iptables-nft"),
]


@pytest.mark.parametrize(
    ("mode", "backend", "rules"),
    [("iptables", "legacy", 200_000), ("iptables", "nft", 50_000), ("nftables", "auto", 50_000)],
)
def test_one_edited_rule_is_found_and_set_right(mode: str, backend: str, rules: int, tmp_path: Path) -> None:
    path = tmp_path / "services.json"
    path.write_text(canonical.dump(native.parse(regular_services(rules // RULES_OF_A_SERVICE, 10))))
    bench = Bench(mode, backend, None, str(tmp_path))
    assert bench.converge(path)["operations"]
    assert bench.converge(path)["operations"] == 0
    (command,) = TAMPERS[mode](bench.compile(path), backend)
    subprocess.run(command, check=True, capture_output=True)
    assert bench.converge(path)["operations"] == 1
    assert bench.converge(path)["operations"] == 0
