# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab itself: real boots, the seal of the host, and that nothing stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import Lab, LabError, Node, host
from tests.lab.launcher import base_directory
from tests.lab.netns import CommandError, Network
from tests.lab.node import CHECKOUT

pytestmark = pytest.mark.lab

SEAL = Path(__file__).parent / "seal.py"


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab("test") as lab:
        yield lab


@pytest.fixture(scope="module")
def mini(lab: Lab) -> Node:
    return lab.start("mini", extra_interfaces=["192.0.2.1/24"])


@pytest.fixture(scope="module")
def systemd(lab: Lab) -> Node:
    return lab.start("systemd", systemd=True, modprobe=["ip_vs_rr"])


def traces(namespace: str) -> list[str]:
    """What is left of a lab on the host."""
    left = []
    if host.namespace_exists(namespace):
        left.append(f"network namespace {namespace}")
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if namespace.removeprefix("kn-") in command:
            left.append(command)
    left += [str(path) for path in base_directory().glob(f"*{namespace.removeprefix('kn-')}*")]
    return left


def test_a_kernel_module_loads_in_a_mini_node(mini: Node) -> None:
    mini.run(["modprobe", "ip_vs"])
    assert "ip_vs " in mini.run("lsmod").stdout
    assert mini.run(["ipvsadm", "-A", "-t", "10.96.0.1:443", "-s", "rr"]).returncode == 0


def test_modules_are_loaded_and_systemd_runs_in_a_systemd_node(systemd: Node) -> None:
    assert "ip_vs_rr" in systemd.run("lsmod").stdout
    assert systemd.run("systemctl is-system-running --wait", check=False).stdout.strip() == "running"


def test_nodes_reach_each_other_in_both_families(mini: Node, systemd: Node) -> None:
    for address in (systemd.address, systemd.address6):
        assert mini.run(["nc", "-z", "-w", "5", address, "22"], check=False).returncode == 0


def test_large_packets_arrive(mini: Node) -> None:
    text = "x" * 1_000_000
    assert mini.run(["wc", "-c"], input=text).stdout.strip() == str(len(text))


def test_the_checkout_is_readable_at_the_same_path(mini: Node) -> None:
    path = CHECKOUT / "tests/lab/launcher.py"
    assert mini.run(["cat", str(path)]).stdout == path.read_text()


def test_an_extra_interface_has_its_address(mini: Node) -> None:
    assert "192.0.2.1/24" in mini.run("ip -br address show eth1").stdout


def test_a_failing_command_says_which_and_why(mini: Node) -> None:
    with pytest.raises(LabError, match=r"(?s)mini: ls /nowhere: exit status 2.*No such file"):
        mini.run(["ls", "/nowhere"])
    with pytest.raises(LabError, match="not done within 1 s"):
        mini.run("sleep 20", timeout=1)


def test_root_of_a_guest_cannot_write_to_the_host(mini: Node) -> None:
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory)
        (target / "file").write_text("host\n")
        mini.run(["mkdir", "-p", "/host"])
        mini.run(["mount", "-t", "hostfs", "-o", directory, "none", "/host"])
        try:
            mini.run("mount -o remount,rw /host")
            assert mini.run("cat /host/file").stdout == "host\n"
            for attempt in ("touch /host/new", "echo guest >/host/file", "rm /host/file", "chmod 0 /host/file"):
                done = mini.run(attempt, check=False)
                assert done.returncode != 0 and "Read-only file system" in done.stderr, attempt
        finally:
            mini.run(["umount", "/host"])
        assert [path.name for path in target.iterdir()] == ["file"]
        assert (target / "file").read_text() == "host\n"


def test_the_kernel_of_a_guest_has_no_capability_to_break_the_seal(lab: Lab, mini: Node) -> None:
    assert mini.alive()
    kernels = []
    for pid in host.processes_in_namespace(lab.namespace):
        if os.path.realpath(f"/proc/{pid}/exe").endswith("linux.uml"):
            status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
            kernels.append(int(status["CapPrm"], 16) | int(status["CapBnd"], 16))
    # CAP_DAC_READ_SEARCH alone.
    assert kernels and set(kernels) == {1 << 2}


def test_the_seal_is_verified_by_writing(tmp_path: Path) -> None:
    check = f"import sys; sys.path.insert(0, {str(SEAL.parent)!r}); import seal; seal.verify()"
    done = subprocess.run(
        ["unshare", "--mount", sys.executable, "-IBc", check], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode != 0
    assert "is still writable" in done.stderr


def test_a_node_is_not_started_when_the_seal_fails(tmp_path: Path) -> None:
    marker = tmp_path / "started"
    done = subprocess.run(
        [
            *("unshare", "--mount", "--pid", "--fork", "--mount-proc", sys.executable, "-IB", str(SEAL)),
            *("--image", str(tmp_path / "missing"), "--", "touch", str(marker)),
        ],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "the host is not sealed off" in done.stdout
    assert not marker.exists()


def test_a_node_keeps_its_image_over_reboot_and_stop(lab: Lab, tmp_path: Path) -> None:
    image = tmp_path / "node.ext4"
    node = lab.start("kept", systemd=True, image=image)
    node.run("echo ip_vs >/etc/modules-load.d/test.conf; echo kept >/root/file")
    boot = node.run("cat /proc/sys/kernel/random/boot_id").stdout
    node.reboot()
    assert node.run("cat /proc/sys/kernel/random/boot_id").stdout != boot
    assert "ip_vs " in node.run("lsmod").stdout
    lab.stop("kept")
    node = lab.start("kept", image=image)
    assert node.run("cat /root/file").stdout == "kept\n"
    assert "ip_vs " in node.run("lsmod").stdout
    lab.stop("kept")


def test_a_node_that_fails_shows_its_console(lab: Lab) -> None:
    with pytest.raises(LabError, match=r"(?s)did not come up.*Module no_such_module not found"):
        lab.start("broken", modprobe=["no_such_module"])
    lab.stop("broken")


def test_what_a_guest_sees_of_changes_on_the_host(mini: Node) -> None:
    with tempfile.TemporaryDirectory(dir=CHECKOUT / "tests/lab") as directory:
        file, other = Path(directory) / "file", Path(directory) / "other"
        mini.run(["cat", str(file)], check=False)
        file.write_text("new\n")
        other.write_text("new\n")
        assert mini.run(["cat", str(other)]).stdout == "new\n"
        other.write_text("longer than before\n")
        mini.forget_host_files()
        assert mini.run(["cat", str(file), str(other)]).stdout == "new\nlonger than before\n"


def test_the_inventory_works_with_ansible(lab: Lab, mini: Node, tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.yml"
    lab.write_inventory(inventory, {"kube_nodes": [mini.name]}, {"some_variable": "value: with [marks]"})
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("ansible")), "-i", str(inventory), "kube_nodes"),
            *("-m", "ansible.builtin.command", "-a", "hostname {{ some_variable | length }} --help"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_HOME": str(tmp_path)},
    )
    assert "Usage" in done.stdout, done.stdout + done.stderr


def test_a_network_that_cannot_be_built_says_which_command_failed() -> None:
    with Network() as network:
        network.add("one")
        network.route("one", "default", via="192.0.2.1")
        with pytest.raises(CommandError, match=r"(?s)invalid gateway.*failed: ip -n \S+-one route add default via"):
            network.build()


@pytest.mark.parametrize("where", ["here", "guest"])
def test_namespaces_are_connected_and_deleted(where: str, request: pytest.FixtureRequest) -> None:
    network = Network() if where == "here" else Network(request.getfixturevalue("mini").run)
    with network:
        network.add("client", "router", "server")
        network.veth(("client", "eth0", "10.1.0.2/24"), ("router", "a", "10.1.0.1/24"))
        network.veth(("server", "eth0", "fd00:2::2/64"), ("router", "b", "fd00:2::1/64"))
        network.address("client", "eth0", "fd00:1::2/64")
        network.address("router", "a", "fd00:1::1/64")
        network.route("client", "default", via="fd00:1::1")
        network.route("server", "default", via="fd00:2::1")
        network.sysctl("router", ipv6__conf__all__forwarding=1)
        server = "nc -6 -l -k 8080 </dev/null >/dev/null 2>&1 & for i in 1 2 3 4 5 6 7 8 9; do sleep 0.1; done"
        network.run("server", ["sh", "-c", server])
        network.run("client", ["nc", "-z", "-w", "5", "fd00:2::2", "8080"])
        names = [network.full_name(name) for name in ("client", "router", "server")]
        listed = network._runner(["ip", "netns", "list"]).stdout
        assert all(name in listed for name in names)
    listed = network._runner(["ip", "netns", "list"]).stdout
    assert not any(name in listed for name in names)


def test_an_exception_leaves_nothing() -> None:
    with pytest.raises(ZeroDivisionError), Lab("raise") as lab:
        lab.start_all(["n1", "n2"])[0].run("true")
        assert traces(lab.namespace)
        raise ZeroDivisionError
    assert traces(lab.namespace) == []


def test_a_lab_that_fails_half_way_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    lab = Lab("half")
    monkeypatch.setattr("tests.lab.launcher.BRIDGE", "link add br0 type bridge\nno such command\n")
    with pytest.raises(LabError, match="batch"):
        lab.open()
    assert traces(lab.namespace) == []


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_launcher_leaves_nothing(how: signal.Signals) -> None:
    program = (
        "import time\n"
        "from tests.lab import Lab\n"
        "with Lab('killed') as lab:\n"
        "    lab.start('n1', wait=False)\n"
        "    print(lab.namespace, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as launcher:
        assert launcher.stdout is not None
        namespace = launcher.stdout.readline().strip()
        assert host.namespace_exists(namespace)
        launcher.send_signal(how)
    assert host.wait_until(lambda: traces(namespace) == [], timeout=10), traces(namespace)


def test_the_command_line_takes_a_lab_up_and_down(tmp_path: Path) -> None:
    name = f"cli-{os.getpid()}"

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tests.lab", *arguments],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    try:
        up = command("up", name, "--nodes", "2", "--inventory", str(tmp_path / "inventory.yml"), "--group", "all_nodes")
        assert up.returncode == 0, up.stderr
        namespace = Lab.attach(name).namespace
        assert "all_nodes" in (tmp_path / "inventory.yml").read_text()
        assert "already up" in command("up", name).stderr
        assert f"{name}\t{namespace}" in command("status").stdout
        assert command("ssh", name, "n2", "hostname").stdout == "n2\n"
        assert "has no node n3" in command("ssh", name, "n3", "hostname").stderr
    finally:
        assert command("down", name).returncode == 0
    assert traces(namespace) == []


def test_a_lab_of_the_command_line_ends_with_its_owner() -> None:
    name = f"owned-{os.getpid()}"
    command = [sys.executable, "-m", "tests.lab", "up", name, "--owner"]
    with subprocess.Popen(["sleep", "60"]) as owner:
        try:
            up = subprocess.run(
                [*command, str(owner.pid)], cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False
            )
            assert up.returncode == 0, up.stderr
            namespace = Lab.attach(name).namespace
            assert traces(namespace)
        finally:
            owner.kill()
    assert host.wait_until(lambda: traces(namespace) == [], timeout=10), traces(namespace)
    again = subprocess.run(
        [*command, str(owner.pid)], cwd=CHECKOUT, capture_output=True, text=True, timeout=30, check=False
    )
    assert again.returncode == 1
    assert f"there is no process {owner.pid}" in again.stderr


def test_what_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "SEARCH_PATH", "/nowhere")
    with pytest.raises(LabError, match=r"(?s)linux.uml.*--no-install-recommends .*netcat-openbsd .*user-mode-linux"):
        host.require(["linux.uml", "nc"])
