# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
# Do not use this from other collections or standalone plugins/modules!
"""How ``iptables-save`` prints the matches and targets of a rule: tables, per option and in printing order.

Source of the tables: the tool itself (iptables 1.8.9, both back ends, ip and ip6); the integration tests load rules and
compare. Only xt_ipvs could not be loaded there: its rows follow what kube-proxy's rules looked like when saved.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from typing import NamedTuple

IPV6 = "ipv6"
ALL_BITS = 0xFFFFFFFF
NOT_A_WORD = re.compile(r'[ \t"]|^!?$')
PLAIN = re.compile(r"[A-Za-z0-9_-]+")
ESCAPED = re.compile(r"[\"\\']")
ESCAPE = r"\\\g<0>"

PROTOCOLS = {
    "icmp": 1,
    "tcp": 6,
    "udp": 17,
    "dccp": 33,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmpv6": 58,
    "ipv6-icmp": 58,
    "sctp": 132,
    "udplite": 136,
}
PROTOCOL_NAMES = {number: name for name, number in PROTOCOLS.items()}
# Matches that an option of theirs loads when only the protocol is given.
PROTOCOL_MATCHES = {"tcp": "tcp", "udp": "udp", "sctp": "sctp", "icmp": "icmp", "ipv6-icmp": "icmp6"}
MATCH_NAMES = {"icmpv6": "icmp6"}
STATES = "INVALID,NEW,RELATED,ESTABLISHED,UNTRACKED,SNAT,DNAT"
STATUSES = "EXPECTED,SEEN_REPLY,ASSURED,CONFIRMED"
ADDRESS_TYPES = "UNSPEC,UNICAST,LOCAL,BROADCAST,ANYCAST,MULTICAST,BLACKHOLE,UNREACHABLE,PROHIBIT,THROW,NAT,XRESOLVE"
TCP_FLAGS = "FIN,SYN,RST,PSH,ACK,URG"
LOG_LEVELS = ("emerg", "alert", "crit", "error", "warning", "notice", "info", "debug")
ICMP_TYPES = {
    "ipv4": {
        "echo-reply": "0",
        "destination-unreachable": "3",
        "redirect": "5",
        "echo-request": "8",
        "time-exceeded": "11",
    },
    "ipv6": {
        "destination-unreachable": "1",
        "packet-too-big": "2",
        "time-exceeded": "3",
        "parameter-problem": "4",
        "echo-request": "128",
        "echo-reply": "129",
        "router-solicitation": "133",
        "router-advertisement": "134",
        "neighbour-solicitation": "135",
        "neighbour-advertisement": "136",
    },
}
REJECTS = {
    "ipv4": {
        "net-unreach": "icmp-net-unreachable",
        "host-unreach": "icmp-host-unreachable",
        "proto-unreach": "icmp-proto-unreachable",
        "port-unreach": "icmp-port-unreachable",
        "net-prohib": "icmp-net-prohibited",
        "host-prohib": "icmp-host-prohibited",
        "admin-prohib": "icmp-admin-prohibited",
        "tcp-rst": "tcp-reset",
    },
    "ipv6": {
        "no-route": "icmp6-no-route",
        "adm-prohibited": "icmp6-adm-prohibited",
        "addr-unreach": "icmp6-addr-unreachable",
        "port-unreach": "icmp6-port-unreachable",
        "policy-fail": "icmp6-policy-fail",
        "reject-route": "icmp6-reject-route",
    },
}
# Unit as written (or its beginning), as printed, and in ticks of 0.1 ms, as libxt_limit keeps a rate.
PERIODS = (
    ("day", "day", 864_000_000),
    ("hour", "hour", 36_000_000),
    ("minute", "min", 600_000),
    ("second", "sec", 10_000),
)


class Option(NamedTuple):
    """An option of a match or a target.

    ``names`` are its spellings; the first is printed, unless ``printed`` says otherwise. Each of ``values`` turns one
    value, as written, into what is printed, for an address family. "" as written asks for the default; "" to print says
    that the option is not printed. An error (ValueError, LookupError, ArithmeticError) keeps the value as written.
    """

    names: tuple[str, ...]
    values: tuple[Callable[[str, str], str], ...] = ()
    printed: str = ""


class Extension(NamedTuple):
    """A match or target.

    Its options in printing order, and groups of options of which the first is implied where none is given.
    """

    options: tuple[Option, ...]
    implied: tuple[tuple[str, ...], ...] = ()

    def find(self, name: str) -> Option | None:
        """The option of that spelling."""
        return next((option for option in self.options if name in option.names), None)


def quote(text: str) -> str:
    """Text as ``iptables-save`` prints a comment: bare if only letters, digits, ``_``, ``-``; else quoted."""
    if PLAIN.fullmatch(text):
        return text
    return f'"{ESCAPED.sub(ESCAPE, text)}"'


def _number(text: str) -> int:
    """An integer as C reads it: decimal, 0x hexadecimal, 0 octal."""
    return int(text, 8 if re.fullmatch(r"0\d+", text) else 0)


def as_written(text: str, family: str = "") -> str:
    """A value as it is; quoted where it would not be read back as one word."""
    return quote(text) if NOT_A_WORD.search(text) else text


def _or_else(default: str) -> Callable[[str, str], str]:
    """The value, or what the tool assumes where none is given."""
    return lambda text, family: as_written(text or default)


def _unless(default: str, value: Callable[[str, str], str]) -> Callable[[str, str], str]:
    """The value, left out where it is the default."""
    return lambda text, family: "" if value(text, family) == default else value(text, family)


def _quoted(text: str, family: str) -> str:
    return quote(text)


def _decimal(text: str, family: str) -> str:
    return str(_number(text))


def _address(text: str) -> str:
    """An address as inet_ntop prints it; Python's own text differs for IPv4 inside IPv6."""
    address = ipaddress.ip_address(text)
    value = int(address)
    if address.version == 6 and value >> 32 in (0, 0xFFFF) and value >> 16:
        return ("::ffff:" if value >> 32 else "::") + str(ipaddress.IPv4Address(value & ALL_BITS))
    return str(ipaddress.IPv6Address(value)) if address.version == 6 else str(address)


def _network(text: str, family: str) -> str:
    """``-s`` and ``-d``: always with a mask, host bits cleared; a mask that is no prefix stays a mask."""
    address, _slash, mask = text.partition("/")
    kind = ipaddress.IPv6Address if family == IPV6 else ipaddress.IPv4Address
    width = 128 if family == IPV6 else 32
    if not mask or mask.isdigit():
        bits = ((1 << int(mask or width)) - 1) << (width - int(mask or width))
    else:
        bits = int(kind(mask))
    network = _address(str(kind(int(kind(address)) & bits)))
    inverse = bits ^ ((1 << width) - 1)
    if inverse & (inverse + 1):
        return f"{network}/{_address(str(kind(bits)))}"
    return f"{network}/{width - inverse.bit_length()}"


def _host(text: str, family: str) -> str:
    """An address whose full mask is not printed."""
    network = _network(text, family)
    address, _slash, prefix = network.partition("/")
    return address if prefix == ("128" if family == IPV6 else "32") else network


def _full_mask(text: str, family: str) -> str:
    if text:
        return _address(text)
    return ":".join(["ffff"] * 8) if family == IPV6 else "255.255.255.255"


def _destination(text: str, family: str) -> str:
    """``ADDRESS[-ADDRESS][:PORT[-PORT]]``, IPv6 in brackets where a port follows."""
    if text.startswith("["):
        hosts, _bracket, port = text[1:].partition("]")
    elif family == IPV6:
        hosts, port = text, ""
    else:
        hosts, colon, number = text.partition(":")
        port = colon + number
    ends = list(dict.fromkeys(_address(host) for host in hosts.split("-"))) if hosts else []
    address = "-".join(ends)
    return (f"[{address}]" if text.startswith("[") else address) + re.sub(r"^:(\d+)-\1$", r":\1", port)


def _protocol(text: str, family: str) -> str:
    number = PROTOCOLS[text.lower()] if text.lower() in PROTOCOLS else _number(text)
    return PROTOCOL_NAMES.get(number, str(number))


def _protocol_number(text: str, family: str) -> str:
    return str(PROTOCOLS[text.lower()] if text.lower() in PROTOCOLS else _number(text))


def _ports(text: str, family: str) -> str:
    """A port or ``FIRST:LAST``; all ports are the default, and not printed."""
    first, colon, last = text.partition(":")
    low, high = _number(first or "0"), _number(last or "65535") if colon else _number(first)
    if (low, high) == (0, 65535):
        return ""
    return str(low) if low == high else f"{low}:{high}"


def _port_range(text: str, family: str) -> str:
    first, _dash, last = text.partition("-")
    return as_written(first if first == last else text)


def _port_list(text: str, family: str) -> str:
    return ",".join(":".join(str(_number(port)) for port in item.split(":")) for item in text.split(","))


def _in_order(names: str, everything: str = "ALL") -> Callable[[str, str], str]:
    """A list of flags in the order of the bits that they are."""
    order = names.split(",")

    def flags(text: str, family: str) -> str:
        given = set(text.upper().split(","))
        if given == {everything}:
            return names
        if not given <= {*order, "NONE"}:
            raise ValueError(text)
        return ",".join(name for name in order if name in given) or "NONE"

    return flags


def _icmp_type(text: str, family: str) -> str:
    return ICMP_TYPES[family].get(text, as_written(text))


def _reject_with(text: str, family: str) -> str:
    return REJECTS[family].get(text or "port-unreach", as_written(text))


def _value_and_mask(text: str) -> tuple[int, int]:
    value, slash, mask = text.partition("/")
    return _number(value), _number(mask) if slash else ALL_BITS


def _mark_match(text: str, family: str) -> str:
    value, mask = _value_and_mask(text)
    return f"{value:#x}" if mask == ALL_BITS else f"{value:#x}/{mask:#x}"


def _mark(change: Callable[[int, int], tuple[int, int]]) -> Callable[[str, str], str]:
    """The target MARK: every form is printed as ``--set-xmark VALUE/MASK``: clear the bits of MASK, then xor VALUE."""

    def mark(text: str, family: str) -> str:
        value, mask = change(*_value_and_mask(text))
        return f"{value:#x}/{mask:#x}"

    return mark


def _probability(text: str, family: str) -> str:
    """The kernel keeps a multiple of 2^-31."""
    return f"{math.floor(float(text) * 0x80000000 + 0.5) / 0x80000000:.11f}"


def _rate(text: str, family: str) -> str:
    """``COUNT/UNIT`` in the smallest unit that loses little, as libxt_limit prints it; 3/hour is the default."""
    count, _slash, unit = (text or "3/hour").partition("/")
    whole = [ticks for name, _printed, ticks in PERIODS if name.startswith((unit or "second").lower())]
    period = whole[0] // int(count)
    chosen = PERIODS[0]
    for smaller in PERIODS[1:]:
        ticks = smaller[2]
        if period > ticks or ticks // period < ticks % period:
            break
        chosen = smaller
    return f"{chosen[2] // period}/{chosen[1]}"


def _log_level(text: str, family: str) -> str:
    return str(LOG_LEVELS.index(text.lower())) if text.lower() in LOG_LEVELS else str(_number(text))


def _flag(name: str, *spellings: str) -> Option:
    return Option((name, *spellings))


def _value(value: Callable[[str, str], str], name: str, *spellings: str) -> Option:
    return Option((name, *spellings), (value,))


PORT_OPTIONS = (
    _value(_ports, "--sport", "--source-port"),
    _value(_ports, "--dport", "--destination-port"),
)
NAT_FLAGS = (_flag("--random"), _flag("--random-fully"), _flag("--persistent"))
MARK_OPTIONS = (
    _value(_mark(lambda value, mask: (value, mask)), "--set-xmark"),
    Option(("--set-mark",), (_mark(lambda value, mask: (value, value | mask)),), "--set-xmark"),
    Option(("--or-mark",), (_mark(lambda value, _mask: (value, value)),), "--set-xmark"),
    Option(("--xor-mark",), (_mark(lambda value, _mask: (value, 0)),), "--set-xmark"),
    Option(("--and-mark",), (_mark(lambda value, _mask: (0, value ^ ALL_BITS)),), "--set-xmark"),
)
MATCHES = {
    "addrtype": Extension(
        (
            _value(_in_order(ADDRESS_TYPES), "--src-type"),
            _value(_in_order(ADDRESS_TYPES), "--dst-type"),
            _flag("--limit-iface-in"),
            _flag("--limit-iface-out"),
        )
    ),
    "comment": Extension((_value(_quoted, "--comment"),)),
    "connmark": Extension((_value(_mark_match, "--mark"),)),
    "conntrack": Extension(
        (
            _value(_in_order(STATES), "--ctstate"),
            _value(_protocol_number, "--ctproto"),
            _value(_host, "--ctorigsrc"),
            _value(_host, "--ctorigdst"),
            _value(_host, "--ctreplsrc"),
            _value(_host, "--ctrepldst"),
            _value(_ports, "--ctorigsrcport"),
            _value(_ports, "--ctorigdstport"),
            _value(_ports, "--ctreplsrcport"),
            _value(_ports, "--ctrepldstport"),
            _value(_in_order(STATUSES), "--ctstatus"),
            _value(as_written, "--ctexpire"),
            _value(lambda text, family: as_written(text.upper()), "--ctdir"),
        )
    ),
    "icmp": Extension((_value(_icmp_type, "--icmp-type"),)),
    "icmp6": Extension((_value(_icmp_type, "--icmpv6-type", "--icmp6-type"),)),
    # xt_ipvs prints the protocol as a number.
    "ipvs": Extension(
        (
            _flag("--ipvs"),
            _value(_protocol_number, "--vproto"),
            _value(_host, "--vaddr"),
            _value(_decimal, "--vport"),
            _value(as_written, "--vdir"),
            _value(as_written, "--vmethod"),
            _value(_decimal, "--vportctl"),
        )
    ),
    "limit": Extension(
        (_value(_rate, "--limit"), _value(_unless("5", _decimal), "--limit-burst")), implied=(("--limit",),)
    ),
    "mark": Extension((_value(_mark_match, "--mark"),)),
    "multiport": Extension(
        (
            _value(_port_list, "--sports", "--source-ports", "--source-port", "--sport"),
            _value(_port_list, "--dports", "--destination-ports", "--destination-port", "--dport"),
            _value(_port_list, "--ports", "--port"),
        )
    ),
    # libxt_nfacct prints two spaces.
    "nfacct": Extension((Option(("--nfacct-name",), (as_written,), "--nfacct-name "),)),
    "physdev": Extension(
        (
            _flag("--physdev-is-in"),
            _value(as_written, "--physdev-in"),
            _flag("--physdev-is-out"),
            _value(as_written, "--physdev-out"),
            _flag("--physdev-is-bridged"),
        )
    ),
    "recent": Extension(
        (
            *(_flag(name) for name in ("--set", "--rcheck", "--update", "--remove")),
            _value(_decimal, "--seconds"),
            _flag("--reap"),
            _value(_decimal, "--hitcount"),
            _flag("--rttl"),
            _value(_or_else("DEFAULT"), "--name"),
            _value(_full_mask, "--mask"),
            _flag("--rsource"),
            _flag("--rdest"),
        ),
        implied=(("--name",), ("--mask",), ("--rsource", "--rdest")),
    ),
    "sctp": Extension((*PORT_OPTIONS, Option(("--chunk-types",), (as_written, as_written)))),
    "set": Extension(
        (
            Option(("--match-set", "--set"), (as_written, as_written)),
            _flag("--return-nomatch"),
            _flag("--update-counters"),
            _flag("--update-subcounters"),
        )
    ),
    "state": Extension((_value(_in_order(STATES), "--state"),)),
    "statistic": Extension(
        (
            _value(as_written, "--mode"),
            _value(_probability, "--probability"),
            _value(_decimal, "--every"),
            _value(_decimal, "--packet"),
        )
    ),
    "tcp": Extension(
        (
            *PORT_OPTIONS,
            _value(_decimal, "--tcp-option"),
            Option(("--tcp-flags",), (_in_order(TCP_FLAGS), _in_order(TCP_FLAGS))),
            Option(("--syn",), (), "--tcp-flags FIN,SYN,RST,ACK SYN"),
        )
    ),
    "udp": Extension(PORT_OPTIONS),
}
TARGETS = {
    "CONNMARK": Extension(MARK_OPTIONS),
    "DNAT": Extension((_value(_destination, "--to-destination", "--to"), *NAT_FLAGS)),
    "LOG": Extension(
        (
            _value(_quoted, "--log-prefix"),
            _value(_unless("4", _log_level), "--log-level"),
            _flag("--log-tcp-sequence"),
            _flag("--log-tcp-options"),
            _flag("--log-ip-options"),
            _flag("--log-uid"),
            _flag("--log-macdecode"),
        )
    ),
    "MARK": Extension(MARK_OPTIONS),
    "MASQUERADE": Extension((_value(_port_range, "--to-ports", "--to"), *NAT_FLAGS)),
    "REDIRECT": Extension((_value(_port_range, "--to-ports", "--to-port", "--to"), *NAT_FLAGS)),
    "REJECT": Extension((_value(_reject_with, "--reject-with"),), implied=(("--reject-with",),)),
    "SNAT": Extension((_value(_destination, "--to-source", "--to"), *NAT_FLAGS)),
}
# In printing order; None for a flag.
SELECTOR_VALUES: dict[str, Callable[[str, str], str] | None] = {
    "-s": _network,
    "-d": _network,
    "-i": as_written,
    "-o": as_written,
    "-p": _protocol,
    "-f": None,
}
SELECTORS = {
    spelling: spellings[0]
    for spellings in (
        ("-s", "--source", "--src"),
        ("-d", "--destination", "--dst"),
        ("-i", "--in-interface"),
        ("-o", "--out-interface"),
        ("-p", "--protocol", "--proto"),
        ("-f", "--fragment", "--fragments"),
    )
    for spelling in spellings
}
# Values that match everything: not printed.
ANY = {
    "-s": ("0.0.0.0/0", "::/0"),
    "-d": ("0.0.0.0/0", "::/0"),
    "-i": ("+",),
    "-o": ("+",),
    "-p": ("0", "all"),
}
