"""A whole cluster in virtual time: nodes, disks, network, clients, and hands that break things.

>>> cluster = Cluster(3, seed=7)
>>> cluster.wait_for_leader()
'n3'
>>> client = cluster.client()
>>> client.put("k", "v").header.revision
2
>>> cluster.crash(cluster.leader)
>>> client.get("k").text
'v'

Same arguments and same verbs give the same trace, byte for byte. So a cluster can go back in time:
`rewind` makes it anew and repeats what was done to it until then.
"""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterable
from dataclasses import asdict
from heapq import heappop
from math import inf
from pathlib import Path
from random import Random
from typing import Any

from kvlearn.client import Client
from kvlearn.doors import door
from kvlearn.errors import TimedOut, Violation
from kvlearn.kv.config import StoreConfig
from kvlearn.kv.kinds import REQUESTS, check_depth
from kvlearn.raft.config import RaftConfig
from kvlearn.raft.raft import LEADER, Raft
from kvlearn.raft.types import ConfState
from kvlearn.sim.branches import load, save
from kvlearn.sim.channel import SimulatedChannel
from kvlearn.sim.clients import Clients
from kvlearn.sim.clock import CLIENT, DISK, PACKET, REFUSAL, TIMER, VirtualClock, rate_of_clock
from kvlearn.sim.desk import Desk, Operation
from kvlearn.sim.disk import Disk
from kvlearn.sim.host import Host
from kvlearn.sim.journal import Journal, relive
from kvlearn.sim.network import Links, Network, Packet, span_of_seconds
from kvlearn.sim.sharing import code_of, read
from kvlearn.sim.verbs import after_hand, carry_out
from kvlearn.sim.views import ClockView, DiskView, LinksView, Nodes, NodeView, known_names
from kvlearn.trace import Record, Trace
from kvlearn.values import check_timeout

MOST_NODES = 25  # of a cluster, with all that were added
MOST_SILENT = 100  # timers without a record that one step passes over


class Cluster:
    """A simulated cluster of 1 to 9 nodes, n1 … nN.

    `raft` is the class that all nodes run, or {"n1": Other} for some of them. With `invariants`
    the promises of the paper are checked while it runs, and `Violation` is raised the first time
    that one is broken. Times are virtual seconds. Verbs raise ValueError for names and numbers
    that make no sense, and for what a node cannot do as it is (restart one that runs).
    """

    def __init__(
        self,
        size: int = 3,
        seed: int = 0,
        config: RaftConfig | None = None,
        raft: type[Raft] | dict[str, type[Raft]] = Raft,
        links: Links | None = None,
        fsync_s: tuple[float, float] = (0.0005, 0.002),
        invariants: bool = True,
        store: StoreConfig | None = None,
    ):
        if not isinstance(size, int) or not 1 <= size <= 9:
            raise ValueError(
                f"a cluster has 1 to 9 nodes, not {size!r}: 3 or 5 are the usual numbers"
            )
        self.seed = seed
        self.config = config if config is not None else RaftConfig.etcd()
        names = tuple(f"n{k}" for k in range(1, size + 1))
        special = raft if isinstance(raft, dict) else dict.fromkeys(names, raft)
        known_names(special, names)
        self.store = store if store is not None else StoreConfig()
        _check_parts(self.config, special, links, self.store)
        links = copy.copy(links) if links is not None else Links()
        fsync_s = span_of_seconds("fsync_s", fsync_s)
        self._made_with = (size, seed, self.config, raft, copy.copy(links), fsync_s, invariants)
        self._made_with += (self.store,)
        about = {"nodes": list(names), "config": asdict(self.config)}
        about["store"] = self.store.numbers
        self._build(Trace(seed, about), names, special, links, fsync_s, invariants)

    def _build(self, trace, names, rafts, links, fsync_s, invariants) -> None:
        seed = self.seed
        self.trace: Trace = trace
        self._clock = VirtualClock()
        self._network = Network(self._clock, trace, links, Random(f"{seed}/network"))
        self._desk = Desk(self._clock, trace)
        self._hosts: dict[str, Host] = {}
        self._clients = Clients(self._clock, trace, self._desk, self._hosts)
        self._done: list[tuple] = []  # (things happened, now, verb, arguments) of every verb
        self._reader = door("invariants")() if invariants else None
        self._raised = False
        if self._reader is not None:
            self._reader.attach(trace)
        self._fsync_s = fsync_s
        self._founders = ConfState(voters=names)
        for name in names:
            self._hosts[name] = self._new_host(name, self._founders, rafts.get(name, Raft), "")
        for host in self._hosts.values():
            host.start(None)

    def _new_host(
        self, name: str, conf: ConfState, raft: type[Raft], life: str, joins: int = 0
    ) -> Host:
        """A host that was not started yet; `life` tells lives of the same name apart."""
        seed = self.seed
        disk = Disk(self._fsync_s, Random(f"{seed}/{name}/disk{life}"))
        rng = Random(f"{seed}/{name}{life}")
        parts = (self._clock, self._network, self.trace, disk, rng, self._desk, self._clients)
        return Host(name, conf, self.config, raft, *parts, joins, self.store)

    # Looking ----------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Virtual seconds since the start."""
        return self._clock.now

    @property
    def happened(self) -> int:
        """How many things have happened: packets that came, timers, fsyncs."""
        return self._clock.happened

    @property
    def nodes(self) -> Nodes:
        """Views of the nodes by name; each shows what its node believes just now."""
        return Nodes({name: NodeView(name, self._host) for name in self._hosts})

    @property
    def leader(self) -> str | None:
        """The node that leads; of several that claim it, the one with the highest term."""
        claims = [
            (host.node.raft.term, name)
            for name, host in self._hosts.items()
            if host.node is not None and not host.paused and host.node.raft.role == LEADER
        ]
        return max(claims)[1] if claims else None

    @property
    def in_flight(self) -> list[Packet]:
        """The packets on the wire, soonest arrival first."""
        return self._network.in_flight()

    @property
    def links(self) -> LinksView:
        """The network's quality; set `latency_s`, `loss`, `duplicate` or `reorder` to change it."""
        return LinksView(lambda: self._network.links, self._change_links)

    @property
    def cuts(self) -> tuple[tuple[str, str], ...]:
        """The one-way links that are cut, as (source, target)."""
        return tuple(sorted(self._network.cuts))

    def clock(self, name: str) -> ClockView:
        """A node's own clock: `rate` 1.1 makes it run a tenth too fast."""
        self._host(name)
        return ClockView(
            name, self._host, lambda rate: self._do("set_rate", name, rate_of_clock(rate))
        )

    def disk(self, name: str) -> DiskView:
        """A node's disk: set its `fsync_s` = (shortest, longest) in seconds to make it slow."""
        self._host(name)
        return DiskView(name, self._host, lambda pair: self._do("set_fsync", name, pair))

    def status(self):
        """A pandas DataFrame, one row a node."""
        import pandas

        rows = pandas.DataFrame([view.row() for view in self.nodes.values()], dtype=object)
        return rows.fillna("–").infer_objects().set_index("node")

    # Time -------------------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        if not 0 <= seconds < inf:
            raise ValueError(
                f"run(seconds) takes a number from 0 on, not {seconds}; to go back see rewind(to_s)"
            )
        self._run_to(self._clock.now + seconds)

    def run_to(self, to_s: float) -> None:
        """Let virtual time pass until it is `to_s`, exactly; a time that is past changes nothing.

        (`run(to_s - now)` may end a rounding error beside it, and then a replay differs.)
        """
        if not to_s < inf:
            raise ValueError(f"run_to(to_s) takes a number of virtual seconds, not {to_s}")
        if to_s > self._clock.now:
            self._run_to(to_s)

    def _run_to(self, end: float) -> None:
        clock = self._clock
        queue, happen = clock.queue, self._happen
        # All that a run makes is kept in the trace or freed at once: there are no cycles to find.
        collects = gc.isenabled()
        gc.disable()
        try:
            while queue and queue[0][0] <= end:
                happen()
        finally:
            if collects:
                gc.enable()
        clock.now = end

    def run_until(self, condition: Callable[[Cluster], Any], timeout_s: float = 10.0) -> None:
        """Run until `condition(cluster)` is true. Raises: TimedOut."""
        check_timeout(timeout_s)
        end = self._clock.now + timeout_s
        queue = self._clock.queue
        while not condition(self):
            if not queue or queue[0][0] > end:
                self._clock.now = end
                raise TimedOut(f"the condition was not met within {timeout_s:g} virtual seconds")
            self._happen()

    def step(self) -> list[Record]:
        """Let one thing happen (an arrival, a timer, an fsync); the records that it caused.

        Timers that change nothing are passed over, but not for ever: those of a cluster of one
        node, to whom its leader has nothing to say, would never end.
        """
        start, queue = len(self.trace), self._clock.queue
        passed = 0
        while queue and len(self.trace) == start and passed < MOST_SILENT:
            self._happen()
            passed += 1
        return self.trace[start:]

    def wait_for_leader(self, timeout_s: float = 10.0) -> str:
        """Run until there is a leader, and return its name. Raises: TimedOut."""
        try:
            self.run_until(lambda cluster: cluster.leader is not None, timeout_s)
        except TimedOut:
            alive = [name for name, host in self._hosts.items() if host.node and not host.paused]
            running = f"{' '.join(alive) or 'none'} of {len(self._hosts)}"
            hint = f"running: {running}; a leader needs a majority"
            raise TimedOut(f"no leader within {timeout_s:g} virtual seconds", hint) from None
        return self.leader

    def _happen(self) -> None:
        clock = self._clock
        time, _, kind, what = heappop(clock.queue)
        clock.now = time
        clock.happened += 1
        try:
            if kind == PACKET:
                if self._network.arrives(what):
                    host = self._hosts.get(what.message.target)
                    host.receive(what) if host else self._network.refuse(what)
            elif kind == TIMER:
                self._hosts[what[0]].on_timer(what[1])
            elif kind == DISK:
                self._hosts[what[0]].on_disk(what[1])
            elif kind == REFUSAL:
                self._hosts[what[0].source].refused(*what)
            elif kind == CLIENT:
                self._clients.happen(what)
        except AssertionError:
            self._look()  # a broken promise explains a broken assertion
            raise
        if self._reader is not None and self._reader.broken is not None:
            self._look()

    def _look(self) -> None:
        """Raise the first violation once; afterwards the run may go on and be looked at."""
        verdict = self._reader.broken if self._reader is not None else None
        if verdict is not None and not self._raised:
            self._raised = True
            raise Violation(verdict.promise, verdict.why, verdict.record, self.seed)

    # Breaking and mending ---------------------------------------------------------------------

    def crash(self, name: str) -> None:
        """End the node's process at once (kill -9): memory and unsynced writes are gone. A client
        (`c1`) can crash, too: its watches end, and it keeps no lease alive any more."""
        if self._desk.knows(name):
            self._do_to_client("end_client", name, paused=None)
            return
        self._running(name)
        self._do("crash", name)

    def _do_to_client(self, verb: str, name: str, paused: bool | None) -> None:
        if name in self._clients.gone:
            raise ValueError(f"{name} is gone; cluster.client() makes another")
        if paused is not None and paused != (name in self._clients.paused):
            raise ValueError(f"{name} is {'not paused' if paused else 'paused already; resume it'}")
        self._do(verb, name)

    def restart(self, name: str) -> None:
        """Start a crashed node again, with what its disk kept."""
        if self._desk.knows(name):
            raise ValueError(f"{name} is a client; cluster.client() makes another")
        if self._host(name).node is not None:
            raise ValueError(f"{name} is running; crash it first, or resume it if it is paused")
        self._do("restart", name)

    def pause(self, name: str) -> None:
        """Stop the node's process where it is; what arrives waits, its clock goes on. A client
        (`c1`) that pauses keeps no lease alive meanwhile."""
        if self._desk.knows(name):
            self._do_to_client("pause_client", name, paused=False)
            return
        if self._running(name).paused:
            raise ValueError(f"{name} is paused already; resume it")
        self._do("pause", name)

    def resume(self, name: str) -> None:
        """Let a paused node, or a paused client, go on."""
        if self._desk.knows(name):
            self._do_to_client("resume_client", name, paused=True)
            return
        if not self._running(name).paused:
            raise ValueError(f"{name} is not paused")
        self._do("resume", name)

    def wipe(self, name: str) -> None:
        """Crash the node and empty its disk. A voter that forgets its vote is a danger to all."""
        self._host(name)
        self._do("wipe", name)

    def add_node(self, name: str, learner: bool = False) -> None:
        """Start a fresh, empty node. It is no member until `client.add_member(name)` makes it one;
        until then it neither votes nor stands, and with `learner` it takes itself for a learner.

        A node that exists can be made anew so, once it is wiped and removed from the membership:
        what it forgot is then safe with the others, and it comes back without harm.
        """
        host = self._hosts.get(name)
        if host is None:
            if not (isinstance(name, str) and name[:1] == "n" and name[1:].isdecimal()):
                raise ValueError(f"a node is called n and a number, like n6, not {name!r}")
            if len(self._hosts) >= MOST_NODES:
                raise ValueError(f"there are {MOST_NODES} nodes already, and no more fit")
        elif host.node is not None or host.disk.last.index or host.disk.hard_state.term:
            raise ValueError(f"{name} exists and is not empty; wipe it first")
        elif name in self._newest_conf().members:
            raise ValueError(
                f"{name} is still a member, and the others rely on what it has forgotten: first "
                f"remove it, client.remove_member({name!r})"
            )
        self._do("add_node", name, learner)

    def _newest_conf(self) -> ConfState:
        """The membership, as the running node knows it that has applied the most."""
        running = [host.node for host in self._hosts.values() if host.node is not None]
        newest = max(running, key=lambda node: node.machine.applied, default=None)
        return newest.raft.conf if newest else self._founders

    def compact(self, name: str, kept_entries: int = 0) -> None:
        """Let the node take a snapshot now, and compact its log but for the last entries."""
        if self._running(name).paused:
            raise ValueError(f"{name} is paused; resume it first")
        if not isinstance(kept_entries, int) or kept_entries < 0:
            raise ValueError(f"kept_entries is a number from 0 on, not {kept_entries!r}")
        self._do("compact", name, kept_entries)

    def forget_leader(self, name: str) -> None:
        """Let a follower forget its leader, so that it may grant pre-votes against it (etcd)."""
        if self._running(name).paused:
            raise ValueError(f"{name} is paused; resume it first")
        self._do("forget_leader", name)

    def partition(self, *groups: Iterable[str]) -> None:
        """Cut all links between the groups, and mend all others. Nodes that are not named form a
        group of their own."""
        named = [list(group) for group in groups]
        flat = [name for group in named for name in group]
        known_names(flat, self._hosts)
        if len(flat) != len(set(flat)):
            raise ValueError("a node can be in one group only")
        rest = [name for name in self._hosts if name not in flat]
        named = [group for group in (*named, rest) if group]
        if len(named) < 2:
            raise ValueError("a partition needs two groups with nodes in them at least")
        self._do("partition", named)

    def isolate(self, name: str) -> None:
        """Cut all links from and to one node."""
        self._host(name)
        self._do("isolate", name)

    def cut(self, source: str, target: str, one_way: bool = False) -> None:
        """Cut the link between two nodes; `one_way`: only what `source` sends to `target`."""
        known_names((source, target), self._hosts)
        if source == target:
            raise ValueError(f"{source} needs no link to itself")
        self._do("cut", source, target, one_way)

    def heal(self) -> None:
        """Let all links work again."""
        self._do("heal")

    def campaign(self, name: str) -> None:
        """Let the node's election timeout run out now."""
        if self._running(name).paused:
            raise ValueError(f"{name} is paused; resume it first")
        if name == self.leader:
            raise ValueError(f"{name} leads already; a leader does not stand for election")
        self._do("campaign", name)

    def drop(self, packet: Packet | int) -> None:
        """Take a packet (or its number) off the wire."""
        self._do("drop", self._on_wire(packet))

    def deliver(self, packet: Packet | int) -> None:
        """Let a packet arrive now, whatever would have become of it."""
        self._do("deliver", self._on_wire(packet))

    def delay(self, packet: Packet | int, seconds: float) -> None:
        """Let a packet arrive `seconds` later than it would."""
        if not 0 < seconds < inf:
            raise ValueError(
                f"a delay is a number above 0 (seconds), not {seconds}; "
                "see deliver(packet) and drop(packet)"
            )
        self._do("delay", self._on_wire(packet), float(seconds))

    def duplicate(self, packet: Packet | int) -> None:
        """Send a packet a second time, now. The copy takes as long as the first did, and arrives
        even if the first will be lost, unless its link is cut."""
        number = self._on_wire(packet)
        message = self._network.find(number).message
        if message.at_most_once:
            raise ValueError(
                f"no network doubles packet {number}, {message}: its connection delivers at most "
                "once, or it would be done twice"
            )
        self._do("duplicate", number)

    def _on_wire(self, packet: Packet | int) -> int:
        number = number_of(packet)
        for host in self._hosts.values():
            if number in host.mailbox:
                raise ValueError(
                    f"packet {number} has arrived: {host.name} is paused and will read it when it "
                    f"is resumed"
                )
        return self._network.find(number).number

    def _change_links(self, setting: str, new: Any) -> None:
        setattr(copy.copy(self._network.links), setting, new)  # refuses what does not fit
        self._do("links", setting, new)

    def _do(self, verb: str, *arguments: Any) -> Any:
        """Carry a verb out, and remember it for `rewind`."""
        clock = self._clock
        clock.now = after_hand(clock)
        self._done.append((self._clock.happened, self._clock.now, verb, arguments))
        outcome = carry_out(self, verb, arguments)
        if self._reader is not None and self._reader.broken is not None:
            self._look()
        return outcome

    # Clients ----------------------------------------------------------------------------------

    def client(self, name: str | None = None, timeout_s: float = 5.0) -> Client:
        """A client of all nodes, or of one. While it waits, virtual time passes."""
        if name is not None:
            self._host(name)
        return Client(SimulatedChannel(self, name, self._desk.name_client()), timeout_s)

    def submit(self, request: Any, node: str = "n1", client: str = "c0") -> int:
        """Ask without waiting; `operation(op_id)` tells what became of it."""
        self._host(node)
        if not isinstance(request, REQUESTS):
            raise ValueError(f"a request is a Put, Range, Txn, LeaseGrant …, not {request!r}")
        check_depth(request)
        return self._do("ask", client, node, request)

    def operation(self, op_id: int) -> Operation:
        """An operation as it stands now."""
        if op_id not in self._desk.operations:
            known = len(self._desk.operations)
            raise ValueError(f"there is no operation {op_id!r}: 1 to {known} were asked so far")
        return self._desk.operations[op_id]

    def give_up(self, op_id: int) -> None:
        """Wait no longer for an operation; if it was a write, it may still be carried out."""
        if not self.operation(op_id).done:
            self._do("give_up", op_id)

    # Other futures ----------------------------------------------------------------------------

    def fork(self) -> Cluster:
        """An independent copy, in mid-flight."""
        twin = copy.deepcopy(self)
        if twin._reader is not None:
            twin._reader.attach(twin.trace)
        return twin

    def rewind(self, to_s: float | None = None, *, seq: int | None = None) -> None:
        """Go back in time; what follows may differ, which is the point.

        To the virtual time `to_s`; or, with `seq`, to the thing that made record number `seq`. The
        trace is cut there. Clients stay usable; operations that were asked later are gone.
        """
        if (to_s is None) == (seq is None):
            raise ValueError("rewind takes a time (to_s) or a record number (seq=...)")
        if to_s is not None and not 0 <= to_s <= self.now:
            raise ValueError(f"rewind goes to a time between 0 and now, {self.now:g} s, not {to_s}")
        if seq is not None and not 0 <= seq < len(self.trace):
            raise ValueError(f"the trace has records 0 to {len(self.trace) - 1}, but no {seq}")
        twin = type(self)(*self._made_with)
        if seq is not None:
            twin._relive(self._done, lambda time: len(twin.trace) > seq)
        else:
            twin._relive(self._done, lambda time: time > to_s)
            twin._clock.now = to_s
        self._become(twin)

    def _become(self, twin: Cluster) -> None:
        """Go over to the run of `twin`; no name that was given out is given out again."""
        twin._desk.clients = max(self._desk.clients, twin._desk.clients)
        for client, opened in self._clients.opened.items():
            twin._clients.opened[client] = max(opened, twin._clients.opened.get(client, 0))
        if self._reader is not None:
            self._reader.detach(self.trace)
        self.trace.seed, self.trace.about = twin.trace.seed, twin.trace.about
        twin._tell(self.trace.replaced_by(twin.trace))
        self.__dict__.update(twin.__dict__)

    def journal(self) -> Journal:
        """What this cluster was made with and all that hands did to it: the run, written down."""
        return Journal.of(self)

    @classmethod
    def from_journal(cls, journal: Journal) -> Cluster:
        """A new cluster that has lived that run: the same trace, byte for byte, and the same
        future. Raises: ValueError if it cannot be lived again."""
        return relive(cls, journal)

    def go_to(self, journal: Journal) -> None:
        """Go over to another run, as `rewind` goes back in this one: clients stay usable, panels
        follow. `journal()`, asked before, leads back. Raises: ValueError, and nothing is changed,
        if the run cannot be lived again."""
        self._become(relive(type(self), journal))

    def save(self, path: str | Path, name: str = "main") -> None:
        """Write the run to a JSON file, as a branch of that name (`save_branches` writes several).

        Raises: ValueError for a run that cannot be told, such as one of a Raft of one's own.
        """
        save(self, path, name)

    @classmethod
    def load(cls, path: str | Path, name: str | None = None) -> Cluster:
        """A cluster that has lived the run that was saved; of several, the first or that `name`.

        Raises: ValueError for a file that is damaged, or whose run comes out another.
        """
        return load(cls, path, name)

    def code(self) -> str:
        """The run as a short text, `kv1-…`, that opens the same moment elsewhere (`from_code`): at
        most 1,500 characters for 200 verbs. It was opened once before it is handed out.

        Raises: ValueError for what a code cannot tell: a Raft of one's own, values of more than
        1,000 bytes, very long runs. `save` keeps most of these.
        """
        return code_of(self)

    @classmethod
    def from_code(cls, code: str) -> Cluster:
        """A new cluster that has lived the run of a code. Raises: ValueError for a code that is
        mistyped, cut off, of another version, or whose run comes out another here."""
        return read(cls, code)

    def _relive(self, done: list[tuple], enough: Callable[[float], bool]) -> None:
        """Let the same happen, and do the same by hand, until it is `enough(next time)`."""
        clock = self._clock
        verbs = iter(done)
        verb = next(verbs, None)
        while True:
            by_hand = verb is not None and verb[0] == clock.happened
            if not by_hand and not clock.queue:
                return
            if enough(verb[1] if by_hand else clock.queue[0][0]):
                return
            if by_hand:
                self._do_again(verb)
                verb = next(verbs, None)
            else:
                self._replay(self._happen)

    def _do_again(self, verb: tuple) -> None:
        """Do what was done by hand, at the time at which it was done."""
        self._clock.now = verb[1]
        self._done.append(verb)
        self._replay(carry_out, self, *verb[2:])

    def _replay(self, do: Callable, *arguments: Any) -> None:
        """Let a thing happen again; whatever it broke was raised the first time."""
        try:
            do(*arguments)
        except (Violation, AssertionError):
            pass
        if self._reader is not None and self._reader.broken is not None:
            self._raised = True

    def _tell(self, trace: Trace) -> None:
        """Go on telling the story in `trace`."""
        self.trace = trace
        for part in (self._network, self._desk, self._clients, *self._hosts.values()):
            part.trace = trace
        if self._reader is not None:
            self._reader.attach(trace)

    # Showing ----------------------------------------------------------------------------------

    def show(self, **options: Any):
        """The live panel (in a notebook)."""
        return door("panel")(self, **options)

    def export(self, path: str | Path, **options: Any) -> str:
        """Write the run into one HTML file that plays without Python; the text of it."""
        return door("export")(self, path, **options)

    def picture(self):
        """The cluster as it stands, as a static picture."""
        return door("picture")(self)

    def _repr_mimebundle_(self, include=None, exclude=None):
        return self.picture()._repr_mimebundle_(include, exclude)

    def __repr__(self) -> str:
        term = max(host.node.raft.term if host.node else 0 for host in self._hosts.values())
        who = f"{self.leader} leads term {term}" if self.leader else "no leader"
        return f"<Cluster of {len(self._hosts)}, seed {self.seed}, at {self.now:.3f} s: {who}>"

    # Names ------------------------------------------------------------------------------------

    def _host(self, name: str) -> Host:
        known_names((name,), self._hosts)
        return self._hosts[name]

    def _running(self, name: str) -> Host:
        host = self._host(name)
        if host.node is None:
            raise ValueError(f"{name} is down; restart it first")
        return host


def _check_parts(config: Any, rafts: dict[str, Any], links: Any, store: Any) -> None:
    """Refuse what a cluster cannot be made of. Raises: ValueError."""
    if not isinstance(config, RaftConfig):
        raise ValueError(f"config is a RaftConfig, such as RaftConfig.paper(), not {config!r}")
    for name, raft in rafts.items():
        if not (isinstance(raft, type) and issubclass(raft, Raft)):
            raise ValueError(f"{name} runs Raft or a class derived from it, not {raft!r}")
    if not isinstance(store, StoreConfig):
        raise ValueError(f"store is a StoreConfig(min_ttl_s=..., ...), not {store!r}")
    if links is not None and not isinstance(links, Links):
        raise ValueError(f"links are Links(latency_s=..., loss=...), not {links!r}")


def number_of(packet: Packet | int) -> int:
    """A packet's number, given the packet or the number."""
    return packet.number if isinstance(packet, Packet) else packet
