"""Exercises of lesson 06: who needs a snapshot, what is in one, which one is ignored, a witness."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from kvlearn.course.kinds import Fact, Fill, Predict, Witness, names
from kvlearn.course.limits import BoundedCluster
from kvlearn.course.mutants import TakesOldSnapshots
from kvlearn.course.trials import Difference, Trial
from kvlearn.course.verdicts import Judgement, window
from kvlearn.events import LogCompacted, Sent, SnapshotInstalled
from kvlearn.kv.requests import Put
from kvlearn.raft.config import RaftConfig
from kvlearn.raft.messages import AppendEntries, InstallSnapshot
from kvlearn.raft.raft import Raft
from kvlearn.raft.types import EntryID, Snapshot
from kvlearn.sim import Cluster
from kvlearn.sim.bench import Bench
from kvlearn.sim.script import Playback, play

SMALL = RaftConfig(snapshot_entries=10, kept_entries=3, chunk_records=4)

# The play --------------------------------------------------------------------------------------


def slow_follower() -> Cluster:
    """Three nodes; n2 is cut off after 5 entries, and has missed 12, of which n3, the leader, and
    n1 have compacted some away."""
    cluster = Cluster(3, seed=5, config=SMALL)
    leader = cluster.wait_for_leader()
    cluster.run(0.5)
    for number in range(4):
        cluster.client().put("abcd"[number], str(number))
    cluster.isolate("n2")
    client = cluster.client(leader)
    for number in range(4, 16):
        client.put("abcd"[number % 4], str(number))
    cluster.run(0.2)
    return cluster


def caught_up(missed: int, kept: int, before: int = 40) -> dict[str, int]:
    """What a leader that keeps `kept` entries sends to a follower that missed `missed` of them."""
    config = RaftConfig(kept_entries=kept)
    cluster = Cluster(3, seed=1, config=config)
    leader = cluster.wait_for_leader()
    client = cluster.client(leader)
    late = next(name for name in cluster.nodes if name != leader)
    for number in range(before + missed):
        if number == before:
            cluster.run(0.5)
            cluster.isolate(late)
        client.put(f"k{number % 5}", str(number))
    cluster.compact(leader, kept)
    start = len(cluster.trace)
    cluster.heal()
    cluster.run(0.5)
    assert cluster.nodes[late].commit == cluster.nodes[leader].commit
    sent = [r.event.message for r in cluster.trace.of(Sent, node=leader, start=start)]
    sent = [message for message in sent if message.target == late]
    entries = sum(len(m.entries) for m in sent if isinstance(m, AppendEntries))
    records = sum(len(m.records) for m in sent if isinstance(m, InstallSnapshot))
    return {"entries": entries, "records of a snapshot": records}


class ForgetsTooSoon(Raft):
    """Compacts without looking whom it sends a snapshot: what lies right behind that is gone."""

    def compact(self, snapshot: Snapshot, index: int) -> None:
        """As if nobody were being sent one."""
        followers, self.progress = self.progress, {}
        super().compact(snapshot, index)
        self.progress = followers


def under_load(kept: int, raft: type[Raft] = Raft) -> tuple[int, int]:
    """A follower comes back while a client writes a hundred times a second for four seconds: how
    many snapshots it got in that time, and how many entries it lacks at the end."""
    config = RaftConfig(snapshot_entries=5, kept_entries=kept, chunk_records=4)
    cluster = Cluster(3, seed=1, config=config, raft=raft)
    leader = cluster.wait_for_leader()
    late = next(name for name in cluster.nodes if name != leader)
    for number in range(80):
        if number == 40:
            cluster.isolate(late)
        cluster.client(leader).put(f"k{number % 5}", str(number))
    start = len(cluster.trace)
    cluster.heal()
    for number in range(400):
        cluster.submit(Put(b"k", b"%d" % number), leader)
        cluster.run(0.01)
    installed = sum(1 for _ in cluster.trace.of(SnapshotInstalled, start=start))
    return installed, cluster.nodes[leader].applied - cluster.nodes[late].applied


# Who gets one ----------------------------------------------------------------------------------

BEHIND = """cluster 7
quiet
campaign n1
stabilize
partition n1 n2 n3 n4 n5 n6 | n7
put n1 a=1
put n1 b=2
put n1 c=3
put n1 d=4
stabilize
partition n1 n2 n3 n4 n5 | n6 n7
put n1 e=5
stabilize
partition n1 n2 n3 n4 | n5 n6 n7
put n1 f=6
put n1 g=7
put n1 h=8
stabilize
compact n1 kept=3
compact n2
compact n3 kept=5
"""


def behind() -> Bench:
    """Seven logs; n1 leads and has compacted its own up to 6, and n5, n6 and n7 were cut off."""
    return play(BEHIND).cluster


def _who_needs() -> Fact:
    bench = behind()
    start = len(bench.trace)
    bench.heal()
    bench.tick("n1")
    bench.stabilize()
    records = list(bench.trace.of(SnapshotInstalled, start=start))
    why = (
        "n1's log begins behind 6@1, and of 6@1 it still knows the term. So it can ask n5 “do you "
        "have 6@1?” and go on with entry 7. Before 6@1 it knows nothing: n6 and n7 get the "
        "snapshot, although n6 lacks one entry more than n5. Where n2 and n3 begin does not "
        "matter to n1: each node compacts its own log as it likes, and theirs are complete."
    )
    six = "n5 has all up to 6@1. Which entry does it need first, and does n1 have that one?"
    hints = {
        ("n5", "n6", "n7"): six,
        ("n7",): "n6 needs entry 6 first. Does n1 still have it?",
        ("n2", "n6", "n7"): "n2's log has no entry left, but what does n2 lack?",
        ("n2", "n5", "n6", "n7"): "n2's log has no entry left, but what does n2 lack?",
        (): "Which entry does each follower need next, and which ones does n1 still have?",
    }
    return Fact(names({r.node for r in records}, 7), bench.trace, records[0].seq, why, hints)


def _seven(answer: Any) -> tuple[str, ...]:
    return names(answer, 7)


# Where a log begins ----------------------------------------------------------------------------


def _where() -> Fact:
    """A leader's no-op and 46 puts; a snapshot every 20 entries, 5 are kept behind each."""
    cluster = Cluster(3, seed=2, config=RaftConfig(snapshot_entries=20, kept_entries=5))
    leader = cluster.wait_for_leader()
    for number in range(46):
        cluster.client(leader).put("k", str(number))
    last = list(cluster.trace.of(LogCompacted, node=leader))[-1]
    why = (
        "Snapshots are taken when 20 entries were applied since the last one: at entry 20 and at "
        "entry 40. Behind each, 5 entries are kept for slow followers, so the log ends its "
        "compacted part at 35. The next snapshot will be due at entry 60."
    )
    hints = {
        35: "35 is the last one that is gone.",
        41: "The snapshot is of entry 40. But some entries are kept behind it.",
        40: "The snapshot is of entry 40. But some entries are kept behind it.",
        43: "Five are kept behind the snapshot. When was the last one taken?",
        42: "Five are kept behind the snapshot. When was the last one taken?",
        28: "Five are kept, not twenty. And a snapshot is taken once in 20 entries.",
        16: "That was so after the first snapshot, of entry 20.",
        1: "The first entries are gone since the first snapshot.",
    }
    return Fact(last.event.base.index + 1, cluster.trace, last.seq, why, hints)


def _index(answer: Any) -> int:
    if isinstance(answer, bool) or not isinstance(answer, int):
        raise ValueError("The answer is an index: a whole number.")
    return answer


# What is in a snapshot -------------------------------------------------------------------------

NEEDED = ("state", "index", "term", "members")
FACTS = (*NEEDED, "vote", "log", "commit")

STATE = """cluster 3
quiet
campaign n1
stabilize
partition n1 n2 | n3
put n1 a=1
put n1 b=2
stabilize
compact n1
heal
tick n1
stabilize
put n1 c=3
stabilize
loud
log
status
"""

MEMBERS = """cluster 3
quiet
campaign n1
stabilize
join n4
join n5
partition n1 n2 n4 n5 | n3
conf n1 +n4
stabilize
conf n1 +n5
stabilize
compact n1
heal
tick n1
loud
quiet saved applied sent
stabilize n1 n3
quiet
stabilize
partition n1 n4 n5 | n2 n3
crash n1
start n1
campaign n4
stabilize n1 n4 n5
loud
quiet saved applied received appended committed
campaign n3
stabilize n2 n3
"""

STORIES = {
    STATE: "n3 misses two puts, gets the snapshot, and a third put follows.",
    MEMBERS: "n4 and n5 become members while n3 is cut off; n3 gets the snapshot. Then the network "
    "breaks between n1 n4 n5 and n2 n3, and n4 and n3 stand for election.",
}
NEEDLESS = {
    "vote": "Whom the leader voted for is the leader's own affair; the follower has its own vote "
    "on its own disk, and must not lose it.",
    "log": "The log up to there is what the snapshot stands for; what follows comes as entries.",
    "commit": "Only what is applied is in a snapshot, and only what is committed is applied. So "
    "`index` tells it already.",
}


def holding(kept: Iterable[str]) -> type[Raft]:
    """A Raft whose snapshots hold no more than these facts when they arrive."""
    kept = frozenset(kept)

    class Holds(Raft):
        def _restore(self, snapshot: Snapshot) -> None:
            """Take over what is there."""
            term = snapshot.last.term if "term" in kept else 0
            index = snapshot.last.index if "index" in kept else 0
            conf = snapshot.conf if "members" in kept else self.conf
            data = snapshot.data if "state" in kept else snapshot.data[:1]
            super()._restore(Snapshot(EntryID(term, index), conf, data))

    return Holds


class LeavesMembersOut(holding(set(FACTS) - {"members"})):
    """Takes over the state of a snapshot, and goes on counting by the members that it knew."""


def facts_of(answer: Any) -> tuple[str, ...]:
    """The facts that an answer names, in the order of `FACTS`.

    >>> facts_of("term state")
    ('state', 'term')
    """
    if isinstance(answer, str):
        answer = answer.replace(",", " ").split()
    found = list(answer)
    for fact in found:
        if fact not in FACTS:
            raise ValueError(f"{fact!r} is none of {', '.join(FACTS)}.")
    return tuple(fact for fact in FACTS if fact in found)


@dataclass(frozen=True)
class Contents:
    """Say what a snapshot has to hold; what is left out is missing when it arrives."""

    name: str
    solution: str  # Python source: the line that answers

    def judge(self, answer: Any) -> Judgement:
        """Play the stories with snapshots that hold what the answer names."""
        if answer is None or answer is ... or answer in ("", [], ()):
            ask = "What must a snapshot hold, so that a follower can go on from there?"
            return Judgement(self.name, None, "The snapshot is empty yet", [ask])
        try:
            facts = facts_of(answer)
        except (TypeError, ValueError) as error:
            what = "This cannot be read as an answer"
            return Judgement(self.name, False, what, [str(error)])
        if "index" not in facts:
            title = "Nobody knows where the log goes on"
            why = (
                "n3 gets a snapshot and does not know of which entry it is. So it cannot tell "
                "which entries are in it, and would carry them out again."
            )
            return Judgement(self.name, False, title, [why])
        for story in STORIES:
            judgement = self._played(story, play(story, holding(facts)))
            if judgement is not None:
                return judgement
        if vain := [fact for fact in facts if fact in NEEDLESS]:
            why = [NEEDLESS[fact] for fact in vain]
            title = f"Enough, but {' and '.join(vain)} could stay at home"
            return Judgement(self.name, False, title, why)
        why = [
            "The state is what the entries did. Index and term name the last entry that is in it, "
            "so the log can go on behind it: the consistency check asks for that very entry. And "
            "the members are part of what entries did, too: who missed a change of members in "
            "the log would count by an old list, and might elect a second leader with it."
        ]
        return Judgement(self.name, True, "With that a follower can go on", why)

    def _played(self, story: str, playback: Playback) -> Judgement | None:
        broken = playback.verdicts().broken
        if not broken:
            return None
        first = broken[0]
        why = [
            STORIES[story],
            f"{first.promise} broke: {first.why}.",
            "What was missing there?",
        ]
        parts = window(playback.trace, first.record.seq)
        title = f"{first.promise} is broken"
        return Judgement(self.name, False, title, why, first.promise, "", first.record, parts)


# Old snapshots ---------------------------------------------------------------------------------


def _late_copies(cluster: BoundedCluster) -> None:
    """Nodes are cut off in turn, snapshots are small and frequent, packets come twice and late."""
    rng = Random(f"snapshots/{cluster.seed}")
    leader = cluster.wait_for_leader()
    cluster.run(0.3)
    cluster.links.duplicate, cluster.links.reorder = 0.6, 0.5
    for number in range(6):
        away = rng.choice([name for name in cluster.nodes if name != leader])
        cluster.isolate(away)
        for count in range(7):
            cluster.submit(Put(b"k%d" % count, b"%d" % number), leader)
        cluster.run(rng.uniform(0.1, 0.3))
        cluster.heal()
        cluster.run(rng.uniform(0.1, 0.3))
    cluster.links.duplicate = cluster.links.reorder = 0.0
    cluster.client(timeout_s=20.0).put("after", "all")
    cluster.run(1.0)


def _old_copy(cluster: BoundedCluster) -> None:
    """One copy of a snapshot comes two seconds late, when the follower has gone on."""
    leader = cluster.wait_for_leader()
    late = next(name for name in cluster.nodes if name != leader)
    cluster.run(0.5)
    cluster.isolate(late)
    client = cluster.client(leader)
    client.put("a", "1")
    cluster.compact(leader)
    cluster.heal()
    cluster.run_until(lambda c: _snapshots(c))
    cluster.delay(_snapshots(cluster)[0], 2.0)
    client.put("b", "2")
    client.put("c", "3")
    cluster.run(0.5)
    cluster.compact(late)
    cluster.run(3.0)


def _snapshots(cluster: Cluster) -> list:
    return [packet for packet in cluster.in_flight if isinstance(packet.message, InstallSnapshot)]


def _long_own_tail(cluster: BoundedCluster) -> str:
    """An old leader has many entries of its own that nobody else has; the others have gone on and
    compacted their logs, so that only a snapshot helps it."""
    old = cluster.wait_for_leader()
    cluster.run(0.5)
    cluster.isolate(old)
    for number in range(12):
        cluster.submit(Put(b"lost", b"%d" % number), old)
    cluster.run_until(lambda c: c.leader != old)
    client = cluster.client(cluster.leader)
    client.put("kept", "1")
    client.put("kept", "2")
    cluster.compact(cluster.leader)
    cluster.heal()
    cluster.run(1.5)
    ahead = cluster.nodes[cluster.leader].applied
    behind = cluster.nodes[old].applied
    return f"{old} has applied {behind} entries of {ahead}, and stays there" * (behind < ahead)


FREQUENT = RaftConfig(snapshot_entries=4, kept_entries=0, chunk_records=3)
OLD_COPY = Trial("an old copy of a snapshot", _old_copy, config=RaftConfig())
OWN_TAIL = Trial("a long tail that nobody else has", _long_own_tail, config=RaftConfig())
LATE_COPIES = tuple(
    Trial(f"snapshots twice and late, seed {seed}", _late_copies, 3, seed, FREQUENT)
    for seed in range(1, 4)
)


def _wants_hint(first: Difference) -> str:
    """What was compared with what, and what that would do."""
    (last,), end = first.arguments, first.log_end
    if first.wanted == "True":
        return (
            f"The snapshot is of {last}, and the log ends at {end}. What stands in a log beyond "
            "its commit index may be wrong; what counts is how far the node is committed."
        )
    return (
        f"The snapshot is of {last}, and the node knows more than that to be committed. It may "
        "have applied it, answered clients, and compacted it away. A state does not go back."
    )


EXERCISES = [
    Predict(
        "snapshots/who-needs",
        "Which followers get the snapshot?",
        _who_needs,
        'gets_snapshot = ["n6", "n7"]',
        _seven,
    ),
    Predict(
        "snapshots/where",
        "What is the first index that is still in the leader's log?",
        _where,
        "first = 36",
        _index,
    ),
    Contents(
        "snapshots/contents",
        'snapshot = ["state", "index", "term", "members"]',
    ),
    Fill(
        "snapshots/wants_snapshot",
        "wants_snapshot",
        "A snapshot holds only what is committed. If the node knows that much to be committed, it "
        "has nothing to learn from it and everything to lose. If not, the snapshot brings it on, "
        "whatever stands in its log beyond the commit index.",
        "    def wants_snapshot(self, last):\n        return last.index > self.log.committed\n",
        (OLD_COPY, OWN_TAIL, *LATE_COPIES),
        _wants_hint,
    ),
    Witness(
        "snapshots/witness",
        TakesOldSnapshots,
        "The snapshot was sent again, as its answer did not come; so the follower had it, and went "
        "on. Then the first copy arrived.",
        "    leader = cluster.wait_for_leader()\n"
        "    late = next(name for name in cluster.nodes if name != leader)\n"
        "    cluster.isolate(late)\n"
        "    client = cluster.client(leader)\n"
        '    client.put("a", "1")\n'
        "    cluster.compact(leader)\n"
        "    cluster.heal()\n"
        '    snaps = lambda c: [p for p in c.in_flight if "Snap" in str(p)]\n'
        "    cluster.run_until(snaps)\n"
        "    cluster.delay(snaps(cluster)[0], 2.0)\n"
        '    client.put("b", "2")\n'
        "    cluster.run(0.5)\n"
        "    cluster.compact(late)\n",
        hint="The follower must have gone on, and have compacted its own log, when the old copy "
        "arrives: so let the copy be late (`cluster.in_flight`, `cluster.delay(packet, 2.0)`).",
    ),
]
