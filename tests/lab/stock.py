# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: (c) 2026, kubenode.proxy contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Debian's stock kernel under QEMU, without the help of the processor: it has IPVS and nf_tables both, but is slow."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from . import host
from .host import LabError

PROGRAMS = ("qemu-system-x86_64", "depmod")
# What it takes to reach the host's files and the bridge.
BOOT_MODULES = ("virtio_pci", "9pnet_virtio", "9p", "overlay", "virtio_net", "virtio_rng")
INITRAMFS = "stock.initramfs"
MACHINE = (
    *("-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max", "-smp", "1", "-M", "q35,usb=off,smbus=off,vmport=off"),
    *("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"),
    *("-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap"),
    *("-device", "virtio-9p-pci,fsdev=host,mount_tag=host", "-device", "virtio-rng-pci"),
)
KERNEL_OPTIONS = (
    "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off nokaslr tsc=reliable nowatchdog random.trust_cpu=on "
    "cryptomgr.notests"
)


def release(kernel: Path) -> str:
    """The version of an unpacked kernel."""
    found = sorted(path.name.partition("-")[2] for path in kernel.glob("boot/vmlinuz-*"))
    if not found:
        raise LabError(f"there is no kernel in {kernel}: make stock-kernel unpacks one")
    return found[-1]


def make_initramfs(kernel: Path, lab: Path) -> None:
    """Put the initramfs for the kernel into the lab's directory."""
    tree = lab / "initramfs"
    (tree / "modules").mkdir(parents=True)
    (tree / "bin").mkdir()
    order = []
    for module in BOOT_MODULES:
        shown = host.run(["modprobe", "-d", str(kernel), "-S", release(kernel), "--show-depends", module])
        for path in (Path(line.split()[1]) for line in shown.splitlines() if line.startswith("insmod ")):
            if path.name not in order:
                order.append(path.name)
                shutil.copy(path, tree / "modules")
    (tree / "modules/order").write_text("".join(f"{name}\n" for name in order))
    busybox = shutil.which("busybox", path=host.SEARCH_PATH)
    assert busybox
    shutil.copy(busybox, tree / "bin/busybox")
    (tree / "bin/sh").symlink_to("busybox")
    shutil.copy(lab / "guest/stock-init", tree / "init")
    host.run(["sh", "-c", f"cd {tree} && find . | busybox cpio -o -H newc >{lab / INITRAMFS} 2>/dev/null"])
    shutil.rmtree(tree)


def command(kernel: Path, lab: Path, memory: str, devices: Sequence[tuple[str, str]], options: str) -> list[str]:
    """The process of a guest. devices: tap and MAC address of each."""
    network = [
        word
        for number, (tap, mac) in enumerate(devices)
        for word in (
            *("-netdev", f"tap,id=net{number},ifname={tap},script=no,downscript=no"),
            *("-device", f"virtio-net-pci,netdev=net{number},mac={mac},romfile="),
        )
    ]
    return [
        *("qemu-system-x86_64", *MACHINE, "-m", memory, *network),
        *("-kernel", str(kernel / "boot" / f"vmlinuz-{release(kernel)}"), "-initrd", str(lab / INITRAMFS)),
        *("-append", f"{KERNEL_OPTIONS} {options}"),
    ]
