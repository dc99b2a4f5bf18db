# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every recorded cluster state is valid input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.kubenode.proxy.plugins.module_utils.model import canonical, kubernetes, source
from ansible_collections.kubenode.proxy.plugins.module_utils.model.configuration import parse_configuration, parse_node

RECORDINGS = Path(__file__).parents[3].parent / "shared" / "recordings"
CASES = sorted(path.parent.name for path in RECORDINGS.glob("*/input.yaml"))

pytestmark = pytest.mark.skipif(not CASES, reason="the recordings are not here")


def read(case: str) -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load((RECORDINGS / case / "input.yaml").read_text(encoding="utf-8"), Loader=loader)


@pytest.mark.parametrize("case", CASES)
def test_recording(case: str) -> None:
    document = read(case)
    data = kubernetes.parse(document["objects"])
    assert canonical.load(canonical.dump(data)) == data == source.parse(document["objects"])
    assert parse_node(document["node"]).name == "node-a"
    for mode in ("iptables", "ipvs", "nftables"):
        assert parse_configuration({"mode": mode}, document["config"]).mode == mode
