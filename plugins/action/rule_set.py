# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Brings service data to the node as one file, only when the node does not have it, and runs the module there."""

from __future__ import annotations

import os
from typing import Any

from ansible import constants
from ansible.errors import AnsibleError
from ansible.module_utils.common.validation import check_type_dict, check_type_int
from ansible.plugins.action import ActionBase
from ansible_collections.kubenode.proxy.plugins.module_utils.model.configuration import (
    parse_configuration,
    parse_node,
    parse_snapshots,
)
from ansible_collections.kubenode.proxy.plugins.module_utils.model.errors import InputError
from ansible_collections.kubenode.proxy.plugins.module_utils.model.fields import describe
from ansible_collections.kubenode.proxy.plugins.plugin_utils import service_source

MODULE = "kubenode.proxy.rule_set"
# What only the controller can use; the module never sees it.
CONTROLLER_OPTIONS = ("services", "src", "query")
# A playbook of the collection, where the search begins, lies far from the inventory.
WHERE = "give an absolute path, such as '{{ inventory_dir }}/services.yml'"
# States that no service data leads to.
WITHOUT_SERVICES = ("absent", "restored")


class ActionModule(ActionBase):
    """See the module's documentation."""

    # Not TRANSFERS_FILES: most runs send nothing, and are spared the temporary directory.
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Runs the module; where it says that the service data is missing, sends the file and runs it again."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        arguments = {name: value for name, value in self._task.args.items() if name not in CONTROLLER_OPTIONS}
        state = self._task.args.get("state")
        try:
            data = None if state in WITHOUT_SERVICES else self._service_data()
            if state == "validated":
                self._validate()
                result.update(changed=False)
                return result
        except InputError as error:
            result.update(
                failed=True, msg=f"{len(error.problems)} problem(s) in the input: {error}", problems=error.problems
            )
            return result
        if data is not None:
            arguments["checksum"] = data.checksum
        result.update(self._execute_module(MODULE, arguments, task_vars=task_vars))
        if data is not None and result.pop("service_data_missing", False):
            arguments["incoming"] = self._send(data.path)
            result.update(self._execute_module(MODULE, arguments, task_vars=task_vars))
        return result

    def _validate(self) -> None:
        """Raises InputError for what the module would find wrong with the input."""
        given = self._task.args
        configuration, document, node = (
            check_type_dict(given.get(name) or {}) for name in ("configuration", "kube_proxy_configuration", "node")
        )
        parse_configuration(configuration, document or None)
        parse_node(node)
        parse_snapshots(check_type_int(given.get("snapshots") or 0))

    def _service_data(self) -> service_source.CanonicalFile | None:
        """The canonical file of the task's ``services`` or ``src``; None where the node's own is to be used."""
        services, src, query = (self._task.args.get(name) for name in CONTROLLER_OPTIONS)
        cache = os.path.join(constants.config.get_config_value("ANSIBLE_HOME"), "kubenode.proxy")
        if query is not None and not isinstance(query, str):
            raise InputError([f"query: must be text, not {describe(query)}"])
        if services is not None and src is not None:
            raise InputError(["services and src exclude each other"])
        if query and services is None and src is None:
            raise InputError(["query: has no effect without services or src"])
        if services is not None:
            return service_source.from_value(services, query, cache)
        if src is not None:
            return service_source.from_path(self._find(src), query, cache)
        return None

    def _find(self, src: object) -> str:
        """The path of a file or directory, looked for as the module copy does. Raises InputError."""
        if not isinstance(src, str) or not src:
            raise InputError([f"src: must be a path, not {describe(src)}"])
        path = os.path.expanduser(src)
        if os.path.isabs(path):
            return path
        try:
            return str(self._find_needle("files", path))
        except AnsibleError as error:
            # What follows the first lines speaks of files on the node.
            searched, *_rest = str(error).partition(" on the Ansible Controller")
            raise InputError([f"src: {WHERE}: {' '.join(searched.split())}"]) from error

    def _send(self, path: str) -> str:
        shell = self._connection._shell
        if not shell.tmpdir:
            self._make_tmp_path()
        remote = str(shell.join_path(shell.tmpdir, "services.json"))
        self._transfer_file(path, remote)
        self._fixup_perms2((shell.tmpdir, remote))
        return remote
