"""Data-parallel processes of one machine that nobody else can reach.

By default torch's processes meet at a port that is open to every network, and so are the ports
between them. Here they meet in a file that only this user can read, and talk over loopback.

Fabric is imported with this module, which takes seconds.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import weakref
from pathlib import Path
from typing import Any

import torch.distributed
from lightning_fabric.strategies.ddp import DDPStrategy

INTERFACES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")
"""Where torch's back ends are told by which network they talk."""


class Loopback(DDPStrategy):
    """Spawned processes, as `ddp_spawn`, on this machine alone."""

    def __init__(self) -> None:
        super().__init__(start_method="spawn")
        folder = tempfile.mkdtemp(prefix="morphogen-")  # of this user alone
        self._meeting = Path(folder, "processes").as_uri()
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    def _setup_distributed(self) -> None:
        self._set_world_ranks()
        self._process_group_backend = self._get_process_group_backend()
        interface = loopback()
        if interface:
            os.environ.update(dict.fromkeys(INTERFACES, interface))
        more: dict[str, Any] = (
            {} if self.root_device.type == "cpu" else {"device_id": self.root_device}
        )
        torch.distributed.init_process_group(
            self._process_group_backend,
            init_method=self._meeting,
            rank=self.global_rank,
            world_size=self.world_size,
            timeout=self._timeout,
            **more,
        )


def loopback() -> str | None:
    """The name of this machine's loopback interface; None if it has no usual one."""
    names = [name for _, name in socket.if_nameindex()]
    return next((name for name in ("lo", "lo0") if name in names), None)
