# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import os
import socket

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.kernel import probe


def test_who_listens_answers_and_who_does_not_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_server(("127.0.0.1", 0)) as closed:
        answering, refusing = listening.getsockname(), closed.getsockname()
        closed.close()
        assert probe.connect([answering, refusing, answering], timeout=5) == {
            answering: "",
            refusing: "Connection refused",
        }


def test_an_address_without_a_way_to_it_is_told() -> None:
    target = ("::ffff:0:0:0", 9)
    assert probe.connect([target], timeout=1)[target]


def test_a_kernel_without_ipv6_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.socket

    def only_ipv4(family: int, kind: int) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        return real(family, kind)

    monkeypatch.setattr(socket, "socket", only_ipv4)
    target = ("2001:db8::1", 80)
    assert probe.connect([target], timeout=1) == {target: "Address family not supported by protocol"}


def test_more_than_are_tried_at_once_are_tried_all() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listening:
        port = listening.getsockname()[1]
        targets = [(f"127.0.{n // 250}.{n % 250 + 1}", port) for n in range(probe.AT_ONCE + 44)]
        found = probe.connect(targets, timeout=10)
    assert len(found) == len(targets)
    assert found["127.0.0.1", port] == ""
    assert set(found.values()) == {"", "Connection refused"}
