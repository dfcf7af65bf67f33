"""A member as a process of its own, seen from the program that started it.

    Process ── standard input ──▶  orders, one line of JSON each; its end is the member's end
            ◀─ standard output ──  "ready", and answers to orders
               standard error ──▶  the member's log, a file

The pipe is the lifeline: however this program ends, the system closes it, and the member stops. A
member that is paused then is woken by the system (its process group has become an orphan).

A process group of its own keeps Ctrl-C in a terminal from reaching the members: whoever started
them decides.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from kvlearn.errors import KVLearnError
from kvlearn.live.config import MemberConfig

PACKAGE = Path(__file__).resolve().parents[2]
COMMAND = (sys.executable, "-m", "kvlearn.cli.node")
ORDER_S = 2.0  # for an answer to an order


class MemberDown(KVLearnError):
    """The process is not there, does not answer, or did not start; the text says why."""


class Process:
    """One life of one member. Invariant: `ended` is set once the process is gone."""

    def __init__(self, config: MemberConfig, log_file: Path, command: tuple[str, ...] = COMMAND):
        """Start it. `ready` is set when it serves, `ended` when it is gone."""
        self.name = config.name
        self.log_file = log_file
        self.paused = False
        self.ready, self.ended = threading.Event(), threading.Event()
        self.ended_s = 0.0  # on the monotonic clock
        self._answers: dict[int, dict] = {}
        self._came = threading.Condition()
        self._orders = 0
        with log_file.open("ab") as log:
            self._log_from = log.tell()
            more: dict[str, Any] = {"process_group": 0} if os.name == "posix" else {}
            self._child = subprocess.Popen(
                [*command, "--lifeline", *config.flags()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=surroundings(),
                **more,
            )
        threading.Thread(target=self._listen, name=f"{self.name} answers", daemon=True).start()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def alive(self) -> bool:
        """Whether the process exists; a paused one does."""
        return self._child.poll() is None

    def _listen(self) -> None:
        for line in self._child.stdout:
            try:
                told = json.loads(line)
            except ValueError:
                continue  # cut off by the end of the process
            if told.get("ready"):
                self.ready.set()
            elif "id" in told:
                with self._came:
                    self._answers[told.pop("id")] = told
                    self._came.notify_all()
        self._child.wait()
        self.ended_s = time.monotonic()
        self.ended.set()
        with self._came:
            self._came.notify_all()

    def order(self, op: str, wait_s: float = ORDER_S, **more: Any) -> dict[str, Any]:
        """Tell the member something, and wait for its answer; `wait_s` 0: do not wait.

        Raises: MemberDown.
        """
        with self._came:
            self._orders += 1
            number = self._orders
            line = json.dumps({"id": number, "op": op, **more}) + "\n"
            try:
                self._child.stdin.write(line.encode())
                self._child.stdin.flush()
            except (OSError, ValueError):
                raise MemberDown(f"{self.name} is down") from None
            if not wait_s:
                return {}
            came = self._came.wait_for(
                lambda: number in self._answers or self.ended.is_set(), wait_s
            )
            if number in self._answers:
                return self._answers.pop(number)
        what = "is down" if came else f"does not answer within {wait_s:g} s"
        raise MemberDown(f"{self.name} {what}")

    def wait_ready(self, until_s: float) -> None:
        """Wait until it serves, at most until that time of the monotonic clock.

        Raises: MemberDown with the last words of its log.
        """
        while not self.ready.wait(0.02):
            if self.ended.is_set():
                raise MemberDown(f"{self.name} did not start: {self.last_words()}")
            if time.monotonic() > until_s:
                raise MemberDown(f"{self.name} did not start in time: {self.last_words()}")

    def last_words(self) -> str:
        """How this life ended: by which signal, or what it said last in its log."""
        status = self._child.poll()
        if status is not None and status < 0:
            return f"it was ended by {signal.Signals(-status).name}"
        with self.log_file.open("rb") as log:
            log.seek(self._log_from)
            lines = log.read().decode(errors="replace").strip().splitlines()
        for line in reversed(lines):
            if line.startswith("kvlearn: "):
                return line.removeprefix("kvlearn: ")
        if not lines:
            return f"it said nothing (see {self.log_file})"
        try:
            told = json.loads(lines[-1])
            return f"{told['msg']} (see {self.log_file})"
        except (ValueError, KeyError, TypeError):
            return f"{lines[-1]} (see {self.log_file})"

    # How it ends ------------------------------------------------------------------------------

    def kill(self) -> None:
        """End it at once (SIGKILL), and wait until it is gone."""
        if self.alive:
            self._child.kill()
        self.paused = False
        self._wait(None)

    def stop(self, within_s: float = 10.0) -> None:
        """End it in order, or at once if that takes too long."""
        self.resume()
        if self.alive and os.name == "posix":
            self._child.terminate()  # and no more: a second reason to end would end it at once
        else:
            self._hang_up()
        if not self._wait(within_s):
            self.kill()

    def _hang_up(self) -> None:
        try:
            self._child.stdin.close()
        except OSError:
            pass  # it is gone already

    def _wait(self, within_s: float | None) -> bool:
        gone = self.ended.wait(within_s)
        if gone:
            self._hang_up()
        return gone

    def pause(self) -> None:
        """Stop it where it is (SIGSTOP). Raises: ValueError where the system cannot."""
        if not hasattr(signal, "SIGSTOP"):
            raise ValueError("this system cannot pause a process; crash it instead")
        os.kill(self.pid, signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        """Let it go on."""
        if self.paused and self.alive:
            os.kill(self.pid, signal.SIGCONT)
        self.paused = False


def surroundings() -> dict[str, str]:
    """The environment of a member: this kvlearn, and no flags from elsewhere."""
    env = {name: told for name, told in os.environ.items() if not name.startswith("ETCD_")}
    path = [str(PACKAGE), *filter(None, [env.get("PYTHONPATH")])]
    return {**env, "PYTHONPATH": os.pathsep.join(path), "PYTHONUNBUFFERED": "1"}


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody listens on; all are held until the last is found."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def running(pid: int, mark: str) -> bool:
    """Whether that process runs and has `mark` on its command line, as far as one can know."""
    try:
        os.kill(pid, 0)
    except OSError:  # it is gone, or it is somebody else's now
        return False
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return not Path("/proc/self").exists()
    return mark.encode() in line and state != "Z"
