# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text of ipvsadm -Sn, read and written."""

from __future__ import annotations

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.state.ipvs import parse, render

SAVED = """\
-A -f 7 -s wlc
-A -f 8 -s rr -p 360 -M 255.255.254.0
-a -f 8 -r 10.244.0.1:0 -g -w 1
-A --sctp-service 10.96.0.1:9 -s sed -o
-A -t 10.96.0.1:80 -s mh -b mh-fallback,mh-port
-a -t 10.96.0.1:80 -r 10.244.0.10:8080 -m -w 1
-a -t 10.96.0.1:80 -r 10.244.0.1:8080 -i -w 0 -x 100 -y 50 --tun-type gue --tun-port 6080 --tun-csum
-A -f 7 -6 -s rr -p 360
-A -u [fd00:96::1]:53 -s rr -p 10800 -M 64
-a -u [fd00:96::1]:53 -r [fd00:244::1]:53 -m -w 1
"""


def test_what_is_saved_is_written_again() -> None:
    assert render(parse(SAVED)) == SAVED


@pytest.mark.parametrize(
    ("line", "default"),
    [
        ("-A -t 10.96.0.1:80 -s rr -p 360 -M 255.255.255.255", "-A -t 10.96.0.1:80 -s rr -p 360"),
        ("-A -t [fd00::1]:80 -s rr -p 360 -M 128", "-A -t [fd00::1]:80 -s rr -p 360"),
    ],
)
def test_a_netmask_that_is_the_default_is_left_out(line: str, default: str) -> None:
    assert render(parse(line)) == default + "\n"
