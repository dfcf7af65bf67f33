"""Exercises of lesson 05: what must be on disk before what leaves, and what a torn write leaves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from kvlearn.check.verdict import Verdict
from kvlearn.course.keeping import LEAST, SCENES, Ending, cost, keeping, needless, tidy, try_all
from kvlearn.course.kinds import Fact, Fill, Predict
from kvlearn.course.limits import BoundedCluster
from kvlearn.course.trials import ALL, FAULTS, Difference, Trial
from kvlearn.course.verdicts import Judgement, place, window
from kvlearn.events import Crashed
from kvlearn.kv.requests import Put
from kvlearn.raft.config import RaftConfig
from kvlearn.sim import Cluster
from kvlearn.sim.bench import Bench
from kvlearn.sim.script import play

LEAST_AS_CODE = """{
    "Vote?": ["term", "vote"],
    "Vote": ["term", "vote"],
    "Ack": ["term", "log"],
    "count": ["log"],
}
"""


# The exercises ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Choose:
    """Choose what is forced before what. With `least`, nothing may be forced in vain."""

    name: str
    solution: str  # Python source: the line that answers
    least: bool = False

    def judge(self, answer: Any) -> Judgement:
        """Play the scenes on a disk that is forced as the answer says."""
        if answer is None or answer is ... or (isinstance(answer, Mapping) and not _some(answer)):
            ask = "Which facts are on the node's disk before each of these moments?"
            return Judgement(self.name, None, "Nothing is forced to disk yet", [ask])
        try:
            table = tidy(answer)
        except (TypeError, ValueError) as error:
            what = "This cannot be read as a table"
            return Judgement(self.name, False, what, [str(error), "See the cell above it."])
        endings = list(try_all(table))
        if endings[-1].broken or endings[-1].refused:
            return self._broke(endings[-1])
        for trial in FAULTS[:2]:
            outcome = trial.run(keeping(table))
            if outcome.broken or outcome.error or outcome.stuck:
                why = str(outcome.broken or outcome.error or outcome.stuck)
                return Judgement(self.name, False, f"In {trial.name} it fails", [why])
        return self._lean(table) if self.least else self._kept(table)

    def _broke(self, ending: Ending) -> Judgement:
        if not ending.broken:
            return self._refused(ending)
        first, why = ending.broken[0], [ending.scene.story]
        why += [f"{told}, and what it had told the others was true no more." for told in
                ending.forgotten]  # fmt: skip
        why.append(f"{first.promise} broke at {_at(first)}: {first.why}.")
        for later in ending.broken[1:]:
            if later.promise == "Durability":
                why.append(f"And at {_at(later)} the write that the client was told is done is "
                           f"lost: {later.why}.")  # fmt: skip
        why.append("What should have been on that disk, and before which moment?")
        what = WHAT_BROKE.get(first.promise, "")
        parts = window(ending.trace, first.record.seq)
        title = f"{first.promise} is broken{what}"
        return Judgement(self.name, False, title, why, first.promise, "", first.record, parts)

    def _refused(self, ending: Ending) -> Judgement:
        record = list(ending.trace.of(Crashed))[-1]
        why = [ending.scene.story, *(f"{told}." for told in ending.forgotten)]
        why.append(
            f"{record.node} does not start any more: {ending.refused}. Its store is ahead of its "
            "log, and a node whose disk contradicts itself must not take part."
        )
        parts = window(ending.trace, record.seq)
        return Judgement(
            self.name, False, "Durability is broken: a node finds its own log too short", why,
            "Durability", "", record, parts,
        )  # fmt: skip

    def _kept(self, table: Mapping[str, frozenset[str]]) -> Judgement:
        syncs, ms = cost(table)
        why = [
            f"{len(SCENES)} scenes in which a node loses power at the worst moment, and two runs "
            "of random crashes and cuts: nothing broke. Who was asked again answered as before.",
            f"It costs {syncs:.1f} fsyncs a put on three nodes, and with disks that take 5 ms a "
            f"put takes {ms:.1f} ms.",
        ]
        return Judgement(self.name, True, "Every promise was kept", why)

    def _lean(self, table: Mapping[str, frozenset[str]]) -> Judgement:
        (syncs, ms), best = cost(table), cost(LEAST)[1]
        price = f"{syncs:.1f} fsyncs and {ms:.1f} ms a put, on disks that take 5 ms"
        if vain := needless(table):
            rows = ", ".join(f"`{m}`" for m in dict.fromkeys(moment for moment, _ in vain))
            why = [
                f"Nothing broke, and it costs {price}. But of what you force, {len(vain)} "
                f"could go, each alone, without breaking anything. Look at {rows}."
            ]
            return Judgement(self.name, False, "Safe, but something is forced in vain", why)
        if ms > best * 1.05:
            why = [
                f"Nothing broke, and nothing can be left out. But it costs {price}, and {best:.1f} "
                "ms are possible: somebody waits for a disk that could write meanwhile."
            ]
            return Judgement(self.name, False, "Safe, but slower than need be", why)
        why = [
            "A vote is kept before anybody hears of it, be it for another or for oneself; an entry "
            "before it counts, on a follower and on the leader alike; and the term before either. "
            "A leader's entries may leave while its own disk still writes. Commit index, store and "
            "heartbeats promise nothing that the log does not.",
            f"It costs {price}.",
        ]
        return Judgement(self.name, True, "As little as possible, and every promise kept", why)


WHAT_BROKE = {
    "Election Safety": ": two leaders in one term",
    "Leader Completeness": ": a leader lacks what was committed",
}


def _at(verdict: Verdict) -> str:
    """Scenes are cranked by hand, so no seed belongs to them."""
    return place(replace(verdict, seed=None))


def _some(table: Mapping) -> bool:
    return any(table.values())


# A torn tail --------------------------------------------------------------------------------

TORN = """cluster 3
log n1 1
log n2 1 1 1
log n3 1
quiet
campaign n1
stabilize n1 n3
put n1 a=1
put n1 a=2
stabilize n1 n3
drop n1→n2
tick n1
ready n1
deliver n1→n2
ready n2
deliver n2→n1
ready n1
deliver n1→n2
write n2
"""


def torn_write() -> Bench:
    """n2 has an old tail that no majority has; it writes the new leader's three entries over it,
    and its disk is not forced yet."""
    return play(TORN).cluster


def _torn() -> Fact:
    """Three entries are being written over two; the first is whole when the power fails."""
    bench = torn_write()
    assert not bench.select("n2", "n1", "Ack"), "n2 acknowledges before its fsync"
    bench.crash("n2", kept=1)
    bench.start("n2")
    log = bench.hosts["n2"].node.raft.log
    kept = [str(entry.id) for entry in log.slice(1, log.last_index)]
    crashed = next(bench.trace.of(Crashed))
    why = (
        "1@1 stood there before, and the record of 2@2 is whole. 2@2 replaces what the log had at "
        "its index and all that followed, so the old 3@1 is gone too: it followed 2@1. 3@2 is torn "
        "and fails its checksum, and nothing behind a torn record can be trusted. All that may "
        "go, because n2 has not acknowledged any of it: those who have are n1 and n3, and the "
        "leader will send it again."
    )
    old, new = "1@1 2@1 3@1", "1@1 2@2 3@2 4@2"
    hints = {
        tuple(old.split()): "A record that is whole counts, forced or not, and 2@2 replaces 2@1.",
        tuple(new.split()): "A record that fails its checksum is no entry.",
        ("1@1",): "A record that is whole counts, forced or not.",
        ("1@1", "2@2", "3@1"): "3@1 was the entry after 2@1. Which entry can it follow now?",
        ("1@1", "2@2", "3@2"): "A record that fails its checksum is no entry.",
    }
    return Fact(tuple(kept), bench.trace, crashed.seq, why, hints)


def entry_names(answer: Any) -> tuple[str, ...]:
    """Entries in any form, in their order: `1@1 2@2`, or a list.

    >>> entry_names("1@1, 2@2")
    ('1@1', '2@2')
    """
    if isinstance(answer, str):
        answer = answer.replace(",", " ").replace("|", " ").split()
    if not isinstance(answer, (list, tuple)):
        raise ValueError('Write the entries as index@term, in their order: "1@1 2@1".')
    names = tuple(answer)
    for name in names:
        if not isinstance(name, str) or not re.fullmatch(r"\d+@\d+", name):
            raise ValueError(f'{name!r} is no entry; write entries as index@term: "1@1 2@1".')
    return names


# A slow disk --------------------------------------------------------------------------------


def _slow_disk(cluster: BoundedCluster) -> None:
    """The leader's disk takes a second; a follower has the entry long before. The leader crashes
    in between, and that follower is cut off."""
    leader = cluster.wait_for_leader()
    friend, other = (name for name in cluster.nodes if name != leader)
    cluster.run(0.5)
    cluster.partition([leader, friend], [other])
    cluster.disk(leader).fsync_s = (1.0, 1.0)
    cluster.submit(Put(b"a", b"1"), leader)
    cluster.run(0.1)
    cluster.crash(leader)
    cluster.partition([leader, other], [friend])
    cluster.disk(leader).fsync_s = (0.001, 0.001)
    cluster.restart(leader)
    cluster.run(5.0)
    cluster.heal()
    cluster.client().put("after", "all")


SLOW_DISK = Trial("the leader's disk is slow", _slow_disk, size=3, seed=2, config=RaftConfig())


def _match_hint(first: Difference) -> str:
    if first.said.isdecimal() and int(first.said) > int(first.wanted):
        return "An entry that is only in memory is gone with the next crash, and its vote with it."
    return "What is on the disk may count; too little of it, and nothing is ever committed."


def late_ack() -> Cluster:
    """Three nodes with disks that take 0.3 s; a put is on its way to the followers' disks."""
    cluster = Cluster(3, seed=46, config=RaftConfig())
    leader = cluster.wait_for_leader()
    cluster.run(0.5)
    for name in cluster.nodes:
        cluster.disk(name).fsync_s = (0.3, 0.3)
    cluster.submit(Put(b"a", b"1"), leader)
    cluster.run(0.02)
    return cluster


def put_times_s(slow_followers: int, slow_leader: bool, puts: int = 30) -> list[float]:
    """Seconds until each put is answered; disks take 0.5 to 2 ms, and slow ones take 50 ms."""
    cluster = Cluster(5, seed=1, config=RaftConfig())
    leader = cluster.wait_for_leader()
    followers = [name for name in cluster.nodes if name != leader]
    for name in followers[:slow_followers] + [leader] * slow_leader:
        cluster.disk(name).fsync_s = (0.05, 0.05)
    client, took = cluster.client(leader), []
    for number in range(puts):
        cluster.run(0.3)
        asked_s = cluster.now
        client.put("k", str(number))
        took.append(cluster.now - asked_s)
    return took


EXERCISES = [
    Predict(
        "crashes/torn",
        "Which entries does the log of n2 have when it starts again?",
        _torn,
        'entries = "1@1 2@2"',
        entry_names,
        empty="",
    ),
    Choose(
        "crashes/durable",
        f"before = {LEAST_AS_CODE}",
    ),
    Choose(
        "crashes/least",
        f"fewer = {LEAST_AS_CODE}",
        least=True,
    ),
    Fill(
        "crashes/own_match",
        "own_match",
        "A leader is one of those whose disks are counted, and its memory counts no more than that "
        "of the others. So its entries may leave early, and it counts itself when its disk has "
        "answered. A majority of others may be quicker.",
        "    def own_match(self):\n        return self.log.stable\n",
        trials=(SLOW_DISK, *ALL),
        hint=_match_hint,
    ),
]
