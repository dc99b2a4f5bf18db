# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Rules as written, and as iptables-save prints them.

The tables are checked against the real tool, both back ends, by tests/integration/test_iptables_kernel.py. A written
rule is followed by its printed form, indented, unless it is printed as written.

chains   U (a user-defined chain to jump to)
sets     S4, S6 hash:ip    P4, P6 hash:ip,port    BP bitmap:port
"""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.kubenode.proxy.plugins.module_utils.state import iptables
from ansible_collections.kubenode.proxy.plugins.module_utils.state.iptables_rule import canonical, quote, split, target
from hypothesis import given
from hypothesis import strategies as st

RECORDINGS = Path(__file__).parents[3].parent / "shared" / "recordings"

IPV4 = r"""
# addresses, interfaces, protocols
-d 10.0.0.1
    -d 10.0.0.1/32
! -d 10.0.0.1 ! -s 1.2.3.4/24
    ! -s 1.2.3.0/24 ! -d 10.0.0.1/32
-s 10.0.0.1/255.255.0.0 -j ACCEPT
    -s 10.0.0.0/16 -j ACCEPT
-s 0.0.0.0/0 -d 10.0.0.0/8
    -d 10.0.0.0/8
-s 10.0.0.1/255.0.255.0
    -s 10.0.0.0/255.0.255.0
--source 10.0.0.1 --destination 10.0.0.2
    -s 10.0.0.1/32 -d 10.0.0.2/32
--src 10.0.0.1 --dst 10.0.0.2 --protocol tcp --in-interface eth0 --out-interface eth1+ --jump RETURN
    -s 10.0.0.1/32 -d 10.0.0.2/32 -i eth0 -o eth1+ -p tcp -j RETURN
-i eth0 ! -o eth1
-i +
    (empty)
! -i lo -j ACCEPT
-p 17 -j ACCEPT
    -p udp -j ACCEPT
-p TCP -j ACCEPT
    -p tcp -j ACCEPT
-p all -j ACCEPT
    -j ACCEPT
-p 0
    (empty)
-p 255
-p 200
-p 47
    -p gre
-p gre
-p icmp
! -p tcp -j ACCEPT
-p ah
-p esp
-p udplite
-p dccp
-g U
--goto U
    -g U
-j U -p tcp -d 10.0.0.1
    -d 10.0.0.1/32 -p tcp -j U
-f -j ACCEPT
! -f
-s 10.0.0.1/0
    (empty)
-i "eth0"
    -i eth0
# ports and flags of protocols
-p tcp --dport 80
    -p tcp -m tcp --dport 80
-p tcp -m comment --comment x --dport 80 -m mark --mark 1
    -p tcp -m comment --comment x -m tcp --dport 80 -m mark --mark 0x1
-m tcp -p tcp -d 10.0.0.1 --dport 80 -j U
    -d 10.0.0.1/32 -p tcp -m tcp --dport 80 -j U
-m comment --comment a -m tcp -p tcp
    -p tcp -m comment --comment a -m tcp
-p 1 --icmp-type 8
    -p icmp -m icmp --icmp-type 8
-p icmp --icmp-type echo-request
    -p icmp -m icmp --icmp-type 8
-p icmp -m icmp --icmp-type any
-p icmp -m icmp ! --icmp-type 3/4
-p sctp --dport 1
    -p sctp -m sctp --dport 1
-p sctp -m sctp --dport 80 --sport 20:30
    -p sctp -m sctp --sport 20:30 --dport 80
-p sctp -m sctp
-p udp -m udp ! --dport 53
-p udp -m udp --sport 1:65535 --dport :10
    -p udp -m udp --sport 1:65535 --dport 0:10
-p tcp -m tcp --dport 0:65535
    -p tcp -m tcp
-p tcp -m tcp --dport 5:5 --sport 80:
    -p tcp -m tcp --sport 80:65535 --dport 5
-p tcp -m tcp --destination-port 80 --source-port 90
    -p tcp -m tcp --sport 90 --dport 80
-p tcp -m tcp --dport 80 --sport 81
    -p tcp -m tcp --sport 81 --dport 80
-p tcp --syn
    -p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN
-p tcp ! --syn --dport 1
    -p tcp -m tcp --dport 1 ! --tcp-flags FIN,SYN,RST,ACK SYN
-p tcp --tcp-flags SYN,ACK SYN
    -p tcp -m tcp --tcp-flags SYN,ACK SYN
-p tcp ! --tcp-flags ALL NONE
    -p tcp -m tcp ! --tcp-flags FIN,SYN,RST,PSH,ACK,URG NONE
-p tcp --tcp-flags FIN,SYN,RST,ACK,PSH,URG SYN,FIN
    -p tcp -m tcp --tcp-flags FIN,SYN,RST,PSH,ACK,URG FIN,SYN
-p tcp --tcp-option 2
    -p tcp -m tcp --tcp-option 2
-p tcp -m mark --mark 1 --dport 80 -m comment --comment x
    -p tcp -m mark --mark 0x1 -m tcp --dport 80 -m comment --comment x
-p tcp --dport 0x50
    -p tcp -m tcp --dport 80
# multiport
-p tcp -m multiport --dports 80,443
-p tcp -m multiport --ports 80,443:500
-p udp -m multiport ! --sports 53
-p tcp -m multiport --source-ports 1
    -p tcp -m multiport --sports 1
-p tcp -m multiport --destination-port 1,2
    -p tcp -m multiport --dports 1,2
-p tcp -m multiport --port 1,2
    -p tcp -m multiport --ports 1,2
# comment
-m comment --comment ns/svc:p
    -m comment --comment "ns/svc:p"
-m comment --comment plain_-x
-m comment --comment ""
-m comment --comment "with \" quote"
-m comment --comment "back\\slash"
-m comment --comment "it's"
    -m comment --comment "it\'s"
-m comment --comment it's
    -m comment --comment "it\'s"
-m comment --comment "tab	x  y"
-m comment --comment "-j"
    -m comment --comment -j
-m comment --comment "ünïcode"
-m comment --comment a"b c"
    -m comment --comment "ab c"
-m comment --comment "a\b"
    -m comment --comment ab
-m comment --comment "!"
-m comment --comment 0x10
-m comment --comment a -m comment --comment b
-m comment --comment x -j U
# conntrack, state
-m conntrack --ctstate NEW
-m conntrack --ctstate RELATED,ESTABLISHED,DNAT
-m conntrack --ctstate ESTABLISHED,RELATED,NEW,INVALID,UNTRACKED,SNAT,DNAT
    -m conntrack --ctstate INVALID,NEW,RELATED,ESTABLISHED,UNTRACKED,SNAT,DNAT
-m conntrack ! --ctstate invalid
    -m conntrack ! --ctstate INVALID
-m state --state ESTABLISHED,RELATED
    -m state --state RELATED,ESTABLISHED
-m state ! --state NEW,INVALID
    -m state ! --state INVALID,NEW
-m conntrack --ctstate NEW --ctproto tcp --ctorigdst 10.0.0.1 ! --ctorigsrc 10.0.0.0/8
    -m conntrack --ctstate NEW --ctproto 6 ! --ctorigsrc 10.0.0.0/8 --ctorigdst 10.0.0.1
-m conntrack --ctproto 6 --ctorigdstport 80 --ctdir ORIGINAL
-m conntrack --ctstatus ASSURED,CONFIRMED --ctexpire 10:20
-m conntrack --ctdir REPLY --ctstate NEW --ctstatus NONE
    -m conntrack --ctstate NEW --ctstatus NONE --ctdir REPLY
-m conntrack --ctstate NEW,NEW
    -m conntrack --ctstate NEW
-m conntrack --ctstate NEW -m set --match-set S4 dst ! -s 10.0.0.0/8
    ! -s 10.0.0.0/8 -m conntrack --ctstate NEW -m set --match-set S4 dst
# marks
-m mark --mark 0x00004000/0x00004000
    -m mark --mark 0x4000/0x4000
-m mark ! --mark 16384/0xffffffff
    -m mark ! --mark 0x4000
-m mark --mark 0x4000
-m mark --mark 0/1
    -m mark --mark 0x0/0x1
-m mark --mark 0x10/0x0f
    -m mark --mark 0x10/0xf
-m connmark --mark 0x4000/0x4000
-m connmark ! --mark 5
    -m connmark ! --mark 0x5
-j MARK --or-mark 0x00004000
    -j MARK --set-xmark 0x4000/0x4000
-j MARK --xor-mark 0x00004000
    -j MARK --set-xmark 0x4000/0x0
-j MARK --and-mark 0xff
    -j MARK --set-xmark 0x0/0xffffff00
-j MARK --set-mark 0x4000/0x4000
    -j MARK --set-xmark 0x4000/0x4000
-j MARK --set-mark 5
    -j MARK --set-xmark 0x5/0xffffffff
-j MARK --set-mark 1/3
    -j MARK --set-xmark 0x1/0x3
-j MARK --set-xmark 0x4000/0x0
-j MARK --set-xmark 5
    -j MARK --set-xmark 0x5/0xffffffff
-j MARK --set-xmark 5/0xffffffff
    -j MARK --set-xmark 0x5/0xffffffff
-j CONNMARK --set-mark 5
    -j CONNMARK --set-xmark 0x5/0xffffffff
-j CONNMARK --or-mark 3
    -j CONNMARK --set-xmark 0x3/0x3
-j CONNMARK --xor-mark 3
    -j CONNMARK --set-xmark 0x3/0x0
-j CONNMARK --and-mark 3
    -j CONNMARK --set-xmark 0x0/0xfffffffc
-j CONNMARK --set-xmark 5/6
    -j CONNMARK --set-xmark 0x5/0x6
-j CONNMARK --set-mark 5/6
    -j CONNMARK --set-xmark 0x5/0x7
-m mark --mark 010
    -m mark --mark 0x8
# addrtype
-m addrtype --dst-type local
    -m addrtype --dst-type LOCAL
-m addrtype --dst-type LOCAL,BROADCAST
-m addrtype --dst-type BROADCAST,LOCAL
    -m addrtype --dst-type LOCAL,BROADCAST
-m addrtype ! --src-type LOCAL
-m addrtype --dst-type LOCAL --src-type LOCAL
    -m addrtype --src-type LOCAL --dst-type LOCAL
-m addrtype --dst-type XRESOLVE,NAT,THROW,PROHIBIT,UNREACHABLE,BLACKHOLE
    -m addrtype --dst-type BLACKHOLE,UNREACHABLE,PROHIBIT,THROW,NAT,XRESOLVE
-m addrtype --src-type MULTICAST,ANYCAST,BROADCAST,LOCAL,UNICAST,UNSPEC
    -m addrtype --src-type UNSPEC,UNICAST,LOCAL,BROADCAST,ANYCAST,MULTICAST
-m addrtype --dst-type LOCAL --limit-iface-in
-m addrtype --limit-iface-in --dst-type LOCAL
    -m addrtype --dst-type LOCAL --limit-iface-in
-m addrtype --src-type LOCAL ! --dst-type LOCAL
# physdev
-m physdev --physdev-in eth0
-m physdev ! --physdev-is-in
-m physdev --physdev-is-bridged
-m physdev --physdev-is-in --physdev-is-bridged ! --physdev-in eth+
    -m physdev --physdev-is-in ! --physdev-in eth+ --physdev-is-bridged
-m physdev --physdev-is-bridged --physdev-out eth0 --physdev-in eth1
    -m physdev --physdev-in eth1 --physdev-out eth0 --physdev-is-bridged
-m physdev --physdev-is-out --physdev-is-in
    -m physdev --physdev-is-in --physdev-is-out
# set
-m set --match-set S4 dst
-m set ! --match-set P4 dst,dst
-m set --match-set P4 src,dst --return-nomatch
-m set --match-set S4 src ! --update-counters
-m set --match-set S4 src --packets-gt 5
-m set --set S4 dst
    -m set --match-set S4 dst
-p tcp -m set --match-set BP dst
-m set --match-set S4 dst -m set ! --match-set P4 dst,src
# recent
-m recent --name N --set
    -m recent --set --name N --mask 255.255.255.255 --rsource
-m recent --name N --rcheck --seconds 600 --reap
    -m recent --rcheck --seconds 600 --reap --name N --mask 255.255.255.255 --rsource
-m recent --rcheck --hitcount 4 --seconds 10 --rttl
    -m recent --rcheck --seconds 10 --hitcount 4 --rttl --name DEFAULT --mask 255.255.255.255 --rsource
-m recent --update --name foo --rdest
    -m recent --update --name foo --mask 255.255.255.255 --rdest
-m recent ! --rcheck --name foo --mask 255.255.0.0
    -m recent ! --rcheck --name foo --mask 255.255.0.0 --rsource
-m recent --remove
    -m recent --remove --name DEFAULT --mask 255.255.255.255 --rsource
-m recent --set --name A --rsource
    -m recent --set --name A --mask 255.255.255.255 --rsource
-m recent --set --rdest --name R -m tcp -p tcp -j DNAT --to-destination 1.2.3.4:80
    -p tcp -m recent --set --name R --mask 255.255.255.255 --rdest -m tcp -j DNAT --to-destination 1.2.3.4:80
-m recent --rcheck --seconds 0600
    -m recent --rcheck --seconds 384 --name DEFAULT --mask 255.255.255.255 --rsource
# statistic
-m statistic --mode random --probability 0.3333333333
    -m statistic --mode random --probability 0.33333333349
-m statistic --mode random --probability 0.5
    -m statistic --mode random --probability 0.50000000000
-m statistic --mode random --probability 1
    -m statistic --mode random --probability 1.00000000000
-m statistic --mode random --probability 0.00001
    -m statistic --mode random --probability 0.00001000008
-m statistic --mode random ! --probability 0.1
    -m statistic --mode random ! --probability 0.10000000009
-m statistic --mode nth --every 3 --packet 2
-m statistic --probability 0.25 --mode random
    -m statistic --mode random --probability 0.25000000000
-m statistic --mode random --probability .5
    -m statistic --mode random --probability 0.50000000000
-m statistic --mode random --probability 1e-3
    -m statistic --mode random --probability 0.00100000016
-m statistic --mode random --probability 0.99999999999
    -m statistic --mode random --probability 1.00000000000
-m statistic --mode random --probability 0.00000000001
    -m statistic --mode random --probability 0.00000000000
-m statistic --mode random --probability 0.0909090909
    -m statistic --mode random --probability 0.09090909082
-m statistic --mode nth --every 0x3 --packet 0
    -m statistic --mode nth --every 3 --packet 0
# limit
-m limit --limit 5/min
-m limit
    -m limit --limit 3/hour
-m limit --limit 3/sec --limit-burst 7
-m limit --limit-burst 5 --limit 10/hour
    -m limit --limit 10/hour
-m limit --limit 10/day
-m limit --limit 20/minute --limit-burst 5
    -m limit --limit 20/min
-m limit --limit 60/min
    -m limit --limit 1/sec
-m limit --limit 7/min
-m limit --limit 120/min
    -m limit --limit 2/sec
-m limit --limit 4/hour --limit-burst 1
-m limit --limit 90/min
-m limit --limit 1000/min
# targets
-j REJECT
    -j REJECT --reject-with icmp-port-unreachable
-p tcp -j REJECT --reject-with tcp-reset
-j REJECT --reject-with icmp-host-unreachable
-j REJECT --reject-with port-unreach
    -j REJECT --reject-with icmp-port-unreachable
-j REJECT --reject-with host-prohib
    -j REJECT --reject-with icmp-host-prohibited
-j REJECT --reject-with admin-prohib
    -j REJECT --reject-with icmp-admin-prohibited
-j LOG
-j LOG --log-prefix "foo "
-j LOG --log-prefix foo --log-level warning
    -j LOG --log-prefix foo
-j LOG --log-level debug
    -j LOG --log-level 7
-p tcp -j DNAT --to-destination 10.0.0.1:80
-p tcp -j DNAT --to 10.0.0.1-10.0.0.9:80-90
    -p tcp -j DNAT --to-destination 10.0.0.1-10.0.0.9:80-90
-j DNAT --to-destination 10.0.0.1 --persistent --random
    -j DNAT --to-destination 10.0.0.1 --random --persistent
-j MASQUERADE
-j MASQUERADE --random-fully
-p tcp -j MASQUERADE --to-ports 1-5 --random
-p tcp -j MASQUERADE --random --to-ports 5
    -p tcp -j MASQUERADE --to-ports 5 --random
-p tcp -j MASQUERADE --to-ports 5-5
    -p tcp -j MASQUERADE --to-ports 5
-p tcp -j REDIRECT --to-port 80
    -p tcp -j REDIRECT --to-ports 80
-j REDIRECT
-p tcp -j REDIRECT --to-ports 80-90 --random
-p tcp -j DNAT --to-destination 10.0.0.1:80-80
    -p tcp -j DNAT --to-destination 10.0.0.1:80
-p tcp -j DNAT --to-destination 10.0.0.1-10.0.0.1
    -p tcp -j DNAT --to-destination 10.0.0.1
-p tcp -j DNAT --to-destination :80
-p tcp -j DNAT --to-destination 10.0.0.1:80-90/80
-p tcp -j DNAT --to-destination 10.0.0.1 --random --persistent
-j SNAT --to-source 1.2.3.4
-p tcp -j SNAT --to 1.2.3.4:5-9 --random-fully --persistent --random
    -p tcp -j SNAT --to-source 1.2.3.4:5-9 --random --random-fully --persistent
-p tcp -j U -m comment --comment late
    -p tcp -m comment --comment late -j U
# as kube-proxy writes them
-m comment --comment "kubernetes service portals" -j U
-m conntrack --ctstate NEW -m comment --comment "kubernetes load balancer firewall" -j U
-m comment --comment "ns/svc cluster IP" -m tcp -p tcp -d 10.96.0.10 --dport 80 ! -s 10.244.0.0/16 -j U
    ! -s 10.244.0.0/16 -d 10.96.0.10/32 -p tcp -m comment --comment "ns/svc cluster IP" -m tcp --dport 80 -j U
-m comment --comment ns/svc:p -m tcp -p tcp --dport 30080 -j U
    -p tcp -m comment --comment "ns/svc:p" -m tcp --dport 30080 -j U
-m comment --comment "block localnet" -d 127.0.0.0/8 ! -s 127.0.0.0/8 -m conntrack ! --ctstate RELATED,DNAT -j DROP
    ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment "block localnet" -m conntrack ! --ctstate RELATED,DNAT -j DROP
-m mark ! --mark 0x00004000/0x00004000 -j RETURN
    -m mark ! --mark 0x4000/0x4000 -j RETURN
-m comment --comment "ns/svc -> 10.244.1.1:80" -m statistic --mode random --probability 0.1428571429 -j U
    -m comment --comment "ns/svc -> 10.244.1.1:80" -m statistic --mode random --probability 0.14285714272 -j U
-m comment --comment a -m recent --name K --set -m tcp -p tcp -j U
    -p tcp -m comment --comment a -m recent --set --name K --mask 255.255.255.255 --rsource -m tcp -j U
-m set --match-set P4 dst,dst -m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL -j ACCEPT
"""
IPV6 = r"""
# addresses, interfaces, protocols
-d fd00::1
    -d fd00::1/128
-s FD00:0:0::1/64 ! -d ::1
    -s fd00::/64 ! -d ::1/128
-s ::/0 -d fd00::/8
    -d fd00::/8
-s ::ffff:1.2.3.4
    -s ::ffff:1.2.3.4/128
-s 1:0:0:2:0:0:0:3
    -s 1:0:0:2::3/128
-s 1:0:2:3:4:5:6:7
    -s 1:0:2:3:4:5:6:7/128
-s 64:ff9b::1.2.3.4
    -s 64:ff9b::102:304/128
-s ::1.2.3.4
    -s ::1.2.3.4/128
-s fd00::1/ffff::
    -s fd00::/16
-s fd00::1/ffff:0:ffff::
    -s fd00::/ffff:0:ffff::
-p icmpv6
    -p ipv6-icmp
-p ipv6-icmp
-p 58
    -p ipv6-icmp
-p icmp
-p ah
# ports and flags of protocols
-p icmpv6 --icmpv6-type 128
    -p ipv6-icmp -m icmp6 --icmpv6-type 128
-p ipv6-icmp -m icmp6 --icmpv6-type echo-request
    -p ipv6-icmp -m icmp6 --icmpv6-type 128
-p icmpv6 -m icmpv6 --icmpv6-type 1/4
    -p ipv6-icmp -m icmp6 --icmpv6-type 1/4
-p icmpv6 -m icmp6 ! --icmpv6-type router-solicitation
    -p ipv6-icmp -m icmp6 ! --icmpv6-type 133
-p tcp --dport 80
    -p tcp -m tcp --dport 80
# conntrack, state
-m conntrack --ctorigdst fd00::1/128 --ctstate NEW
    -m conntrack --ctstate NEW --ctorigdst fd00::1
# addrtype
-m addrtype --dst-type LOCAL ! -d ::1/128
    ! -d ::1/128 -m addrtype --dst-type LOCAL
# set
-m set --match-set P6 dst,dst
# recent
-m recent --name N --set
    -m recent --set --name N --mask ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff --rsource
-m recent --name N --rcheck --seconds 600 --reap --mask ffff:ffff:ffff:ffff::
    -m recent --rcheck --seconds 600 --reap --name N --mask ffff:ffff:ffff:ffff:: --rsource
# statistic
-m statistic --mode random --probability 0.142857142
    -m statistic --mode random --probability 0.14285714179
# targets
-j REJECT
    -j REJECT --reject-with icmp6-port-unreachable
-j REJECT --reject-with icmp6-adm-prohibited
-j REJECT --reject-with adm-prohibited
    -j REJECT --reject-with icmp6-adm-prohibited
-j REJECT --reject-with no-route
    -j REJECT --reject-with icmp6-no-route
-j REJECT --reject-with port-unreach
    -j REJECT --reject-with icmp6-port-unreachable
-j REJECT --reject-with addr-unreach
    -j REJECT --reject-with icmp6-addr-unreachable
-p tcp -j DNAT --to-destination [fd00::1]:80
-j DNAT --to-destination fd00::1
-j DNAT --to-destination FD00::1
    -j DNAT --to-destination fd00::1
-p tcp -j DNAT --to-destination [FD00:0::1]:80
    -p tcp -j DNAT --to-destination [fd00::1]:80
-j SNAT --to-source fd00::5
-p tcp -j SNAT --to-source [fd00::1-fd00::5]:80-90
-p tcp -j REDIRECT --to-ports 80
-j MASQUERADE --random-fully
-p tcp -j MASQUERADE --to-ports 80 --random
"""
# Not loadable without the kernel module xt_ipvs, or without an accounting object.
UNTESTED = r"""
-m ipvs --vaddr 10.0.0.1 --vproto tcp --vport 80 -j DROP
    -m ipvs --vproto 6 --vaddr 10.0.0.1 --vport 80 -j DROP
-s 203.0.113.10 -m ipvs --vaddr 203.0.113.10/32 --vproto SCTP --vport 443
    -s 203.0.113.10/32 -m ipvs --vproto 132 --vaddr 203.0.113.10 --vport 443
-m nfacct --nfacct-name bytes -j DROP
    -m nfacct --nfacct-name  bytes -j DROP
"""
# What the tables do not know stays as written, in its place.
UNKNOWN = r"""
-m string --string "a b" --algo bm -p tcp --dport 80 -j U
    -p tcp -m string --string "a b" --algo bm -m tcp --dport 80 -j U
-j NEWTARGET --option 1 ! --other "x y"
-p tcp -m newmatch --flag --value 5 -m tcp --dport 1 -j U
-m conntrack --ctnew 5 --ctstate NEW -j U
    -m conntrack --ctstate NEW --ctnew 5 -j U
-s some.host.name -p tcp --dport http
    -s some.host.name -p tcp -m tcp --dport http
"""


def table(text: str) -> list[tuple[str, str]]:
    """Pairs (as written, as printed)."""
    rows: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith("    "):
            rows[-1] = (rows[-1][0], line.strip().replace("(empty)", ""))
        elif line and not line.startswith("#"):
            rows.append((line, line))
    return rows


@pytest.mark.parametrize(("written", "printed"), table(IPV4 + UNTESTED + UNKNOWN))
def test_printed_form_ipv4(written: str, printed: str) -> None:
    assert canonical(written, "ipv4") == printed
    assert canonical(printed, "ipv4") == printed


@pytest.mark.parametrize(("written", "printed"), table(IPV6))
def test_printed_form_ipv6(written: str, printed: str) -> None:
    assert canonical(written, "ipv6") == printed
    assert canonical(printed, "ipv6") == printed


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recordings here")
def test_what_kube_proxy_s_rules_look_like_when_saved_is_canonical() -> None:
    rules = {
        (rule, family)
        for name, family in (("iptables", "ipv4"), ("ip6tables", "ipv6"))
        for path in RECORDINGS.glob(f"*/v*/*/{name}.rules")
        for chains in iptables.parse(path.read_text()).values()
        for chain in chains.values()
        for rule in chain.rules
    }
    assert len(rules) > 1000
    assert [rule for rule, family in sorted(rules) if canonical(rule, family) != rule] == []


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ('-m comment --comment "open', "a quote is open"),
        ('-m comment --comment "open\\"', "a quote is open"),
        ("-j ACCEPT\n-A INPUT -j DROP", "one line"),
        ("-s 10.0.0.1,10.0.0.2 -j DROP", "one address"),
        ("--dport 80 -p tcp", "--dport: nothing before it"),
        ("-A INPUT -j DROP", "-A: nothing before it"),
    ],
)
def test_text_that_cannot_be_one_rule_is_refused(rule: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        canonical(rule, "ipv4")


@pytest.mark.parametrize(
    ("rule", "jumps_to"),
    [
        ("-j ACCEPT", "ACCEPT"),
        ("-p tcp -m tcp --dport 80 -g KUBE-A", "KUBE-A"),
        ("-j DNAT --to-destination 10.0.0.1:80", "DNAT"),
        ('-m comment --comment "go -j DROP \\" -j LOG" -j KUBE-A', "KUBE-A"),
        ('-m comment --comment "no target -j DROP"', ""),
        ("-p tcp", ""),
        ("", ""),
    ],
)
def test_target(rule: str, jumps_to: str) -> None:
    assert target(rule) == jumps_to


def test_split_undoes_quoting_as_iptables_restore_does() -> None:
    assert split(r'-m comment --comment "a \"b\" \\ c" x"y z"w \t') == [
        "-m", "comment", "--comment", 'a "b" \\ c', "xy z", "w", "\\t",
    ]  # fmt: skip


@given(st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"])))
def test_quote_and_split_round_trip(text: str) -> None:
    assert split(f"-m comment --comment {quote(text)} -j U") == ["-m", "comment", "--comment", text, "-j", "U"]
    rule = f"-m comment --comment {quote(text)} -j U"
    assert canonical(rule, "ipv4") == rule


@given(st.text("ab-!/:.,='\\\" 1", max_size=12), st.sampled_from(["-m", "-j", "-p", "-s", "--dport", "-m tcp", "! -d"]))
def test_canonical_is_idempotent_on_any_text(text: str, before: str) -> None:
    try:
        once = canonical(f"-p tcp {before} {text}", "ipv4")
    except ValueError:
        return
    assert canonical(once, "ipv4") == once
