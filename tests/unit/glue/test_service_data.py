# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is read of a node's service data is what its rule set was made from."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.compiled import read_settings
from ansible_collections.kubenode.proxy.plugins.module_utils.glue.service_data import counting_in
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel.command import KernelError
from ansible_collections.kubenode.proxy.plugins.module_utils.model import canonical
from ansible_collections.kubenode.proxy.plugins.module_utils.model.node import MODES, Node, ProxyConfiguration
from ansible_collections.kubenode.proxy.plugins.module_utils.model.service import ServiceData, ServicePort
from ansible_collections.kubenode.proxy.plugins.module_utils.rules.modes import render
from ansible_collections.kubenode.proxy.plugins.module_utils.state import rule_set

from tests.clusters import FACTS

WEB = ServicePort("default", "web", "", "tcp", "ipv4", "10.96.0.10", 80, external_ips=("198.51.100.50",))
HEADLESS = WEB._replace(name="whole", cluster_ip="10.96.0.11", headless=True)
DATA = ServiceData((WEB, HEADLESS))


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A node's folder with the service data."""
    (tmp_path / "services.json").write_text(canonical.dump(DATA))
    return str(tmp_path)


@pytest.mark.parametrize(
    ("configuration", "counting"),
    [
        (ProxyConfiguration(version="1.36"), DATA),
        (ProxyConfiguration(version="1.30"), ServiceData((WEB,))),
        (ProxyConfiguration(external_ips=False), DATA.without_external_ips()),
    ],
)
def test_the_settings_of_the_rule_set_tell_what_counts(
    folder: str, configuration: ProxyConfiguration, counting: ServiceData
) -> None:
    path = Path(folder) / "rule_set.txt"
    path.write_text(rule_set.render(render(DATA, Node("node-a"), configuration, FACTS)))
    assert counting_in(folder, read_settings(str(path))) == counting


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_names_itself(mode: str) -> None:
    settings = render(DATA, Node("node-a"), ProxyConfiguration(mode=mode), FACTS).settings
    assert settings == {"mode": mode, "version": "1.36"}


def test_without_a_rule_set_all_counts(folder: str) -> None:
    assert counting_in(folder, read_settings(f"{folder}/none")) == DATA


def test_without_service_data_there_is_none(tmp_path: Path) -> None:
    assert counting_in(str(tmp_path), {}) is None


def test_what_is_no_rule_set_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rule_set.txt"
    path.write_text("nonsense\n")
    with pytest.raises(KernelError, match="is not a rule set"):
        read_settings(str(path))
