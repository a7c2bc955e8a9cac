"""Two machines on one: network namespaces with an address each, joined by a bridge, and no way to the outside."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

NAMES = ("tkn0", "tkn1")
ADDRESSES = ("10.77.0.10", "10.77.0.11")
_BRIDGE = "tkbr0"


def inside(node: int, *, name_too: bool = False) -> list[str]:
    """What to put before a command so that it runs on a node; `ip netns exec` would hide /sys/fs/cgroup, which Slurm
    needs. With `name_too` the machine also has the node's name."""
    there = ["nsenter", f"--net=/run/netns/{NAMES[node]}"]
    return [*there, "unshare", "--uts", "sh", "-c", f'hostname {NAMES[node]}; exec "$@"', "sh"] if name_too else there


@contextmanager
def two_nodes() -> Iterator[Sequence[str]]:
    """Both nodes for as long as this is open; gives their addresses. Raises CalledProcessError without the right to."""
    _remove()
    try:
        _ip("link", "add", _BRIDGE, "type", "bridge")
        _ip("link", "set", _BRIDGE, "up")
        for name, address in zip(NAMES, ADDRESSES, strict=True):
            _ip("netns", "add", name)
            _ip("link", "add", f"{name}v", "type", "veth", "peer", "name", "eth0", "netns", name)
            _ip("link", "set", f"{name}v", "master", _BRIDGE, "up")
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            _ip("-n", name, "link", "set", "eth0", "up")
            _ip("-n", name, "link", "set", "lo", "up")
        yield ADDRESSES
    finally:
        _remove()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def _remove() -> None:
    for words in (*(("netns", "del", name) for name in NAMES), ("link", "del", _BRIDGE)):
        subprocess.run(["ip", *words], check=False, capture_output=True)
