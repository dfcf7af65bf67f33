"""Exercises about leases: a lessor proves itself in scenes of a cluster, or a scene convicts one.

As with Raft (`kinds.py`) and the hub of watches (`store_kinds.py`), two things are looked at:
whether a promise to the holders of leases breaks, and where the rule first decides otherwise.
"""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from typing import Any

from kvlearn.check.leases import leases
from kvlearn.check.verdict import Verdict
from kvlearn.course.store_kinds import StoreTrial, StoreWitness
from kvlearn.course.trials import Difference, Outcome, Watch
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
class LessorTrial(StoreTrial):
    """A scene of three nodes whose lessors are of the student's class."""

    seed: int = 7

    part, watch, reference = "lessor", LessorWatch, Lessor
    excused = (TypeError,)  # the rule gave something that is no moment

    def broken(self, outcome: Outcome) -> list[Verdict]:
        """The broken promises to holders."""
        return leases(outcome.trace).broken if outcome.error is None else []


@dataclass(frozen=True)
class LessorWitness(StoreWitness):
    """Write a scene in which a broken lessor breaks a promise to a holder, and Lessor does not."""

    reference: type = Lessor
    trial = LessorTrial
