"""Which facts are forced to disk before what leaves: a table, a Raft that keeps it, and its trial.

The table names for every moment at which a node promises something (a message leaves; a leader
counts itself) the facts that are forced to its disk before. `keeping` makes a Raft of it, and
scenes in which nodes lose power at the worst moment try it:

>>> table = {**LEAST, "Vote": {"term"}}      # a voter that does not force its vote
>>> ended = next(end for end in try_all(table) if end.broken)
>>> print(ended.broken[0].promise, "|", ended.forgotten[0])
Election Safety | n2 lost power and forgot its vote for n1

Source: paper 5.1, figure 2 (persistent state); thesis 3.8, 10.2.1. Differs: in kvlearn, as in
etcd, one record holds term, vote and commit index, so nobody could force one without the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from statistics import mean
from typing import Any

from kvlearn.check.verdict import Verdict
from kvlearn.course.limits import BoundedCluster
from kvlearn.events import Saved
from kvlearn.kv.requests import Put
from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.raft.config import RaftConfig
from kvlearn.raft.messages import (
    AppendEntries,
    AppendResponse,
    Heartbeat,
    HeartbeatResponse,
    Message,
    RequestVote,
    VoteResponse,
)
from kvlearn.raft.raft import LEADER, Raft
from kvlearn.raft.types import Entry, HardState, Index, Ready
from kvlearn.sim.bench import Bench
from kvlearn.trace import Trace

FACTS = ("term", "vote", "log", "commit", "applied")
MOMENTS = {
    "Vote?": RequestVote,
    "Vote": VoteResponse,
    "App": AppendEntries,
    "Ack": AppendResponse,
    "Beat": Heartbeat,
    "Beat ok": HeartbeatResponse,
    "count": None,  # no message: the leader counts itself among those who have an entry
}
MOMENT_OF = {kind: moment for moment, kind in MOMENTS.items()}
LEAST = {
    "Vote?": {"term", "vote"},
    "Vote": {"term", "vote"},
    "Ack": {"term", "log"},
    "count": {"log"},
}

Table = Mapping[str, Iterable[str]]


# A Raft of the student's making -------------------------------------------------------------


class Keeper(Raft):
    """Raft whose disk holds only what `before` has it force, and when.

    What no moment has forced yet is in memory alone, and a crash takes it.
    """

    before: Table = LEAST

    def __init__(self, *arguments: Any, **named: Any):
        super().__init__(*arguments, **named)
        self._on_disk = HardState(self.term, self.vote, self.log.committed)
        self._log_on_disk: tuple[Entry, ...] = self.log.slice(1, self.log.last_index)
        self._later: list[Message] = []  # they wait for the disk, as the table wants

    def ready(self) -> Ready | None:
        """What Raft hands out, but with that to be saved which the table wants saved now."""
        given = super().ready()
        if given is None:
            return None
        forced = self._forced(given)
        hard, entries = self._state_to_save(forced), self._entries_to_save(forced)
        sync = hard is not None or bool(entries)
        if given.entries and not entries:
            self.log.saved(given.entries[-1].id)  # nobody asks for them again
        at_once = []
        for message in given.messages:
            waits = sync and not message.after_save and self._wanted(message)
            (self._later if waits else at_once).append(message)
        return replace(
            given,
            hard_state=hard,
            entries=entries,
            messages=tuple(at_once),
            must_sync=sync,
        )

    def advance(self, ready: Ready) -> None:
        """The disk has it: now leaves what waited for it."""
        super().advance(ready)
        if ready.must_sync:
            self.outbox[:0] = self._later
            self._later.clear()

    def own_match(self) -> Index:
        """Where it may count itself without its disk, it counts all that it has."""
        return self.log.stable if "log" in self.before["count"] else self.log.last_index

    def _wanted(self, message: Message) -> frozenset[str]:
        return self.before.get(MOMENT_OF.get(type(message), ""), frozenset())

    def _forced(self, given: Ready) -> set[str]:
        forced = set().union(*map(self._wanted, given.messages))
        return forced | (self.before["count"] if given.entries and self.role == LEADER else set())

    def _state_to_save(self, forced: set[str]) -> HardState | None:
        old = self._on_disk
        term = self.term if "term" in forced else old.term
        vote = old.vote if term == old.term else None  # a vote is a vote of its term
        if "vote" in forced:
            vote = self.vote
        commit = self.log.committed if "commit" in forced else old.commit
        self._on_disk = HardState(term, vote, commit)
        return self._on_disk if self._on_disk != old else None

    def _entries_to_save(self, forced: set[str]) -> tuple[Entry, ...]:
        if "log" not in forced:
            return ()
        old, log = self._log_on_disk, self.log.slice(1, self.log.last_index)
        pairs = enumerate(zip(old, log))
        same = next((n for n, (a, b) in pairs if a.id != b.id), min(len(old), len(log)))
        self._log_on_disk = log
        return log[same:]


def keeping(table: Table) -> type[Raft]:
    """Raft on a disk that is forced as `table` says; a moment that it leaves out forces nothing.

    Raises: ValueError for a moment or a fact that there is not.
    """
    whole = tidy(table)
    return type("Yours", (Keeper,), {"before": whole, "__doc__": "Raft with a disk of its own."})


def tidy(table: Any) -> dict[str, frozenset[str]]:
    """The table with all moments, its facts as sets. A fact alone may stand without brackets.

    >>> sorted(tidy({"Vote": ["vote", "term"], "count": "log"})["Vote"])
    ['term', 'vote']
    """
    if not isinstance(table, Mapping):
        raise ValueError(f"The answer is a table {{moment: [facts]}}, not {type(table).__name__}.")
    whole = dict.fromkeys(MOMENTS, frozenset())
    for moment, facts in table.items():
        _known(moment, MOMENTS, "moment")
        if isinstance(facts, str):
            facts = facts.replace(",", " ").split()
        if not isinstance(facts, Iterable):
            raise ValueError(f"Write the facts of {moment!r} as a list: ['term', 'log'].")
        for fact in facts:
            _known(fact, FACTS, "fact")
        whole[moment] = frozenset(facts)
    return whole


def _known(word: Any, words: Iterable[str], what: str) -> None:
    if word not in words:
        near = get_close_matches(str(word), words, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(words)}."
        raise ValueError(f"There is no {what} {word!r}; {hint}")


# Scenes -------------------------------------------------------------------------------------


class Stage:
    """A hand-cranked cluster whose nodes lose power; remembers what each of them forgot.

    The store is lost with the rest where no moment forces `applied`: it is built again from the
    log, as in the paper.
    """

    def __init__(self, size: int, table: Mapping[str, frozenset[str]]):
        self.bench = Bench(size, raft=keeping(table), config=RaftConfig())
        self.forgotten: list[str] = []
        self._keeps_store = any("applied" in facts for facts in table.values())

    def elect(self, name: str) -> None:
        """Let it win its election, and all hear of it."""
        self.bench.campaign(name)
        self.bench.stabilize()

    def stand(self, *names: str) -> None:
        """Let them stand for election, and ask for votes."""
        for name in names:
            self.bench.campaign(name)
            self.bench.ready(name)

    def send(self, source: str, target: str, label: str = "") -> None:
        """Let what is on its way between them arrive, and be worked off."""
        for parcel in self.bench.select(source, target, label):
            self.bench.deliver(parcel)
        self.bench.ready(target)

    def lose(self, source: str, *targets: str) -> None:
        """Lose what is on its way."""
        for target in targets:
            for parcel in self.bench.select(source, target):
                self.bench.drop(parcel)

    def put(self, name: str, text: bytes) -> None:
        """A client writes."""
        self.bench.ask(name, Put(b"a", text))
        self.bench.ready(name)

    def power_fails(self, name: str) -> None:
        """It crashes at its worst moment, and starts again with what was forced."""
        host = self.bench.hosts[name]
        raft = host.node.raft
        term, vote, log = raft.term, raft.vote, raft.log.slice(1, raft.log.last_index)
        self.bench.crash(name)
        if not self._keeps_store:
            host.disk.backend = MemoryBackend()
        gone = _gone(host.disk.hard_state, host.disk.entries, term, vote, log)
        if gone:
            self.forgotten.append(f"{name} lost power and forgot {' and '.join(gone)}")
        self.bench.start(name)


def _gone(state: HardState, entries: list[Entry], term: int, vote: str | None, log: tuple) -> list:
    gone = [f"its term {term}"] if state.term != term else []
    gone += [f"its vote for {vote}"] if vote and (state.term, state.vote) != (term, vote) else []
    lost = [entry for entry in log if entry not in entries]
    names = ", ".join(str(entry.id) for entry in lost)
    return gone + ([f"its {'entries' if len(lost) > 1 else 'entry'} {names}"] if lost else [])


def _voter(stage: Stage) -> None:
    stage.stand("n1", "n3")
    stage.send("n1", "n2")
    stage.send("n2", "n1")
    stage.power_fails("n2")
    stage.send("n3", "n2")
    stage.send("n2", "n3", "Vote t")


def _candidate(stage: Stage) -> None:
    stage.stand("n1", "n3")
    stage.send("n1", "n2")
    (vote,) = stage.bench.select("n2", "n1")
    stage.bench.deliver(vote)
    stage.bench.write("n1")  # its first entry leaves while its own disk is still busy
    stage.power_fails("n1")
    stage.send("n3", "n1")
    stage.send("n1", "n3", "Vote t")


def _follower(stage: Stage) -> None:
    stage.elect("n1")
    stage.put("n1", b"1")
    stage.send("n1", "n2")
    stage.send("n2", "n1")
    stage.power_fails("n2")
    stage.bench.partition(["n1"], ["n2", "n3"])
    stage.bench.campaign("n3")
    stage.bench.stabilize(["n2", "n3"])


def _leader(stage: Stage) -> None:
    stage.elect("n1")
    stage.put("n1", b"1")
    stage.send("n1", "n2")
    stage.lose("n1", "n3")
    stage.send("n2", "n1")
    stage.power_fails("n1")
    stage.bench.partition(["n2"], ["n1", "n3"])
    stage.lose("n1", "n3")
    stage.bench.campaign("n3")
    stage.bench.stabilize(["n1", "n3"])


def _old_leader(stage: Stage) -> None:
    bench = stage.bench
    stage.elect("n1")
    stage.put("n1", b"old")
    stage.lose("n1", "n2", "n3", "n4")
    (late,) = bench.select("n1", "n5")
    bench.hold(late)
    stage.stand("n2")
    stage.lose("n2", "n1", "n5")
    for voter in ("n3", "n4"):
        stage.send("n2", voter)
        stage.send(voter, "n2")
    stage.put("n2", b"new")
    for name in ("n5", "n3"):  # first the empty entry of a new leader, then the put
        for _ in range(2):
            stage.send("n2", name)
            stage.send(name, "n2")
    stage.power_fails("n5")
    bench.deliver(late)
    bench.ready("n5")
    bench.partition(["n2", "n3"], ["n1", "n4", "n5"])
    stage.stand("n5", "n5")  # its first term may be one in which n4 has voted
    bench.stabilize(["n1", "n4", "n5"])


@dataclass(frozen=True)
class Scene:
    """Somebody loses power at the worst moment. `story` says it in a sentence."""

    name: str
    story: str
    play: Callable[[Stage], None]
    size: int = 3


SCENES = (
    Scene(
        "a voter loses power",
        "n1 and n3 stand in term 1. n2 gives its vote to n1, which leads. Then n2 loses power, "
        "comes back, and is asked by n3.",
        _voter,
    ),
    Scene(
        "a candidate loses power",
        "n1 and n3 stand in term 1. n1 wins with the vote of n2, and its first entry leaves. "
        "Before that is on its own disk n1 loses power, comes back, and is asked by n3.",
        _candidate,
    ),
    Scene(
        "a follower loses power",
        "n1 leads, a client puts a=1, n2 acknowledges the entry, and the client hears ok. Then "
        "n2 loses power and comes back, n1 is cut off, and n3 stands for election.",
        _follower,
    ),
    Scene(
        "a leader loses power",
        "n1 leads, a client puts a=1, n1 counts itself and n2, and the client hears ok. Then n1 "
        "loses power and comes back, n2 is cut off, and n3 stands for election.",
        _leader,
    ),
    Scene(
        "an old leader speaks late",
        "n1 leads term 1, and one of its messages to n5 takes very long. Meanwhile n2 leads term 2 "
        "with the votes of n3 and n4, and commits a=new with n3 and n5. n5 loses power and comes "
        "back; now the old message arrives.",
        _old_leader,
        size=5,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Ending:
    """How a scene ended: the promises that broke, the first in front, and what was forgotten."""

    scene: Scene
    trace: Trace
    broken: tuple[Verdict, ...]
    forgotten: tuple[str, ...]
    refused: str = ""  # a node that did not start any more says why


def try_all(table: Table) -> Iterable[Ending]:
    """Play every scene with a Raft that keeps this table; stops after the first that breaks."""
    whole = tidy(table)
    for scene in SCENES:
        stage, refused = Stage(scene.size, whole), ""
        try:
            scene.play(stage)
        except AssertionError as error:  # Raft's own look at what its disk gave back
            refused = str(error)
        broken = tuple(stage.bench.check().broken)
        yield Ending(scene, stage.bench.trace, broken, tuple(stage.forgotten), refused)
        if broken or refused:
            return


def is_safe(table: Table) -> bool:
    """Whether no scene breaks a promise."""
    return not any(ending.broken or ending.refused for ending in try_all(table))


def needless(table: Table) -> list[tuple[str, str]]:
    """The (moment, fact) pairs of a safe table without which, each alone, it is as safe."""
    whole = tidy(table)
    pairs = [(moment, fact) for moment in whole for fact in FACTS if fact in whole[moment]]
    return [(m, f) for m, f in pairs if is_safe({**whole, m: whole[m] - {f}})]


def cost(table: Table, puts: int = 20) -> tuple[float, float]:
    """Fsyncs of all three nodes and milliseconds, a put, on disks that take 5 ms."""
    return _cost(tuple((m, tuple(sorted(facts))) for m, facts in tidy(table).items()), puts)


@cache
def _cost(rows: tuple, puts: int) -> tuple[float, float]:
    cluster = BoundedCluster(
        3, seed=1, config=RaftConfig(), raft=keeping(dict(rows)), fsync_s=(0.005, 0.005)
    )
    client = cluster.client(cluster.wait_for_leader())
    cluster.run(0.5)
    start, took = len(cluster.trace), []
    for number in range(puts):
        asked_s = cluster.now
        client.put("k", str(number))
        took.append(cluster.now - asked_s)
        cluster.run(0.25)
    saved = sum(1 for _ in cluster.trace.of(Saved, start=start))
    return saved / puts, 1000 * mean(took)
