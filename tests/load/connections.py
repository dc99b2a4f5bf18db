# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Opens one short connection after the other until a file appears, and prints how many were answered and what failed.

usage: python -m tests.load.connections ADDRESS PORT STOP_FILE [PAUSE]
       python -m tests.load.connections serve PORT

PAUSE is in seconds, between two connections.
"""

from __future__ import annotations

import errno
import itertools
import json
import os
import socket
import sys
import time
from collections import Counter

# Long enough for a machine that is busy, short enough to be counted as a failure of the node.
TIMEOUT = 5.0
GREETING = b"ok"
# One after the other, below those that the kernel chooses. With a pause, none is used twice in the two minutes for
# which IPVS remembers a connection: when it goes, the kernel ends what connection tracking has between the same ports.
SOURCE_PORTS = range(1024, 32768)


def serve(port: int) -> None:
    """Answers every connection at once, on all addresses."""
    with socket.create_server(("0.0.0.0", port), backlog=512) as server:
        while True:
            connection, _address = server.accept()
            with connection:
                connection.sendall(GREETING)


def connect(address: str, port: int, stop: str, pause: float = 0) -> dict[str, object]:
    """-> {answered, failed: {error: times}}."""
    answered, failed = 0, Counter[str]()
    for source in itertools.cycle(SOURCE_PORTS):
        if os.path.exists(stop):
            break
        try:
            with socket.create_connection((address, port), TIMEOUT, ("", source)) as connection:
                if connection.recv(len(GREETING)) == GREETING:
                    answered += 1
                else:
                    failed["closed without an answer"] += 1
        except OSError as error:
            # Another program has the port, or another one of these.
            if error.errno != errno.EADDRINUSE:
                failed[str(error)] += 1
        time.sleep(pause)
    return {"answered": answered, "failed": dict(failed)}


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        print(json.dumps(connect(sys.argv[1], int(sys.argv[2]), sys.argv[3], *map(float, sys.argv[4:]))))
