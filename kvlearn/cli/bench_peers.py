"""Clusters to measure side by side: kvlearn's members, etcd's, PySyncObj's, each three processes.

kvlearn's member understands etcd's flags, so one class starts either. All are durable, on loopback,
with etcd's default timers, and are ended by their own process ids.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from kvlearn.live.process import free_ports

SIZE = 3
START_S = 30.0  # for a cluster to serve
KVLEARN = (sys.executable, "-m", "kvlearn", "node")


def etcd_program() -> str | None:
    """The real etcd: the one that KVLEARN_ETCD names, or the one on the PATH."""
    return shutil.which(os.environ.get("KVLEARN_ETCD") or "etcd")


class Members:
    """Members n1 … of kvlearn or of etcd, started by etcd's flags. Invariant: what runs, or was
    paused, is in `processes`."""

    def __init__(
        self,
        command: Iterable[str],
        size: int = SIZE,
        *flags: str,
        folder: str | Path | None = None,
        schemes: tuple[str, str] = ("http", "http"),
        own: Mapping[str, Iterable[str]] | None = None,
    ):
        """`flags` are more of them, for all but those members that have `own` ones. `folder`: where
        a temporary one for all that they keep is made. `schemes`: for clients and for peers."""
        self.command, self.flags, self._own = tuple(command), flags, own or {}
        self.folder = Path(tempfile.mkdtemp(prefix="kvlearn-members-", dir=folder))
        ports = free_ports(2 * size)
        self.names = tuple(f"n{number}" for number in range(1, size + 1))
        self._schemes = schemes
        self._client, self._peer = (dict(zip(self.names, ports[k::2])) for k in (0, 1))
        self.processes: dict[str, subprocess.Popen] = {}

    def start(self, *names: str) -> None:
        """Start members (all, if none is named); they begin to serve some time later."""
        # What is installed has its bytecode beside it: no start compiles everything again. What
        # the surroundings tell an etcd is not for these.
        env = {k: v for k, v in os.environ.items() if not k.startswith("ETCD_")}
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        env["ETCD_UNSUPPORTED_ARCH"] = "arm64"  # it wants to be told so there
        for name in names or self.names:
            with (self.folder / f"{name}.log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    [*self.command, *self._flags(name)], stdin=subprocess.DEVNULL,
                    stdout=log, stderr=log, start_new_session=True, env=env,
                )  # fmt: skip

    def _flags(self, name: str) -> list[str]:
        client = f"{self._schemes[0]}://{self.endpoint(name)}"
        flags = {
            "name": name,
            "data-dir": str(self.folder / name),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": self.peer_url(name),
            "initial-advertise-peer-urls": self.peer_url(name),
            "initial-cluster": ",".join(f"{n}={self.peer_url(n)}" for n in self.names),
            "initial-cluster-state": "new",
        }
        told = [f"--{flag}={setting}" for flag, setting in flags.items()]
        return [*told, *self._own.get(name, self.flags)]

    def endpoint(self, name: str) -> str:
        """host:port for clients."""
        return f"127.0.0.1:{self._client[name]}"

    def peer_url(self, name: str) -> str:
        """Where the others find it."""
        return f"{self._schemes[1]}://127.0.0.1:{self._peer[name]}"

    def kill(self, name: str) -> None:
        """kill -9, if it runs."""
        if process := self.processes.pop(name, None):
            process.kill()
            process.wait()

    def resident_bytes(self, name: str) -> int:
        """Memory that a member has in use, shared pages of its files included. Linux."""
        status = Path(f"/proc/{self.processes[name].pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) * 1024

    def stop(self) -> None:
        """End what runs, and remove what it wrote."""
        for name in list(self.processes):
            self.kill(name)
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self, name: str) -> str:
        """What a member has said."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def __enter__(self) -> Members:
        self.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self.stop()


def until(holds: Callable[[], Any], what: str, timeout_s: float = START_S) -> Any:
    """What `holds()` gives as soon as it is true. Raises: TimeoutError."""
    give_up = time.monotonic() + timeout_s
    while not (given := holds()):
        if time.monotonic() > give_up:
            raise TimeoutError(f"{what}: not within {timeout_s:g} s")
        time.sleep(0.002)
    return given


# One process of PySyncObj: a dictionary with a journal; the leader puts under load and reports.
_PYSYNCOBJ = """
import json, sys, time
from pysyncobj import SyncObj, SyncObjConf
from pysyncobj.batteries import ReplDict
me, others, journal, in_flight, count, size = json.loads(sys.argv[1])
held = ReplDict()
conf = SyncObjConf(journalFile=journal, fullDumpFile=journal + ".dump")
sync = SyncObj(me, others, consumers=[held], conf=conf)
sync.waitReady()
while sync._getLeader() is None:
    time.sleep(0.01)
if not sync._isLeader():
    sys.stdin.read()
    sys.exit()
value, state = "x" * size, {"sent": 0, "done": 0}
def put():
    if state["sent"] < count:
        state["sent"] += 1
        held.set("key", value, callback=done)
def done(result, error):
    state["done"] += error == 0
    state["failed"] = state.get("failed", 0) + (error != 0)
    put()
start = time.perf_counter()
for _ in range(in_flight):
    put()
while state["done"] + state.get("failed", 0) < count:
    time.sleep(0.001)
print(json.dumps({"s": time.perf_counter() - start, **state}), flush=True)
sys.stdin.read()
"""


def pysyncobj_puts(in_flight: int, count: int, value_bytes: int) -> float:
    """Replicated puts a second of PySyncObj with its journal, from within its leader."""
    folder = Path(tempfile.mkdtemp(prefix="kvlearn-bench-"))
    addresses = [f"127.0.0.1:{port}" for port in free_ports(SIZE)]
    processes = []
    try:
        for k, me in enumerate(addresses):
            others = [address for address in addresses if address != me]
            given = [me, others, str(folder / f"journal{k}"), in_flight, count, value_bytes]
            processes.append(
                subprocess.Popen(
                    [sys.executable, "-c", _PYSYNCOBJ, json.dumps(given)], text=True,
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                )  # fmt: skip
            )
        return count / _first_report(processes)["s"]
    finally:
        for process in processes:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _first_report(processes: list[subprocess.Popen]) -> dict:
    from selectors import EVENT_READ, DefaultSelector

    with DefaultSelector() as ready:
        for process in processes:
            ready.register(process.stdout, EVENT_READ)
        for key, _ in ready.select(timeout=120):
            return json.loads(key.fileobj.readline())
    raise TimeoutError("PySyncObj has not come to an end within 120 s")
