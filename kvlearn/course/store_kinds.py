"""Exercises about the store: rules and witnesses of watches, and small programs on a client.

A hub of watches proves itself as a Raft does (`kinds.py`): in scenes of a cluster, in which the
promises to watchers are checked, and each decision of the student's rule is held against the rule.
A program is a function that works on a client, and is judged by what it did to the store.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from typing import Any, ClassVar

from kvlearn.check.verdict import Verdict
from kvlearn.check.watches import watches
from kvlearn.client import Client
from kvlearn.course.kinds import Witness, _is_empty
from kvlearn.course.limits import HALTS, BoundedCluster, Spent, blame, bounded
from kvlearn.course.trials import Difference, Outcome, Watch
from kvlearn.course.verdicts import Judgement, window
from kvlearn.errors import KVLearnError, RequestError, TimedOut
from kvlearn.kv.config import StoreConfig
from kvlearn.mvcc.watch import Watcher, WatchHub
from kvlearn.raft.config import RaftConfig
from kvlearn.raft.types import ZERO
from kvlearn.sim import Cluster
from kvlearn.trace import Trace

CHANCE = "by chance, number "  # so the names of scenes begin that luck has made


class HubWatch(Watch):
    """Sits between a cluster and the rules of its watch hubs."""

    def _note(self, hub: WatchHub, rule: str, arguments: tuple, said: Any, wanted: Any) -> None:
        arguments = tuple(copy(a) if isinstance(a, Watcher) else a for a in arguments)  # as it is
        shown = ", ".join(_shown(argument) for argument in arguments)
        state = f"with the store at revision {hub.store.revision}"
        if hub.store.compacted:
            state += f", compacted at {hub.store.compacted}"
        self.differences.append(
            Difference(
                len(self.cluster.trace) - 1, "the hub", rule, shown, str(said), str(wanted), state,
                arguments, ZERO,
            )
        )  # fmt: skip


def _shown(argument: Any) -> str:
    if isinstance(argument, Watcher):
        return f"a watcher of {argument.key.decode()} that waits for {argument.next}"
    return str(argument)


@dataclass(frozen=True)
class StoreTrial:
    """A scene of three nodes, one part of whose stores is of the student's class.

    `store` are settings. A kind of trial says which part that is, who watches it, and what it is
    held against; `excused` are errors that follow from a wrong decision, which is told instead.
    """

    name: str
    play: Callable[[BoundedCluster], Any]
    seed: int = 1
    store: dict[str, Any] = field(default_factory=dict)
    config: RaftConfig = RaftConfig()

    part: ClassVar[str]  # of a StoreConfig
    watch: ClassVar[type[Watch]]
    reference: ClassVar[type]
    excused: ClassVar[tuple[type[Exception], ...]] = ()

    def run(self, cls: type, rules: tuple[str, ...], reference: type | None = None) -> Outcome:
        """Play the scene, and look whether the promises that the part gives were kept."""
        watch = self.watch(cls, rules, reference or self.reference)
        config = StoreConfig(**{self.part: watch.watched}, **self.store)
        cluster = watch.cluster = BoundedCluster(
            3, seed=self.seed, config=self.config, store=config
        )
        outcome = Outcome(self.name, self.seed, cluster.trace)
        try:
            bounded(self.play, cluster)
            cluster.run(2.0)  # let who is behind catch up, and what has run out go
        except (TimedOut, RequestError) as error:
            if not watch.differences:
                outcome.stuck = str(error)
        except (*HALTS, Exception) as error:
            if not (watch.differences and isinstance(error, self.excused)):
                outcome.error = error
        outcome.error = watch.error or outcome.error
        broken = self.broken(outcome)
        outcome.broken = broken[0] if broken else None
        outcome.asked, outcome.differences = watch.asked, watch.differences
        return outcome

    def broken(self, outcome: Outcome) -> list[Verdict]:
        """The promises that were broken, the first of them in front."""
        raise NotImplementedError(f"{type(self).__name__} knows no promises")


@dataclass(frozen=True)
class StoreWitness(Witness):
    """Write a scene in which a broken part of a store breaks a promise, and `reference` does not.

    The answer is a function of a cluster. `trial` is the kind of scene in which it is played.
    """

    store: dict[str, Any] = field(default_factory=dict)

    trial: ClassVar[type[StoreTrial]]

    def judge(self, scene: Any) -> Judgement:
        """Play the scene twice: with the mutant, and with the reference."""
        if isinstance(scene, str) and scene.strip():
            what = "This exercise takes a function of a cluster, not a transcript"
            return Judgement(self.name, False, what, ["Write `check(my_scene, exercise=...)`."])
        return super().judge(scene)

    def _play(self, scene: Any, cls: type) -> Outcome:
        return self.trial("yours", scene, self.seed, self.store).run(cls, (self.mutant.rule,))


class HubTrial(StoreTrial):
    """A scene of three nodes whose watch hubs are of the student's class."""

    part, watch, reference = "hub", HubWatch, WatchHub

    def broken(self, outcome: Outcome) -> list[Verdict]:
        """The broken promises to watchers."""
        return watches(outcome.trace).broken


@dataclass(frozen=True)
class HubWitness(StoreWitness):
    """Write a scene in which a broken hub breaks a promise to a watcher, and WatchHub does not."""

    reference: type = WatchHub
    trial = HubTrial


# Programs -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """What is wrong with what a program did. `seq`: the record that shows it."""

    title: str
    why: str
    trace: Trace
    seq: int = -1
    hint: str = ""


@dataclass(frozen=True)
class Scene:
    """A scene for a program: `play(program)` runs it and says what is wrong, or None.

    `hints`: what to say if the program does not come to its end, by the kind of error.
    """

    name: str
    play: Callable[[Callable], Found | None]
    hints: dict[type[BaseException], str] = field(default_factory=dict)

    def hint_for(self, error: BaseException) -> str:
        """The hint for what came out of the program, or nothing."""
        return next((text for kind, text in self.hints.items() if isinstance(error, kind)), "")


class SmallCluster(BoundedCluster):
    """A cluster for one program: the solutions need some hundred events."""

    budget = 4_000


@dataclass(frozen=True)
class Program:
    """Write a function that works on a client; every scene judges it."""

    name: str
    ask: str
    because: str
    solution: str  # Python source: the function's body
    scenes: tuple[Scene, ...]

    def judge(self, program: Any) -> Judgement:
        """Let the program run in every scene, up to the first in which it does wrong."""
        if program is None or _is_empty(program):
            return Judgement(self.name, None, "Nothing is written yet", [self.ask])
        if not callable(program):
            what = f"This exercise takes a function, not {type(program).__name__}"
            return Judgement(self.name, False, what, [self.ask])
        for scene in self.scenes:
            try:
                found = bounded(scene.play, program)
            except (*HALTS, Exception) as error:
                return self._raised(scene, error)
            if found is not None:
                return self._found(scene, found)
        told = [scene.name for scene in self.scenes if not scene.name.startswith(CHANCE)]
        if by_chance := len(self.scenes) - len(told):
            told.append(f"{by_chance} by chance")
        told = "; ".join(told)
        proof = f"It was tried in {len(self.scenes)} scene{'s' * (len(self.scenes) > 1)}: {told}."
        return Judgement(self.name, True, "It does what it should", [self.because, proof])

    def _found(self, scene: Scene, found: Found) -> Judgement:
        record = found.trace[found.seq] if len(found.trace) else None
        parts = window(found.trace, record.seq) if record is not None else []
        why = [f"In the scene “{scene.name}”: {found.why}", found.hint]
        why = [text for text in why if text]
        return Judgement(self.name, False, found.title, why, record=record, parts=parts)

    def _raised(self, scene: Scene, error: BaseException) -> Judgement:
        plain = isinstance(error, (Spent, KVLearnError))
        what = str(error) if plain else f"{type(error).__name__}: {error}"
        where = blame(error)
        why = [f"It came up {where}." if where else "", f"The scene was “{scene.name}”."]
        why.append(scene.hint_for(error))
        title = f"The program does not come to its end: {what}"
        return Judgement(self.name, False, title, [text for text in why if text])


class Meddled:
    """A client in whose way somebody comes: before each of its calls, and after, others write."""

    def __init__(self, cluster: Cluster, moves: list[Callable[[Client], Any]]):
        self._client, self._other = cluster.client(), cluster.client()
        self._moves = moves
        self.read = 0  # of which revision the last answer tells

    def _between(self) -> None:
        if self._moves:
            self._moves.pop(0)(self._other)

    def get(self, *arguments: Any, **options: Any) -> Any:
        """Read, and somebody else writes at once."""
        answer = self._client.get(*arguments, **options)
        self.read = options.get("revision") or answer.header.revision
        self._between()
        return answer

    def watch(self, *arguments: Any, **options: Any) -> Any:
        """Watch, and somebody else writes at once."""
        watcher = self._client.watch(*arguments, **options)
        self._client.channel.wait(0.1)
        self._between()
        return watcher

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)
