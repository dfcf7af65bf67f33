"""Lesson 08: the reads that it measures, and its exercises.

How many messages a read through a follower needs, whose answers count, from when on a lease runs,
and a scene that convicts a leader which does not ask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from kvlearn.check.service import no_stale_read
from kvlearn.course.kinds import Fact, Fill, Predict, Witness
from kvlearn.course.limits import BoundedCluster
from kvlearn.course.mutants import ReadsWithoutAsking
from kvlearn.course.trials import ALL, Difference, Outcome, Trial
from kvlearn.errors import TimedOut, Violation
from kvlearn.events import Invoked
from kvlearn.kv.members import MoveLeader
from kvlearn.kv.requests import Put, Range
from kvlearn.raft import quorum
from kvlearn.raft.config import RaftConfig
from kvlearn.raft.raft import Raft
from kvlearn.raft.types import Index, NodeId
from kvlearn.sim import Cluster
from kvlearn.viz.reads import ReadPath

COLOUR = Range(b"colour")
LEARNER = "n9"
PLAIN = RaftConfig()  # of the paper: nobody steps down for want of a majority


# What a read costs ----------------------------------------------------------------------------


class ReadsByLog(Raft):
    """Serves a read when an entry that was written for it is committed: as dear as a write (6.4).

    kvlearn's clients cannot ask for such a read; etcd 3.0 did all its linearizable ones like this.
    """

    def _lead_read(self, origin: NodeId, context: Any) -> None:
        self._append_own(None)  # it changes nothing: its place in the log is the point
        self.logged.append((self.log.last_index, origin, context))

    def _commit(self, index: Index) -> None:
        super()._commit(index)
        due = [read for read in self.logged if read[0] <= index]
        del self.logged[: len(due)]
        for at, origin, context in due:
            self._serve_read(origin, context, at)

    def _forget_leadership(self) -> None:
        super()._forget_leadership()
        self.logged: list[tuple[Index, NodeId, Any]] = []


def ask(kind: str, **how: Any) -> ReadPath:
    """What reads of one kind cost; `how` they are asked is told at `quiet_reads`."""
    return ReadPath.of(*quiet_reads(kind, **how))


def quiet_reads(
    kind: str,
    through: str = "leader",
    reads: int = 1,
    size: int = 3,
    beside_write: bool = False,
) -> tuple[str, Cluster, list[int]]:
    """Let a quiet cluster of `size` voters serve reads: a name for it, the cluster, the op_ids.

    `kind` is log, ReadIndex, lease or serializable, `through` leader, follower or learner. With
    `beside_write` the leader's disk is busy with a write when the reads come.
    """
    config = RaftConfig.etcd(lease_reads=kind == "lease")
    cluster = Cluster(
        size, seed=7, config=config, raft=ReadsByLog if kind == "log" else Raft
    )
    leader = cluster.wait_for_leader()
    client = cluster.client(leader)
    client.put("colour", "blue")
    nodes = {
        "leader": leader,
        "follower": next(n for n in cluster.nodes if n != leader),
    }
    if through == "learner":
        nodes[through] = f"n{size + 1}"
        cluster.add_node(nodes[through], learner=True)
        client.add_member(nodes[through], learner=True)
    cluster.run(1.03)
    if beside_write:
        cluster.submit(Put(b"size", b"1"), leader)
    question = Range(b"colour", serializable=kind == "serializable")
    asked = [cluster.submit(question, nodes[through]) for _ in range(reads)]
    cluster.run(0.05)
    name = kind + ("" if through == "leader" else f" through a {through}")
    name += "" if size == 3 else f", {size} nodes"
    return name + (" beside a write" if beside_write else ""), cluster, asked


# What a read may say --------------------------------------------------------------------------


def cut_off_reader(config: RaftConfig = PLAIN) -> tuple[Cluster, str]:
    """Five nodes; the old leader is cut off with colour = blue, the others have a new leader and
    colour = green; a client has just asked the old one. The cluster, and the old leader's name."""
    cluster = Cluster(5, seed=21, config=config)
    old = cluster.wait_for_leader()
    cluster.client(old).put("colour", "blue")
    cluster.run(0.5)
    cluster.isolate(old)
    _write_green(cluster, old)
    cluster.run(0.2)
    cluster.submit(COLOUR, old, "c9")
    return cluster, old


def _write_green(cluster: Cluster, old: str) -> None:
    """Wait until the others have a leader, which writes."""
    cluster.run_until(lambda c: c.leader not in (None, old), timeout_s=20.0)
    cluster.client(cluster.leader).put("colour", "green")


def drifting(
    rate: float, max_drift: float, seed: int = 1, every_s: float = 0.25
) -> Cluster:
    """Three nodes with lease reads; the leader's clock runs at `rate`, and it is cut off.

    A client asks it every `every_s` seconds for three seconds, while the others elect a leader and
    write green there as soon as they can.
    """
    config = RaftConfig.etcd(lease_reads=True, max_drift=max_drift)
    cluster = Cluster(3, seed=seed, config=config)
    old = cluster.wait_for_leader()
    cluster.client(old).put("colour", "blue")
    cluster.clock(old).rate = rate
    cluster.run(1.0)
    cluster.isolate(old)
    written = False
    for _ in range(round(3.0 / every_s)):
        cluster.submit(COLOUR, old, "c9")
        cluster.run(every_s)
        if not written and cluster.leader not in (None, old):
            cluster.client(cluster.leader).put("colour", "green")
            written = True
    return cluster


def stale_runs(rate: float, max_drift: float, runs: int = 10) -> int:
    """In how many of so many seeded runs of `drifting` an answer was stale."""
    traces = (drifting(rate, max_drift, seed).trace for seed in range(1, runs + 1))
    return sum(not no_stale_read(trace).ok for trace in traces)


# Trials with reads ----------------------------------------------------------------------------


def _look(cluster: Cluster) -> None:
    """Raises: Violation where an answer was stale."""
    verdict = no_stale_read(cluster.trace)
    if not verdict.ok:
        raise Violation(verdict.promise, verdict.why, verdict.record, cluster.seed)


def _cut_off(
    cluster: BoundedCluster, friends: int = 0, learners: tuple[str, ...] = ()
) -> None:
    """The leader is cut off, alone or with some; the others elect another, which writes."""
    old = cluster.wait_for_leader()
    cluster.client(old).put("colour", "blue")
    voters = [name for name in cluster.nodes if name not in (old, *learners)]
    cluster.partition([old, *learners, *voters[:friends]], voters[friends:])
    _write_green(cluster, old)
    cluster.submit(COLOUR, old)
    cluster.run(1.0)
    _look(cluster)


def _with_one(cluster: BoundedCluster) -> None:
    _cut_off(cluster, friends=1)


def _with_learner(cluster: BoundedCluster) -> None:
    """A learner is cut off with the leader: they are two, as many as a majority of the voters."""
    client = cluster.client(cluster.wait_for_leader())
    cluster.add_node(LEARNER, learner=True)
    client.add_member(LEARNER, learner=True)
    _cut_off(cluster, learners=(LEARNER,))


def _answers(cluster: BoundedCluster) -> str | None:
    """What every cluster must be able to do: answer reads, also with two of five nodes down."""
    leader = cluster.wait_for_leader()
    client = cluster.client(leader)
    client.put("colour", "blue")
    followers = [name for name in cluster.nodes if name != leader]
    for name in followers[:2]:
        client.get("colour")
        cluster.crash(name)
    client.get("colour")
    return None if client.get("colour").text == "blue" else "a read is not answered"


def _asks_amid_faults(cluster: BoundedCluster) -> None:
    """Writes, reads and cuts in the order of a seeded hand."""
    rng, names = Random(f"reads/{cluster.seed}"), list(cluster.nodes)
    cluster.wait_for_leader()
    for number in range(24):
        rng.shuffle(names)
        if number % 4 == 0:
            cluster.partition(names[:2], names[2:])
        elif number % 4 == 3:
            cluster.heal()
        leaders = [name for name in names if cluster.nodes[name].role == "leader"]
        cluster.submit(Put(b"colour", b"%d" % number), rng.choice(leaders or names))
        for name in leaders or names[:2]:
            cluster.submit(COLOUR, name)
        cluster.run(rng.uniform(0.05, 1.5))
    _look(cluster)


ALONE = Trial("an old leader, cut off alone, is asked", _cut_off)
WITH_ONE = Trial("an old leader, cut off with one of five, is asked", _with_one)
WITH_LEARNER = Trial(
    "an old leader, cut off with a learner, is asked", _with_learner, 3
)
ANSWERS = Trial("reads while two of five nodes are down", _answers)
AMID_FAULTS = tuple(
    Trial(f"reads amid cuts, seed {seed}", _asks_amid_faults, seed=seed)
    for seed in (1, 2)
)
READS = (ALONE, WITH_ONE, WITH_LEARNER, ANSWERS, *AMID_FAULTS)


def _quorum_hint(first: Difference) -> str:
    (acks,) = first.arguments
    if first.wanted == "False":
        if LEARNER in acks and len(acks) > 1:
            return (
                f"{LEARNER} is a learner here. It follows whoever speaks to it and elects nobody, "
                "so its word does not exclude another leader."
            )
        return (
            f"{len(acks)} is no majority of the voters. All the others may have elected somebody "
            "else, without any of these knowing."
        )
    return "Any new leader needs the vote of one of them: it is enough, and asking on costs time."


# A lease that begins too late -----------------------------------------------------------------


class LeaseFromTheAnswer(Raft):
    """Counts its lease from when the answers to its heartbeats came."""

    def holds_lease(self) -> bool:
        """The answers of a majority came not long ago."""

        def answered(node):
            return self.now if node == self.id else self.progress[node].heard

        since = quorum.committed_index(self.conf, answered)
        lasting = self.now - since < self.config.lease_ticks
        return self.config.lease_reads and lasting and not self.named_successor


LEASES = RaftConfig(check_quorum=True, lease_reads=True)


def _slow_answers(cluster: BoundedCluster) -> None:
    """The answers to the last heartbeat that got through take 0.8 s; meanwhile nothing else of the
    leader arrives, and the others elect another as soon as they may."""
    old = cluster.wait_for_leader()
    cluster.client(old).put("colour", "blue")
    cluster.run(1.0)
    others = [name for name in cluster.nodes if name != old]
    cluster.run_until(lambda c: len(_to(c, old)) == 2)
    for packet in _to(cluster, old):
        cluster.delay(packet, 0.8)
    for name in others:
        cluster.cut(old, name, one_way=True)
    cluster.run(0.9)
    for name in others:
        cluster.cut(name, old, one_way=True)
    cluster.run(0.15)
    if all(cluster.nodes[name].role == "follower" for name in others):
        cluster.campaign(others[0])
    _write_green(cluster, old)
    cluster.submit(COLOUR, old)
    cluster.run(0.1)
    _look(cluster)


def _to(cluster: Cluster, target: str) -> list:
    return [packet for packet in cluster.in_flight if packet.message.target == target]


def _lease_lives(cluster: BoundedCluster) -> None:
    """Reads by lease, a leader that is cut off alone, one that hands over, one that crashes."""
    leader = cluster.wait_for_leader()
    client = cluster.client()
    client.put("colour", "blue")
    cluster.run(0.5)
    for _ in range(5):
        cluster.submit(COLOUR, leader)
        cluster.run(0.13)
    heir = next(name for name in cluster.nodes if name != leader)
    client.move_leader(heir)
    cluster.submit(COLOUR, leader)
    cluster.submit(COLOUR, heir)
    cluster.run(0.5)
    cluster.isolate(heir)
    for _ in range(8):
        cluster.submit(COLOUR, heir)
        cluster.run(0.12)
    _write_green(cluster, heir)
    _look(cluster)


def _hands_over(cluster: BoundedCluster) -> None:
    """The leader tells another to stand, and hears nothing more of anybody."""
    old = cluster.wait_for_leader()
    client = cluster.client(old)
    client.put("colour", "blue")
    cluster.run(1.0)
    others = [name for name in cluster.nodes if name != old]
    cluster.submit(MoveLeader(others[0]), old)
    for name in others:
        cluster.cut(name, old, one_way=True)
    cluster.run_until(lambda c: c.nodes[others[0]].role == "leader", timeout_s=3.0)
    cluster.client(others[0]).put("colour", "green")
    cluster.submit(COLOUR, old)
    cluster.run(0.1)
    _look(cluster)


def _lease_hint(first: Difference) -> str:
    if first.wanted == "False":
        return (
            "When did those who answered begin to wait? Not when their answer arrived: an answer "
            "may have been on its way for long. The leader knows one moment that is certainly "
            "before theirs."
        )
    return "Here the lease holds, and a read that asks nevertheless costs a round of heartbeats."


LEASE_TRIALS = (
    Trial("the answers to a heartbeat take 0.8 s", _slow_answers, 3, config=LEASES),
    Trial(
        "a leader that told another to stand is asked", _hands_over, 3, config=LEASES
    ),
    *(
        Trial(f"reads by lease, seed {k}", _lease_lives, seed=k, config=LEASES)
        for k in (1, 2)
    ),
)


# Facts ----------------------------------------------------------------------------------------


def _through_a_follower() -> Fact:
    name, cluster, asked = quiet_reads("ReadIndex", through="follower", size=5)
    path = ReadPath.of(name, cluster, asked)
    seq = next(r.seq for r in cluster.trace.of(Invoked) if r.event.op_id == asked[0])
    why = (
        "The follower asks the leader (Read?), the leader asks all four others, they answer, and "
        f"the leader tells the follower the index (Read at): 1 + 4 + 4 + 1 = {len(path.flights)}. "
        f"The answer waits for {path.in_a_row} of them, one after the other."
    )
    hints = {
        8: "That is the leader's round. How does it know of the question, and the follower of the "
        "outcome?",
        9: "And how does the follower hear of the outcome?",
        6: "That is so with three nodes. Here are five.",
        4: "One after the other there are four. How many are there in all?",
        2: "Who must be asked whether the leader still leads?",
    }
    return Fact(len(path.flights), cluster.trace, seq, why, hints)


def _number(answer: Any) -> int:
    if isinstance(answer, bool) or not isinstance(answer, int):
        raise ValueError("The answer is a whole number.")
    return answer


@dataclass(frozen=True)
class StaleRead(Witness):
    """A witness whose scene ends with a stale answer."""

    def _play(self, scene: Any, cls: type[Raft]) -> Outcome:
        return super()._play(
            scene if isinstance(scene, str) else _looked_at(scene), cls
        )


def _looked_at(scene: Callable) -> Callable:
    def then_look(cluster: BoundedCluster) -> None:
        try:
            scene(cluster)
        except TimedOut:
            pass  # that a client waits in vain is no fault
        cluster.run(0.5)
        _look(cluster)

    return then_look


EXERCISES = [
    Predict(
        "reads/messages",
        "How many messages travel between five nodes for one linearizable read that a follower "
        "was asked?",
        _through_a_follower,
        "messages = 10",
        _number,
    ),
    Fill(
        "reads/read_quorum",
        "read_quorum",
        "Any two majorities of the voters share a node. If a majority still answered the leader "
        "of this term after the question had come, no newer leader had committed anything before "
        "it: that would have needed one of them. Learners are asked, and do not count.",
        "    def read_quorum(self, acks):\n"
        "        voters = acks & set(self.conf.voters)\n"
        "        return len(voters) > len(self.conf.voters) // 2\n",
        trials=(*READS, *ALL),
        hint=_quorum_hint,
    ),
    Fill(
        "reads/lease",
        "holds_lease",
        "A follower begins to wait when the heartbeat arrives, which is after it left. So from the "
        "moment at which the leader sent it, all who answered it keep still for an election "
        "timeout. When the answer came says nothing.",
        "    def holds_lease(self):\n"
        "        from kvlearn.raft import quorum\n"
        "\n"
        "        def answered(node):\n"
        "            return self.now if node == self.id else self.progress[node].proven\n"
        "\n"
        "        since = quorum.committed_index(self.conf, answered)\n"
        "        lasting = self.now - since < self.config.lease_ticks\n"
        "        return self.config.lease_reads and lasting and not self.named_successor\n",
        trials=(*LEASE_TRIALS, *ALL),
        hint=_lease_hint,
    ),
    StaleRead(
        "reads/witness",
        ReadsWithoutAsking,
        "The old leader did not know that the others had elected another, which wrote meanwhile. "
        "Whoever asks a majority first cannot miss that.",
        "    old = cluster.wait_for_leader()\n"
        '    cluster.client(old).put("colour", "blue")\n'
        "    cluster.isolate(old)\n"
        "    cluster.run_until(lambda c: c.leader != old)\n"
        '    cluster.client(cluster.leader).put("colour", "green")\n'
        '    cluster.client(old).get("colour")\n',
        hint="Somebody must be told something newer, and then ask a leader that does not know of "
        "it. `cluster.client(name)` talks to one node; `cluster.leader` is the leader of the "
        "highest term.",
    ),
]
