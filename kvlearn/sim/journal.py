"""A run, written down: what a cluster was made with, and all that hands did to it.

A simulated run hangs on these two alone. So a journal *is* the run, in a few lines: whoever lives
it again gets the same trace, byte for byte, and the same future. It is what branches are kept as.

>>> from kvlearn.sim import Cluster
>>> cluster = Cluster(3, seed=7)
>>> _ = cluster.wait_for_leader()
>>> calm = cluster.journal()
>>> cluster.crash(cluster.leader)
>>> print(cluster.journal())
3 nodes, seed 7, 1 verb, until 1.386 s
>>> cluster.go_to(calm)
>>> cluster.leader, Cluster.from_journal(calm).leader
('n3', 'n3')

Source: the idea is that of event sourcing; FoundationDB replays its simulations by their seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from kvlearn.doors import door
from kvlearn.kv.config import StoreConfig
from kvlearn.lease import Lessor
from kvlearn.mvcc.watch import WatchHub
from kvlearn.raft.config import RaftConfig
from kvlearn.raft.raft import Raft
from kvlearn.sim.network import Links
from kvlearn.trace import Trace
from kvlearn.values import from_json, to_json

if TYPE_CHECKING:
    from kvlearn.sim.cluster import Cluster

# What a part of a cluster is made of, and the door behind which its broken kinds stand by name.
KINDS: dict[type, str] = {Raft: "mutants", WatchHub: "watch_mutants", Lessor: "lease_mutants"}
MOST_THINGS = 5_000_000  # that happen in a run that is lived again from a code or a file

AGAIN = "the same version of kvlearn has to live it that wrote it down"

Done = tuple[int, float, str, tuple]  # things that had happened, virtual seconds, verb, arguments


@dataclass(frozen=True, slots=True)
class Journal:
    """Equal by value; two runs with equal journals are the same run.

    `clients` are the names given out so far (c1, c2, …), `opened` how many streams each client
    has opened. `digest` is that of the trace it leads to, if known: whoever relives it compares.

    Invariant: the verbs stand in the order in which they were done.
    """

    size: int
    seed: Any
    config: RaftConfig
    raft: type[Raft] | tuple[tuple[str, type[Raft]], ...]
    links: tuple[tuple[float, float], float, float, float]  # latency_s, loss, duplicate, reorder
    fsync_s: tuple[float, float]
    invariants: bool
    store: StoreConfig
    done: tuple[Done, ...]
    happened: int  # things, all in all
    now: float  # virtual seconds at its end
    clients: int = 0
    opened: tuple[tuple[str, int], ...] = ()
    digest: str = field(default="", compare=False)

    @classmethod
    def of(cls, cluster: Cluster) -> Journal:
        """The journal of a cluster until now."""
        size, seed, config, raft, links, fsync_s, invariants, store = cluster._made_with
        return cls(
            size=size,
            seed=seed,
            config=config,
            raft=tuple(sorted(raft.items())) if isinstance(raft, dict) else raft,
            links=(links.latency_s, links.loss, links.duplicate, links.reorder),
            fsync_s=fsync_s,
            invariants=invariants,
            store=store,
            done=tuple((*verb[:3], frozen(verb[3])) for verb in cluster._done),
            happened=cluster.happened,
            now=cluster.now,
            clients=cluster._desk.clients,
            opened=tuple(sorted(cluster._clients.opened.items())),
        )

    @property
    def made_with(self) -> tuple:
        """The arguments of `Cluster`, in their order."""
        raft = dict(self.raft) if isinstance(self.raft, tuple) else self.raft
        links = Links(*self.links)
        about = self.fsync_s, self.invariants, self.store
        return (self.size, self.seed, self.config, raft, links, *about)

    def __str__(self) -> str:
        nodes = f"{self.size} node{'s' * (self.size != 1)}"
        verbs = f"{len(self.done)} verb{'s' * (len(self.done) != 1)}"
        return f"{nodes}, seed {self.seed}, {verbs}, until {self.now:.3f} s"

    def __repr__(self) -> str:
        return f"<Journal: {self}>"


def frozen(thing: Any) -> Any:
    """The same with tuples in the place of lists."""
    return tuple(map(frozen, thing)) if isinstance(thing, (list, tuple)) else thing


def digest(trace: Trace) -> str:
    """A fingerprint of a trace, byte for byte: SHA-256 of its JSON lines, in hex."""
    told = sha256()
    for line in trace.lines():
        told.update(line.encode() + b"\n")
    return told.hexdigest()


def relive(cls: type[Cluster], journal: Journal) -> Cluster:
    """A new cluster that has lived the journal's run.

    Raises: ValueError if it cannot be lived so, or comes out another than its digest says.
    """
    if not isinstance(journal, Journal):
        raise ValueError(f"a journal is what cluster.journal() gives, not {journal!r}")
    cluster = cls(*journal.made_with)
    clock, whole = cluster._clock, len(journal.done)

    def enough(_: float) -> bool:
        here = clock.happened - journal.happened
        return here > 0 or here == 0 and len(cluster._done) == whole

    try:
        cluster._relive(list(journal.done), enough)
    except Exception as error:
        *_, verb, arguments = cluster._done[-1] if cluster._done else ("run", ())
        verb += f"({', '.join(map(str, arguments))})"
        raise ValueError(
            f"this run cannot be lived again, {verb} failed: {error!r}; {AGAIN}"
        ) from error
    if (clock.happened, len(cluster._done)) != (journal.happened, whole):
        raise ValueError(f"this run ends before its last verb can be done; {AGAIN}")
    clock.now = journal.now
    cluster._desk.clients = journal.clients
    cluster._clients.opened = dict(journal.opened)
    if journal.digest and not (mine := digest(cluster.trace)).startswith(journal.digest):
        raise ValueError(
            f"this run came out another: its trace is {mine[:12]}, and {journal.digest[:12]} was "
            f"to be; {AGAIN}"
        )
    return cluster


def confirmed(cluster: Cluster) -> Journal:
    """The journal of a cluster, with its digest; it was lived again, and came out the same.

    Raises: ValueError if it does not: something else than verbs has changed the cluster.
    """
    journal = replace(Journal.of(cluster), digest=digest(cluster.trace))
    relive(type(cluster), journal)
    return journal


# Classes by name --------------------------------------------------------------------------------


def name_of(cls: type, kind: type) -> str:
    """The name of a known kind of Raft, WatchHub or Lessor.

    Raises: ValueError for a class of one's own, which cannot be told to others.
    """
    if cls is kind:
        return kind.__name__
    known: Mapping[str, type] = door(KINDS[kind])
    if known.get(cls.__name__) is cls:
        return cls.__name__
    raise ValueError(
        f"{cls.__name__} is a class of your own: a run of it can be kept (cluster.journal()), but "
        f"not told to others. {kind.__name__} and the broken ones of the course can: "
        f"{', '.join(sorted(known))}"
    )


def class_of(name: str, kind: type) -> type:
    """The class of that name. Raises: ValueError."""
    if name == kind.__name__:
        return kind
    known: Mapping[str, type] = door(KINDS[kind])
    if name not in known:
        raise ValueError(f"no {kind.__name__} is called {name!r}; there are {', '.join(known)}")
    return known[name]


def plain(journal: Journal) -> dict[str, Any]:
    """A journal as plain JSON data. Raises: ValueError for what has no name or is no value."""
    raft = journal.raft
    if isinstance(raft, tuple):
        rafts: Any = {name: name_of(cls, Raft) for name, cls in raft}
    else:
        rafts = name_of(raft, Raft)
    store = dict(journal.store.numbers)
    store["hub"] = name_of(journal.store.hub, WatchHub)
    store["lessor"] = name_of(journal.store.lessor, Lessor)
    try:
        done = [
            {"things": happened, "now": now, "do": verb, "with": to_json(arguments)}
            for happened, now, verb, arguments in journal.done
        ]
    except TypeError as error:
        raise ValueError(f"this run cannot be written down: {error}") from None
    made = {"size": journal.size, "seed": journal.seed, "config": asdict(journal.config)}
    made |= {"raft": rafts, "links": to_json(journal.links), "fsync_s": list(journal.fsync_s)}
    made |= {"invariants": journal.invariants, "store": store}
    end = {"things": journal.happened, "now": journal.now, "clients": journal.clients}
    end["streams"] = dict(journal.opened)
    return {"made": made, "done": done, "end": end, "trace": journal.digest}


def from_plain(data: dict[str, Any]) -> Journal:
    """The journal that `plain` made data of. Raises: ValueError, KeyError, TypeError."""
    made, end = data["made"], data["end"]
    raft = made["raft"]
    if isinstance(raft, dict):
        rafts: Any = tuple((name, class_of(cls, Raft)) for name, cls in sorted(raft.items()))
    else:
        rafts = class_of(raft, Raft)
    store = dict(made["store"])
    store["hub"] = class_of(store["hub"], WatchHub)
    store["lessor"] = class_of(store["lessor"], Lessor)
    if not 0 <= end["things"] <= MOST_THINGS:
        raise ValueError(f"{end['things']:,} things happen in it; {MOST_THINGS:,} are the most")
    return Journal(
        size=made["size"],
        seed=made["seed"],
        config=RaftConfig(**made["config"]),
        raft=rafts,
        links=frozen(made["links"]),
        fsync_s=frozen(made["fsync_s"]),
        invariants=made["invariants"],
        store=StoreConfig(**store),
        done=tuple((d["things"], d["now"], d["do"], from_json(d["with"])) for d in data["done"]),
        happened=end["things"],
        now=end["now"],
        clients=end["clients"],
        opened=tuple(sorted(end["streams"].items())),
        digest=data["trace"],
    )
