"""Real etcds on loopback, with the verbs of LocalCluster that the tests need."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from kvlearn import connect
from kvlearn.errors import RequestError
from tests.etcd.server import free_ports

START_S = 30.0


class EtcdCluster:
    """`size` members n1 … of a cluster of their own. Ended by their process ids."""

    def __init__(self, program: str, size: int = 3, **more: str):
        """`more`: flags, with _ for -."""
        memory = Path("/dev/shm")  # a sync to memory costs nothing
        where = memory if os.access(memory, os.W_OK) else None
        self.folder = tempfile.mkdtemp(prefix="kvlearn-etcds-", dir=where)
        self.program, self._more = program, more
        self.names = tuple(f"n{number}" for number in range(1, size + 1))
        ports = free_ports(2 * size)
        self._ports = dict(zip(self.names, zip(ports[::2], ports[1::2])))
        self._processes: dict[str, subprocess.Popen] = {}
        try:
            for name in self.names:
                self._launch(name)
            self.wait_for_leader()
        except BaseException:
            self.close()
            raise

    @property
    def endpoints(self) -> tuple[str, ...]:
        return tuple(map(self.endpoint, self.names))

    def endpoint(self, name: str) -> str:
        return f"127.0.0.1:{self._ports[name][0]}"

    def _launch(self, name: str) -> None:
        client, peer = (f"http://127.0.0.1:{port}" for port in self._ports[name])
        cluster = (f"{n}=http://127.0.0.1:{peer}" for n, (_, peer) in self._ports.items())
        options = {
            "name": name,
            "data-dir": f"{self.folder}/{name}",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": ",".join(cluster),
            "heartbeat-interval": "50",
            "election-timeout": "500",
            "logger": "zap",
            "log-level": "error",
            **{flag.replace("_", "-"): value for flag, value in self._more.items()},
        }
        environment = {k: v for k, v in os.environ.items() if not k.startswith("ETCD_")}
        environment["ETCD_UNSUPPORTED_ARCH"] = "arm64"
        with open(f"{self.folder}/{name}.log", "ab") as log:
            self._processes[name] = subprocess.Popen(
                [self.program, *(f"--{flag}={value}" for flag, value in options.items())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )

    def _status(self, name: str):
        with connect(self.endpoint(name), timeout_s=0.5) as client:
            return client.status()

    @property
    def leader(self) -> str | None:
        for name in self.names:
            try:
                status = self._status(name)
            except RequestError:
                continue
            if status.leader and status.leader == status.header.member_id:
                return name
        return None

    def wait_for_leader(self) -> str:
        give_up = time.monotonic() + START_S
        while (leader := self.leader) is None:
            if time.monotonic() > give_up:
                logs = (Path(f"{self.folder}/{n}.log").read_text()[-2000:] for n in self.names)
                raise RuntimeError("no leader: " + "\n".join(logs))
            time.sleep(0.02)
        return leader

    def crash(self, name: str) -> None:
        process = self._processes[name]
        process.kill()
        process.wait()

    def restart(self, name: str) -> None:
        """Start it again; returns when it answers."""
        self._launch(name)
        give_up = time.monotonic() + START_S
        while True:
            try:
                self._status(name)
                return
            except RequestError:
                if time.monotonic() > give_up:
                    raise

    def pause(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self._processes[name].send_signal(signal.SIGCONT)

    def client(self, name: str | None = None, **more):
        endpoints = [self.endpoint(name)] if name else self.endpoints
        return connect(endpoints, write=True, **more)

    def close(self) -> None:
        for name in self._processes:
            self.crash(name)
        shutil.rmtree(self.folder, ignore_errors=True)
