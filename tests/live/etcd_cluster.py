"""Real etcds on loopback, with the verbs of LocalCluster that the tests need."""

from __future__ import annotations

import os
import signal
import time

from kvlearn import connect
from kvlearn.cli.bench_peers import Members
from kvlearn.errors import RequestError

START_S = 30.0


class EtcdCluster(Members):
    """`size` members n1 … of a cluster of their own that serves. `more`: flags, with _ for -."""

    def __init__(self, program: str, size: int = 3, **more: str):
        memory = "/dev/shm"  # a sync to memory costs nothing
        more = dict(heartbeat_interval="50", election_timeout="500", logger="zap") | more
        more.setdefault("log_level", "error")
        flags = (f"--{flag.replace('_', '-')}={value}" for flag, value in more.items())
        where = memory if os.access(memory, os.W_OK) else None
        super().__init__([program], size, *flags, folder=where)
        try:
            self.start()
            self.wait_for_leader()
        except BaseException:
            self.close()
            raise

    @property
    def endpoints(self) -> tuple[str, ...]:
        return tuple(map(self.endpoint, self.names))

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
                logs = (self.log(name)[-2000:] for name in self.names)
                raise RuntimeError("no leader: " + "\n".join(logs))
            time.sleep(0.02)
        return leader

    def crash(self, name: str) -> None:
        self.kill(name)

    def restart(self, name: str) -> None:
        """Start it again; returns when it answers."""
        self.start(name)
        give_up = time.monotonic() + START_S
        while True:
            try:
                self._status(name)
                return
            except RequestError:
                if time.monotonic() > give_up:
                    raise

    def pause(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGSTOP)

    def resume(self, name: str) -> None:
        self.processes[name].send_signal(signal.SIGCONT)

    def client(self, name: str | None = None, **more):
        endpoints = [self.endpoint(name)] if name else self.endpoints
        return connect(endpoints, write=True, **more)

    def close(self) -> None:
        self.stop()
