"""Exercises about leases: a lessor proves itself in scenes of a cluster, or a scene convicts one.

As with Raft (`kinds.py`) and the hub of watches (`store_kinds.py`), two things are looked at:
whether a promise to the holders of leases breaks, and where the rule first decides otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, field
from typing import Any

from kvlearn.check.leases import leases
from kvlearn.course.kinds import Witness
from kvlearn.course.limits import HALTS, BoundedCluster, bounded
from kvlearn.course.trials import Difference, Outcome, Watch
from kvlearn.course.verdicts import Judgement
from kvlearn.errors import RequestError, TimedOut
from kvlearn.kv.config import StoreConfig
from kvlearn.lease import Lease, Lessor
from kvlearn.raft.types import ZERO


class LessorWatch(Watch):
    """Sits between a cluster and the rules of its lessors."""

    def _note(self, lessor: Lessor, rule: str, arguments: tuple, said: Any, wanted: Any) -> None:
        shown = ", ".join(_shown(argument) for argument in arguments)
        lease = next((one for one in arguments if isinstance(one, Lease)), None)
        told = rule, shown, _shown(said), _shown(wanted), _state(lease)
        seq = len(self.cluster.trace) - 1
        seen = (*map(copy, arguments), said, wanted)  # a lease changes, and hints look later
        self.differences.append(Difference(seq, "the lessor", *told, seen, ZERO))


def _state(lease: Lease | None) -> str:
    if lease is None:
        return "in its place"
    noted = f", {lease.remaining_s} s noted" if lease.remaining_s else ""
    return (
        f"with lease {lease.id:x} of {lease.ttl_s} s, that runs out at {lease.expiry_s:.2f}{noted}"
    )


def _shown(thing: Any) -> str:
    if isinstance(thing, Lease):
        return f"lease {thing.id:x}"
    return f"{thing:.2f}" if isinstance(thing, float) else str(thing)


@dataclass(frozen=True)
class LessorTrial:
    """A scene of three nodes whose lessors are of the student's class; `store` are settings."""

    name: str
    play: Callable[[BoundedCluster], Any]
    seed: int = 7
    store: dict[str, Any] = field(default_factory=dict)

    def run(
        self, cls: type[Lessor], rules: tuple[str, ...], reference: type[Lessor] = Lessor
    ) -> Outcome:
        """Play the scene, and look whether the promises to holders were kept."""
        watch = LessorWatch(cls, rules, reference)
        config = StoreConfig(lessor=watch.watched, **self.store)
        cluster = watch.cluster = BoundedCluster(3, seed=self.seed, store=config)
        outcome = Outcome(self.name, self.seed, cluster.trace)
        try:
            bounded(self.play, cluster)
            cluster.run(2.0)  # let what has run out go
        except (TimedOut, RequestError) as error:
            if not watch.differences:
                outcome.stuck = str(error)
        except (*HALTS, Exception) as error:
            outcome.error = error
        if isinstance(outcome.error, TypeError) and watch.differences:
            outcome.error = None  # the rule gave something that is no moment, and that is told
        outcome.error = watch.error or outcome.error
        broken = leases(cluster.trace).broken if outcome.error is None else ()
        outcome.broken = broken[0] if broken else None
        outcome.asked, outcome.differences = watch.asked, watch.differences
        return outcome


@dataclass(frozen=True)
class LessorWitness(Witness):
    """Write a scene in which a broken lessor breaks a promise to a holder, and Lessor does not."""

    reference: type = Lessor
    store: dict[str, Any] = field(default_factory=dict)

    def judge(self, scene: Any) -> Judgement:
        """Play the scene twice: with the mutant, and with the reference."""
        if isinstance(scene, str) and scene.strip():
            what = "This exercise takes a function of a cluster, not a transcript"
            return Judgement(self.name, False, what, ["Write `check(my_scene, exercise=...)`."])
        return super().judge(scene)

    def _play(self, scene: Any, cls: type[Lessor]) -> Outcome:
        trial = LessorTrial("yours", scene, self.seed, self.store)
        return trial.run(cls, (self.mutant.rule,))
