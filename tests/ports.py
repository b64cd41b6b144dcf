"""Ports that something listens on, as the kernel of Linux lists them. Nothing here is a test."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import NamedTuple

LISTENS = "0A"


class Address(NamedTuple):
    """An address and a port."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it."""
        host = ipaddress.ip_address(self.host)
        if isinstance(host, ipaddress.IPv6Address) and host.ipv4_mapped:
            return host.ipv4_mapped.is_loopback
        return host.is_loopback


def listening() -> set[Address]:
    """All of this machine."""
    found = set()
    for name in ("tcp", "tcp6"):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if state == LISTENS:
                host, port = local.split(":")
                words = [bytes.fromhex(host[i : i + 8])[::-1] for i in range(0, len(host), 8)]
                found.add(Address(str(ipaddress.ip_address(b"".join(words))), int(port, 16)))
    return found
