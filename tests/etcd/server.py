"""One real etcd on loopback: found, started, waited for, ended by its process id.

KVLEARN_ETCD names the program; else `etcd` is looked for on the path.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from kvlearn.live.process import free_ports
from tests.etcd.gateway import Connection, Refused, Unreachable

START_S = 30.0  # an election among one takes at most a second; a busy machine takes longer
POLLS_S = 0.02


def find_etcd() -> str | None:
    """The path of the etcd program, or None."""
    return shutil.which(os.environ.get("KVLEARN_ETCD") or "etcd")


class Etcd:
    """A running single member. `port` speaks gRPC and, over HTTP/1.1, JSON."""

    def __init__(self, program: str):
        self.program = program
        memory = Path("/dev/shm")  # a sync to memory costs nothing
        self.folder = tempfile.mkdtemp(
            prefix="kvlearn-etcd-", dir=memory if os.access(memory, os.W_OK) else None
        )
        self.version = ""
        self._start()

    def _start(self) -> None:
        self.port, peer_port = free_ports(2)
        client, peer = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{peer_port}"
        options = {
            "data-dir": f"{self.folder}/data",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "logger": "zap",
            "log-level": "error",
            "snapshot-count": "1000000",
        }
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ETCD_")}
        environment["ETCD_UNSUPPORTED_ARCH"] = "arm64"  # 3.4 asks for it on that machine only
        with open(f"{self.folder}/log", "ab") as log:
            self.process = subprocess.Popen(
                [self.program, *(f"--{name}={value}" for name, value in options.items())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        why = f"was not ready within {START_S} s"
        for _ in range(int(START_S / POLLS_S)):
            try:
                status = Connection(self.port).post("/v3/maintenance/status", {})
            except (Unreachable, Refused):
                status = {}
            if int(status.get("leader", 0)):
                self.version = status["version"]
                return
            try:
                why = f"ended with {self.process.wait(POLLS_S)}"
                break
            except subprocess.TimeoutExpired:
                continue
        log = self.log()
        self.stop()
        raise RuntimeError(f"{self.program} {why}:\n{log}")

    def log(self) -> str:
        """The end of what it has logged."""
        return Path(self.folder, "log").read_text(errors="replace")[-4000:]

    def stop(self) -> None:
        """End it and forget its data."""
        self.process.kill()
        self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
