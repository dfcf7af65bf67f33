"""A real cluster on this machine: processes, disks and sockets, with the verbs of `Cluster`.

    with LocalCluster(3) as live:
        client = live.client()
        client.put("colour", "blue")
        live.crash(live.leader)            # kill -9
        client.get("colour").text
        live.trace, live.picture(), live.show()

    data_dir/cluster.json      names and ports: a later LocalCluster finds the same cluster again
             n1/ n2/ n3/       what each member keeps
             n1.log …          what each member logs
             events/n1.1.jsonl the first life of n1, event by event

The members end with this program, however it ends: they hold the other end of a pipe. Without a
`data_dir` all is in a temporary folder, which goes with the cluster.

Differs from the simulated cluster: time is real and does not go back, so there is no `run`, `fork`
or `rewind`; links can be cut, but not slowed; a client's way to a member is never cut.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import random
import shutil
import socket
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from kvlearn.client import Client
from kvlearn.doors import door
from kvlearn.errors import TimedOut
from kvlearn.events import Crashed, Healed, LinksCut, Paused, Resumed
from kvlearn.live.config import MemberConfig
from kvlearn.live.merge import Parts
from kvlearn.live.process import MemberDown, Process, running
from kvlearn.trace import Trace
from kvlearn.values import check_timeout

MOST_NODES = 9
PORTS = range(20_000, 32_000)  # below those that systems give to connections that go out
TRIES = 3  # with other ports, when one was taken in the meantime
LEFT_OVER_S = 5.0  # in which the members of an earlier life end by themselves
CLOSED = "this cluster was closed; make a new LocalCluster over its data_dir"
SIMULATED = ("run", "run_until", "step", "fork", "rewind", "go_to", "now", "links", "clock")
SIMULATED += ("in_flight", "drop", "deliver", "delay", "wipe", "code", "export")
LOOK_S = 0.02  # between two looks at what the members say
_DOWN = {"vote": None, "leader": None, "last": None, "commit": None, "applied": None}


class PortInUse(ValueError):
    """One of the ports that were asked for is somebody else's; the text says which."""


class LocalCluster:
    """A cluster of 1 to 9 real members, n1 … nN, each a process of its own on 127.0.0.1.

    It is started when it is made. `base_port`: n1 serves there and talks to peers on the next one,
    and so on; else free ports are found. `trace=False` writes no events, which is faster. `more`
    are fields of `MemberConfig` for all members, such as `election_ms=500`.

    Raises: ValueError for what makes no sense; MemberDown, with the reason, when a member does not
    start; then nothing is left running.
    """

    def __init__(
        self,
        size: int = 3,
        data_dir: str | Path | None = None,
        *,
        base_port: int | None = None,
        trace: bool = True,
        timeout_s: float = 30.0,
        **more: Any,
    ):
        if not isinstance(size, int) or not 1 <= size <= MOST_NODES:
            raise ValueError(
                f"a cluster has 1 to {MOST_NODES} nodes, not {size!r}: 3 or 5 are usual"
            )
        check_timeout(timeout_s)
        _check_names(more)
        self._own = data_dir is None
        self._founders: list[str] = []
        self.data_dir = Path(data_dir or tempfile.mkdtemp(prefix="kvlearn-")).absolute()
        self.timeout_s = timeout_s
        self._traced, self._more = trace, more
        self._processes: dict[str, Process] = {}
        self._cuts: set[tuple[str, str]] = set()
        self._seen: set[Process] = set()  # whose end is in the trace
        self._closed = False
        self._lock = threading.RLock()  # a panel draws in a thread of its own
        temporary = self.data_dir if self._own else None
        self._finalizer = weakref.finalize(self, _end, self._processes, temporary, os.getpid())
        try:
            self._found(size, base_port)
            self._start_founders(base_port)
        except BaseException:
            self.close()
            raise

    def _found(self, size: int, base_port: int | None) -> None:
        """Take up the cluster that the folder holds, or make a new one there."""
        try:
            (self.data_dir / "events").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"{self.data_dir} cannot hold a cluster ({error.strerror}): give another folder"
            ) from None
        self._book = self.data_dir / "cluster.json"
        book = _read(self._book)
        self._known = bool(book)
        if book:
            _refuse_left_overs(book, self.data_dir)
            if len(book["members"]) != size:
                raise ValueError(
                    f"{self.data_dir} holds a cluster of {len(book['members'])}, not {size}: say "
                    f"LocalCluster({len(book['members'])}, …) or `kvlearn cluster --size "
                    f"{len(book['members'])}`, or take another folder"
                )
        self._ports = {n: tuple(p) for n, p in book.get("members", {}).items()}
        names = [f"n{number}" for number in range(1, size + 1)]
        if not book and any((self.data_dir / name).exists() for name in names):
            raise ValueError(
                f"{self.data_dir} has members, but no cluster.json: they were not started by a "
                "LocalCluster; take another folder"
            )
        if not self._ports or base_port is not None and not self._known:
            self._ports = _ports(names, base_port)
        self._founders = book.get("founders") or list(self._ports)
        self._token = book.get("token") or f"local-{random.randrange(1 << 48):012x}"
        self._configs = {name: self._config(name) for name in self._ports}
        first = next(iter(self._configs.values()))
        about = {"nodes": list(self._ports), "config": asdict(first.raft()), "live": True}
        about["store"] = first.store().numbers
        self._parts = Parts(self.data_dir / "events", about, time.monotonic())

    def _config(self, name: str) -> MemberConfig:
        client, _ = self._ports[name]
        founds = name in self._founders
        known = self._founders if founds else self._ports
        urls = {n: (f"http://127.0.0.1:{self._ports[n][1]}",) for n in known}
        told: dict[str, Any] = {
            "name": name,
            "data_dir": self.data_dir / name,
            "listen_client_urls": (f"http://127.0.0.1:{client}",),
            "listen_peer_urls": urls[name],
            "initial_cluster": urls,
            "initial_cluster_state": "new" if founds else "existing",
            "initial_cluster_token": self._token,
        }
        if self._traced:
            told["trace_file"] = self.data_dir / "events" / f"{name}.jsonl"
        return MemberConfig(**{**told, **self._more})

    def _start_founders(self, base_port: int | None) -> None:
        for left in reversed(range(TRIES)):
            try:
                self._launch(self._configs)
                return
            except MemberDown as error:
                if self._known or base_port is not None or not left or "in use" not in str(error):
                    raise
            for process in self._processes.values():
                process.kill()
            for name in self._ports:
                shutil.rmtree(self.data_dir / name, ignore_errors=True)
            self._ports = _ports(list(self._ports), None)
            self._configs = {name: self._config(name) for name in self._ports}

    def _launch(self, names: Iterable[str]) -> None:
        """Start these members, all at once, and wait until they serve. Raises: MemberDown."""
        if self._closed:
            raise ValueError(CLOSED)
        until_s = time.monotonic() + self.timeout_s
        names = list(names)
        self._write_book()  # before anything else is there: a folder is told by it
        for name in names:
            log = self.data_dir / f"{name}.log"
            self._processes[name] = Process(self._configs[name], log)
        self._write_book()
        for name in names:
            self._processes[name].wait_ready(until_s)
        for name in names:
            self._tell_cuts(name)

    def _write_book(self) -> None:
        book = {
            "token": self._token,
            "founders": self._founders,
            "members": self._ports,
            "pids": {name: process.pid for name, process in self._processes.items()},
        }
        fresh = self._book.with_suffix(".new")
        fresh.write_text(json.dumps(book, indent=1) + "\n", encoding="utf-8")
        fresh.replace(self._book)

    def __getattr__(self, name: str) -> Any:
        if name in SIMULATED:
            why = f"time is real here: {name} is a verb of the simulated Cluster alone"
            raise AttributeError(why, name=name, obj=self)
        raise AttributeError(f"a LocalCluster has no {name!r}", name=name, obj=self)

    # Looking ----------------------------------------------------------------------------------

    @property
    def names(self) -> tuple[str, ...]:
        """The members, n1 first."""
        return tuple(self._ports)

    @property
    def closed(self) -> bool:
        """Whether it has ended for good."""
        return self._closed

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where clients are served, as `host:port`."""
        return tuple(f"127.0.0.1:{client}" for client, _ in self._ports.values())

    @property
    def now(self) -> float:
        """Seconds since the cluster was made."""
        return time.monotonic() - self._parts.zero_s

    def endpoint(self, name: str) -> str:
        """Where one member serves clients."""
        self._process(name)
        return f"127.0.0.1:{self._ports[name][0]}"

    def pid(self, name: str) -> int:
        """The number of a member's process, for `ps`, `kill` and `strace`."""
        return self._running(name).pid

    def is_alive(self, name: str) -> bool:
        """Whether a member's process exists; a paused one does."""
        return self._process(name).alive

    def last_words(self, name: str) -> str:
        """What a member said last before it ended, in one sentence."""
        return self._process(name).last_words()

    def log(self, name: str, lines: int = 20) -> str:
        """The last lines that a member logged."""
        text = self._process(name).log_file.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def _rows(self) -> list[dict[str, Any]]:
        """What each member says of itself, or what is known of one that cannot."""
        rows = []
        for name, process in self._processes.items():
            row: dict[str, Any] = {"node": name, "role": "down", "term": None, **_DOWN}
            if process.alive:
                row["role"] = "paused" if process.paused else "silent"
            if process.alive and not process.paused:
                with contextlib.suppress(MemberDown):
                    row |= process.order("status")
            rows.append({**row, "endpoint": self.endpoint(name)})
        return rows

    def status(self):
        """A pandas DataFrame, one row a node: what each believes just now."""
        import pandas

        rows = pandas.DataFrame(self._rows(), dtype=object)
        return rows.fillna("–").infer_objects().set_index("node")

    @property
    def leader(self) -> str | None:
        """The member that leads; of several that claim it, the one with the highest term."""
        claims = [(row["term"], row["node"]) for row in self._rows() if row["role"] == "leader"]
        return max(claims)[1] if claims else None

    def wait_for_leader(self, timeout_s: float = 10.0) -> str:
        """Wait until there is a leader whose term a majority is in. Raises: TimedOut."""

        def agreed() -> str | None:
            rows = [row for row in self._rows() if row["leader"]]
            for row in rows:
                if row["role"] == "leader":
                    follow = [
                        r for r in rows if (r["leader"], r["term"]) == (row["node"], row["term"])
                    ]
                    if 2 * len(follow) > len(self._processes):
                        return row["node"]
            return None

        return self.wait_until(agreed, timeout_s, "no leader")

    def wait_until(
        self, condition: Callable[[], Any], timeout_s: float = 10.0, what: str = "it was not so"
    ) -> Any:
        """Wait until `condition()` gives something true, and return that. Raises: TimedOut."""
        check_timeout(timeout_s)
        end = time.monotonic() + timeout_s
        while not (found := condition()):
            if time.monotonic() > end:
                alive = [name for name, one in self._processes.items() if one.alive]
                hint = f"running: {' '.join(alive) or 'none'} of {len(self._processes)}"
                raise TimedOut(f"{what} within {timeout_s:g} seconds", hint)
            time.sleep(LOOK_S)
        return found

    @property
    def trace(self) -> Trace:
        """What all members did, in one story; times in seconds since the cluster was made."""
        with self._lock:
            self._note_ends()
            return self._parts.trace()

    @property
    def settled(self) -> Trace:
        """The part of the story that stays as it is, as far as it was read; see `settle`."""
        return self._parts.settled

    def settle(self, within_s: float = 0.1) -> float:
        """Let the settled story grow by what is old enough; read for so many seconds at most.

        Returns up to which second all is told.
        """
        with self._lock:
            self._note_ends()
            return self._parts.settle(within_s, ended=self._closed)

    def _note_ends(self) -> None:
        for name, process in list(self._processes.items()):
            if process.ended.is_set():
                self._note_end(name, process)

    def _note_end(self, name: str, process: Process) -> None:
        """Whatever ended it, once."""
        with self._lock:
            if process not in self._seen:
                self._seen.add(process)
                self._parts.add(process.ended_s, name, Crashed(0))

    # Breaking and mending ---------------------------------------------------------------------

    def crash(self, name: str) -> None:
        """End the member's process at once (kill -9)."""
        process = self._running(name)
        process.kill()
        self._note_end(name, process)

    def restart(self, name: str) -> None:
        """Start a member again with what its disk kept; returns when it serves.

        Raises: MemberDown, with the reason, when it does not come up.
        """
        process = self._process(name)
        if process.alive:
            raise ValueError(f"{name} is running; crash it first, or resume it if it is paused")
        self._note_end(name, process)
        self._launch([name])

    def start(self) -> None:
        """Start all members that are down."""
        down = [name for name, process in self._processes.items() if not process.alive]
        for name in down:
            self._note_end(name, self._processes[name])
        self._launch(down)

    def stop(self, name: str | None = None) -> None:
        """End a member, or all of them, in order; `restart` and `start` bring them back."""
        names = [name] if name is not None else [n for n, p in self._processes.items() if p.alive]
        for one in names:
            process = self._running(one)
            process.stop()
            self._note_end(one, process)

    def pause(self, name: str) -> None:
        """Stop the member's process where it is (SIGSTOP): connections stand, nobody answers."""
        process = self._running(name)
        if process.paused:
            raise ValueError(f"{name} is paused already; resume it")
        process.pause()
        self._parts.add(time.monotonic(), name, Paused())

    def resume(self, name: str) -> None:
        """Let a paused member go on."""
        process = self._running(name)
        if not process.paused:
            raise ValueError(f"{name} is not paused")
        self._parts.add(time.monotonic(), name, Resumed())
        process.resume()

    def add_node(self, learner: bool = False) -> str:
        """Add a member and start it, as one does with `etcdctl member add`; returns its name.

        Raises: RequestError if the members do not want it; MemberDown if it does not start, and
        then `restart` tries again.
        """
        name = f"n{max(int(known[1:]) for known in self._ports) + 1}"
        if len(self._ports) >= MOST_NODES:
            raise ValueError(f"a cluster has at most {MOST_NODES} nodes")
        ports = _ports([name], None)
        with self.client(timeout_s=self.timeout_s) as client:
            client.add_member(learner=learner, peer_urls=f"http://127.0.0.1:{ports[name][1]}")
        self._ports |= ports
        self._configs[name] = self._config(name)
        self._parts.about["nodes"] = list(self._ports)
        self._launch([name])
        return name

    def partition(self, *groups: Iterable[str]) -> None:
        """Cut all links between the groups, and mend all others. Members that are not named form a
        group of their own."""
        named = [list(group) for group in groups]
        flat = [name for group in named for name in group]
        for name in flat:
            self._process(name)
        if len(flat) != len(set(flat)):
            raise ValueError("a node can be in one group only")
        named = [g for g in (*named, [n for n in self.names if n not in flat]) if g]
        if len(named) < 2:
            raise ValueError("a partition needs two groups with nodes in them at least")
        cuts = {(a, b) for group in named for a in group for b in self.names if b not in group}
        self._cut(cuts, "partition " + " ".join(f"({' '.join(group)})" for group in named))

    def isolate(self, name: str) -> None:
        """Cut all links between one member and the others; clients still reach it."""
        self._process(name)
        cuts = {pair for other in self.names for pair in ((name, other), (other, name))}
        self._cut(self._cuts | cuts - {(name, name)}, f"{name} is isolated")

    def cut(self, one: str, other: str) -> None:
        """Cut the link between two members, in both directions."""
        self._process(one)
        self._process(other)
        if one == other:
            raise ValueError(f"{one} needs no link to itself")
        self._cut(self._cuts | {(one, other), (other, one)}, f"{one}↔{other} is cut")

    def heal(self) -> None:
        """Let all links work again."""
        self._cuts = set()
        self._parts.add(time.monotonic(), "", Healed())
        self._tell_all_cuts()

    def _cut(self, cuts: set[tuple[str, str]], why: str) -> None:
        self._cuts = cuts
        self._parts.add(time.monotonic(), "", LinksCut(tuple(sorted(cuts)), why))
        self._tell_all_cuts()

    def _tell_all_cuts(self) -> None:
        for name, process in self._processes.items():
            if process.alive:
                self._tell_cuts(name)

    def _tell_cuts(self, name: str) -> None:
        """Members that start anew know of no cuts; paused ones hear of them when they go on."""
        process = self._processes[name]
        peers = sorted(b for a, b in self._cuts if a == name)
        with contextlib.suppress(MemberDown):
            process.order("cut", wait_s=0 if process.paused else self.timeout_s, peers=peers)

    # Clients and pictures ---------------------------------------------------------------------

    def client(self, name: str | None = None, timeout_s: float = 5.0, **more: Any) -> Client:
        """A client of all members, or of one, that may write."""
        from kvlearn.live import connect

        endpoints = [self.endpoint(name)] if name is not None else list(self.endpoints)
        return connect(endpoints, write=True, timeout_s=timeout_s, **more)

    def picture(self):
        """The cluster as it stands, as a static picture."""
        return door("picture")(self)

    def show(self, panes: Iterable[str] | str = ("ring", "logs"), speed: float | str = "follow"):
        """The live panel, as of a simulated cluster, fed with what the members tell (in a
        notebook). Time is real here: the past can be looked at, not changed."""
        if not self._traced:
            raise ValueError("its members tell nothing (trace=False), so there is nothing to show")
        from kvlearn.live.stage import Stage

        return door("panel")(Stage(self), speed, panes)

    def _repr_mimebundle_(self, include=None, exclude=None):
        return self.picture()._repr_mimebundle_(include, exclude)

    def __repr__(self) -> str:
        if self._closed:
            return f"<LocalCluster in {self.data_dir}: closed>"
        told = ", ".join(f"{row['node']} {row['role']}" for row in self._rows())
        return f"<LocalCluster in {self.data_dir}: {told}>"

    # Its end ----------------------------------------------------------------------------------

    def close(self) -> None:
        """End all members; a temporary folder goes with them. Harmless twice."""
        if self._closed:
            return
        self._closed = True
        for process in self._processes.values():
            if process.alive:
                process.kill() if self._own else process.stop()
        if self._own and self._processes:
            _ = self.trace  # as long as there are files to read it from
        self._finalizer()

    def __enter__(self) -> LocalCluster:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    # Names ------------------------------------------------------------------------------------

    def _process(self, name: str) -> Process:
        if name not in self._processes:
            raise ValueError(f"there is no node {name!r}; the nodes are {', '.join(self.names)}")
        return self._processes[name]

    def _running(self, name: str) -> Process:
        process = self._process(name)
        if self._closed:
            raise ValueError(CLOSED)
        if not process.alive:
            raise ValueError(f"{name} is down; restart it first")
        return process


def _end(processes: dict[str, Process], temporary: Path | None, owner: int) -> None:
    """The cluster is garbage, closed, or the program ends."""
    if os.getpid() != owner:
        return  # a fork of the program ends, and has nothing to do with its parent's members
    for process in processes.values():
        process.kill()
    if temporary is not None:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_names(more: dict[str, Any]) -> None:
    """Raises: TypeError for what no member can be told, with a guess at what was meant."""
    known = [field.name for field in fields(MemberConfig)]
    for name in more.keys() - set(known):
        near = difflib.get_close_matches(name, known, n=1)
        meant = f"did you mean {near[0]}?" if near else "see MemberConfig for what a member takes"
        raise TypeError(f"a LocalCluster takes no {name}=: {meant}")


def _read(book: Path) -> dict[str, Any]:
    """What an earlier life wrote. Raises: ValueError for what is no such thing."""
    if not book.exists():
        return {}
    try:
        told = json.loads(book.read_text(encoding="utf-8"))
        return {name: told[name] for name in ("founders", "members", "token", "pids")}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{book} is damaged ({error}): take another folder") from None


def _refuse_left_overs(book: dict[str, Any], folder: Path) -> None:
    """Wait until members of an earlier life have ended. Raises: ValueError that names one."""
    end = time.monotonic() + LEFT_OVER_S
    while left := {n: pid for n, pid in book["pids"].items() if running(pid, str(folder / n))}:
        if time.monotonic() > end:
            name, pid = next(iter(left.items()))
            raise ValueError(
                f"{name} of an earlier life still runs on {folder} (process {pid}): close the "
                f"LocalCluster, or end the `kvlearn cluster`, that it belongs to; or `kill {pid}`"
            )
        time.sleep(LOOK_S)


def _ports(names: list[str], base: int | None) -> dict[str, tuple[int, int]]:
    """Name -> (client port, peer port): from `base` on, or free ones.

    Raises: ValueError for ports that there are not, or that are in use.
    """
    if base is not None:
        wanted = range(base, base + 2 * len(names))
        for port in wanted:
            if not 1 <= port < 1 << 16:
                raise ValueError(f"port {port} is none: they go from 1 to 65535")
            if not _free(port):
                raise PortInUse(f"port {port} is in use: take another base_port, or none")
    else:
        first = random.randrange(PORTS.start, PORTS.stop)
        turn = (*range(first, PORTS.stop), *range(PORTS.start, first))
        free = filter(_free, turn)
        wanted = [next(free) for _ in range(2 * len(names))]
    return {name: (wanted[2 * k], wanted[2 * k + 1]) for k, name in enumerate(names)}


def _free(port: int) -> bool:
    with socket.socket() as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
