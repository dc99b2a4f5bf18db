# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tampers with IP sets, IPVS, the dummy link, settings and files, by kind. See :mod:`.iptables_tampers`."""

from __future__ import annotations

import re
import subprocess
from random import Random

from tests.reliability.scene import DROP_INS, FILES, FOLDER, Scene, call, sysctl_file

OTHER_TYPES = ("hash:net", "hash:ip", "hash:ip,port", "hash:mac", "bitmap:port range 0-1023")
LINK = "kube-ipvs0"


class Sets:
    """The sets of ours: the line that creates one, and its members."""

    def __init__(self) -> None:
        self.created: dict[str, str] = {}
        self.members: dict[str, list[str]] = {}
        for line in call("ipset", "save").splitlines():
            verb, name, rest = line.split(" ", 2)
            if name.startswith("KUBE-") and "FOREIGN" not in name:
                if verb == "create":
                    self.created[name], self.members[name] = rest, []
                else:
                    self.members[name].append(rest)


def member_removed(scene: Scene, source: Random) -> str | None:
    found = [(name, member) for name, members in sorted(Sets().members.items()) for member in members]
    if not found:
        return None
    name, member = source.choice(found)
    return _ipset(f"del {name} {member.split(' ')[0]}")


def member_added(scene: Scene, source: Random) -> str | None:
    sets = Sets()
    if not sets.created:
        return None
    name = source.choice(sorted(sets.created))
    set_type, six = sets.created[name].split(" ", 1)[0], "inet6" in sets.created[name]
    host, network = ("2001:db8:2::99", "2001:db8:2::/64") if six else ("192.0.2.99", "192.0.2.0/24")
    entries = {
        "bitmap:port": "999",
        "hash:ip": host,
        "hash:ip,port": f"{host},tcp:999",
        "hash:ip,port,ip": f"{host},tcp:999,{host}",
        "hash:ip,port,net": f"{host},tcp:999,{network}",
    }
    return _ipset(f"add {name} {entries[set_type]}")


def set_flushed(scene: Scene, source: Random) -> str | None:
    filled = sorted(name for name, members in Sets().members.items() if members)
    return _ipset(f"flush {source.choice(filled)}") if filled else None


def set_destroyed(scene: Scene, source: Random) -> str | None:
    """With the rules that name it."""
    names = sorted(Sets().created)
    return _without_rules(scene, source.choice(names), anew="") if names else None


def set_of_another_type(scene: Scene, source: Random) -> str | None:
    """That the same rules name."""
    created = Sets().created
    if not created:
        return None
    name = source.choice(sorted(created))
    # That of the rules: a set of ports has none.
    family = " family inet6" if name.startswith("KUBE-6-") else ""
    others = [kind for kind in OTHER_TYPES if not created[name].startswith(f"{kind.partition(' ')[0]} ")]
    # The kernel of this machine has not all types.
    for kind in source.sample(others, len(others)):
        if not _fails("ipset", "create", "tried", *kind.split()):
            call("ipset", "destroy", "tried")
            options = "" if kind.startswith("bitmap") or kind == "hash:mac" else family
            return _without_rules(scene, name, anew=f"create {name} {kind}{options}")
    return None


def set_of_other_options(scene: Scene, source: Random) -> str | None:
    """That the same rules name."""
    created = Sets().created
    if not created:
        return None
    name = source.choice(sorted(created))
    if created[name].startswith("bitmap:"):
        options = re.sub(r"range \S+", f"range 0-{source.randint(1, 9) * 1000}", created[name])
    else:
        options = f"{created[name]} timeout 600"
    return _without_rules(scene, name, anew=f"create {name} {options}")


def set_added(scene: Scene, source: Random) -> str | None:
    """One of ours by name, as another mode leaves it."""
    missing = {"KUBE-CLUSTER-IP", "KUBE-6-CLUSTER-IP"} - set(Sets().created)
    return _ipset(f"create {source.choice(sorted(missing))} hash:ip,port") if missing else None


def _without_rules(scene: Scene, name: str, anew: str) -> str:
    """Destroys a set, and makes it anew with the same rules; without any for "" """
    restores: list[tuple[str, str]] = []
    for program in ("iptables", "ip6tables"):
        tool, table = f"{program}{scene.node.suffix}", ""
        for line in call(f"{tool}-save").splitlines():
            table = line[1:] if line.startswith("*") else table
            if line.startswith("-A ") and f"--match-set {name} " in line:
                call(f"{tool}-restore", "--noflush", stdin=f"*{table}\n-D{line[2:]}\nCOMMIT\n")
                restores.append((tool, f"*{table}\n{line}\nCOMMIT\n"))
    _ipset(f"destroy {name}")
    if anew:
        _ipset(anew)
        for tool, text in restores:
            call(f"{tool}-restore", "--noflush", stdin=text)
    return anew or f"destroy {name}"


def _ipset(line: str) -> str:
    call("ipset", "restore", stdin=f"{line}\n")
    return f"ipset {line}"


class Servers:
    """Virtual servers of ours, and their real servers, as words of ipvsadm."""

    def __init__(self, source: Random) -> None:
        lines = call("ipvsadm", "-Sn").splitlines()
        own = [line.strip() for line in lines if not re.search(r"-f |192\.0\.2\.|2001:db8:2:", line)]
        self.source = source
        self.virtual = [line for line in own if line.startswith("-A ")]
        self.real = [line for line in own if line.startswith("-a ")]

    def apply(self, *lines: str) -> str:
        for line in lines:
            call("ipvsadm", *line.split())
        return f"ipvsadm {'; '.join(lines)}"

    @staticmethod
    def key(line: str) -> str:
        return " ".join(line.split()[1:3])


def real_server_removed(scene: Scene, source: Random) -> str | None:
    servers = Servers(source)
    if not servers.real:
        return None
    words = source.choice(servers.real).split()
    return servers.apply(f"-d {' '.join(words[1:5])}")


def real_server_reweighted(scene: Scene, source: Random) -> str | None:
    servers = Servers(source)
    if not servers.real:
        return None
    line = source.choice(servers.real)
    weight = "-w 0" if "-w 5" in line else "-w 5"
    return servers.apply(re.sub(r"-w \d+", weight, line).replace("-a", "-e", 1))


def real_server_forwarded_otherwise(scene: Scene, source: Random) -> str | None:
    """As a direct route, which takes the port of the virtual server: so only where that is the same."""
    servers = Servers(source)
    same = [line for line in servers.real if line.split()[2].rsplit(":", 1)[1] == line.split()[4].rsplit(":", 1)[1]]
    return servers.apply(source.choice(same).replace("-a", "-e", 1).replace(" -m ", " -g ")) if same else None


def real_server_added(scene: Scene, source: Random) -> str | None:
    servers = Servers(source)
    if not servers.virtual:
        return None
    key = servers.key(source.choice(servers.virtual))
    host = "[fd00:244:9::9]:99" if "[" in key else "10.244.9.9:99"
    return servers.apply(f"-a {key} -r {host} -m -w 1")


def virtual_server_removed(scene: Scene, source: Random) -> str | None:
    servers = Servers(source)
    return servers.apply(f"-D {servers.key(source.choice(servers.virtual))}") if servers.virtual else None


def virtual_server_edited(scene: Scene, source: Random) -> str | None:
    """Another scheduler, or another time of persistence."""
    servers = Servers(source)
    if not servers.virtual:
        return None
    line = source.choice(servers.virtual)
    scheduler = "rr" if "-s rr" not in line else "wrr"
    options = source.choice([f"-s {scheduler}", f"{re.sub(' -p [0-9]+| -M .*', '', ' '.join(line.split()[3:]))} -p 77"])
    return servers.apply(f"-E {servers.key(line)} {options}")


def virtual_server_added(scene: Scene, source: Random) -> str:
    """Nobody knows whose: it is to stay."""
    return Servers(source).apply(f"-A -t 192.0.2.200:{source.randint(1, 65535)} -s rr")


def virtual_servers_cleared(scene: Scene, source: Random) -> str:
    """With those that are foreign."""
    return Servers(source).apply("-C")


def ipvs_timeouts_changed(scene: Scene, source: Random) -> str | None:
    wanted = scene.compiled().ipvs_timeouts
    seconds = " ".join("77" if wanted.get(name) else "0" for name in ("tcp", "tcpfin", "udp"))
    return Servers(source).apply(f"--set {seconds}") if "77" in seconds else None


def address_removed(scene: Scene, source: Random) -> str | None:
    found = _addresses()
    return _ip(f"address delete {source.choice(found)} dev {LINK}") if found else None


def address_added(scene: Scene, source: Random) -> str | None:
    address = source.choice(("198.51.100.99/32", "2001:db8:51::99/128"))
    return _ip(f"address add {address} dev {LINK}") if address not in _addresses() else None


def addresses_flushed(scene: Scene, source: Random) -> str | None:
    return _ip(f"address flush dev {LINK}") if _addresses() else None


def link_removed(scene: Scene, source: Random) -> str:
    return _ip(f"link delete {LINK}")


def _addresses() -> list[str]:
    return re.findall(r"inet6? (\S+) scope global", call("ip", "address", "show", "dev", LINK))


def _ip(command: str) -> str:
    call("ip", *command.split())
    return f"ip {command}"


def sysctl_changed(scene: Scene, source: Random) -> str | None:
    """Any that this run or the roles set."""
    name = source.choice(sorted(scene.sysctls))
    value = {"0": "1", "1": "0"}.get(scene.sysctls[name], "77")
    sysctl_file(name).write_text(value)
    return f"{name} = {value}"


def file_deleted(scene: Scene, source: Random) -> str | None:
    found = [path for path in (FOLDER / name for name in FILES) if path.exists()]
    path = source.choice(found)
    path.unlink()
    return f"rm {path.name}"


def file_edited(scene: Scene, source: Random) -> str | None:
    """Half of it lost, or a line that means nothing."""
    found = [path for path in (FOLDER / name for name in FILES) if path.exists()]
    path = source.choice(found)
    text = path.read_text()
    path.write_text(text[: len(text) // 2] if source.random() < 0.5 else f"{text}tampered with\n")
    return f"edit {path.name}"


def drop_in_removed(scene: Scene, source: Random) -> str:
    name = source.choice(DROP_INS)
    (scene.drop_ins / name).unlink()
    return f"rm {name}"


def drop_in_edited(scene: Scene, source: Random) -> str:
    path = scene.drop_ins / source.choice(DROP_INS)
    path.write_text(path.read_text() + ("other" if path.suffix == ".conf" and "60" not in path.name else "a.b = 1\n"))
    return f"edit {path.name}"


def module_unloaded(scene: Scene, source: Random) -> str | None:
    """One that nothing uses at the moment."""
    for name in source.sample(scene.modules, len(scene.modules)):
        if name != "dummy" and not _fails("rmmod", name):
            return f"rmmod {name}"
    return None


def _fails(*argv: str) -> bool:
    return subprocess.run(argv, capture_output=True, check=False).returncode != 0
