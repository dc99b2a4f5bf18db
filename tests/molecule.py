# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sends the requests of a Molecule scenario: python -m tests.molecule LAB NODE MODE [--requests FILE]

The world around the node is there already. The requests are those of the demonstration, for examples/services.yml, or
those of a YAML file: a list of mappings with the keys of `Request` and `Expectation`, and `pods`: "a1 b1", which all
answer.
Prints what became of each, and ends with 1 if that is not as expected.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.demo import traffic
from tests.lab import Lab, LabError
from tests.world.expectation import Expectation, Request, count, problems, send
from tests.world.world import World, WorldError


def parse(item: dict[str, Any]) -> Request:
    """-> Request; raises TypeError for a key that there is not."""
    fields = dict(item)
    to = {name: fields.pop(name) for name in ("source", "address", "port", "protocol") if name in fields}
    shares = dict.fromkeys(fields.pop("pods", "").split(), 1)
    return Request(**to, expect=Expectation(shares=shares, **fields))


def requests(path: Path | None) -> list[Request]:
    if path is None:
        return [row.request for row in traffic.ROWS]
    return [parse(item) for item in yaml.safe_load(path.read_text())]


def check(world: World, request: Request, mode: str) -> list[str]:
    """What is not as expected; prints what became of it."""
    expectation = request.expectation(mode)
    assert expectation
    answers = send(world, request, expectation, mode)
    found = list(problems(answers, request, expectation, mode))
    text = ", ".join(f"{who} x{number}" for who, number in count(answers).items())
    target = traffic.end(request.address, request.port, request.protocol)
    print(f"{'x' if found else '+'} {request.source} -> {target}: {'; '.join(found) or text}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.molecule")
    parser.add_argument("lab")
    parser.add_argument("node")
    parser.add_argument("mode")
    parser.add_argument("--requests", type=Path)
    options = parser.parse_args(arguments)
    try:
        node = Lab.attach(options.lab).nodes[options.node]
        with World(node, node_is_root=True, join=True) as world:
            found = [check(world, request, options.mode) for request in requests(options.requests)]
    except (LabError, WorldError) as error:
        print(error, file=sys.stderr)
        return 1
    return 1 if any(found) or not found else 0


if __name__ == "__main__":
    sys.exit(main())
