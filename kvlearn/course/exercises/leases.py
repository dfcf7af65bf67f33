"""Lesson 14: the scenes that it plays, and its exercises.

When a lease ends, which keys go with it, what a keep-alive gives, a scene that convicts a leader
which forgets the note, and a program that is there as long as it lives.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

from kvlearn.course.kinds import Fact, Fill, Predict
from kvlearn.course.lease_kinds import LessorTrial, LessorWitness
from kvlearn.course.lease_mutants import ForgetsTheNote
from kvlearn.course.limits import BoundedCluster
from kvlearn.course.store_kinds import Found, Program, Scene
from kvlearn.course.trials import Difference
from kvlearn.errors import LeaseNotFound, RequestError
from kvlearn.events import Applied, LeaseExpired
from kvlearn.handles import Lease
from kvlearn.kv.config import StoreConfig
from kvlearn.kv.leases import LeaseGrant, LeaseRevoke
from kvlearn.lease import Lessor
from kvlearn.raft.config import RaftConfig
from kvlearn.raft.raft import Raft
from kvlearn.sim import Cluster
from kvlearn.trace import Record

HERE = 7  # the lease of the scenes

# The play --------------------------------------------------------------------------------------


def two_keys() -> tuple[Cluster, Lease]:
    """Three nodes, and a lease of 10 s with two keys that its holder has kept alive once, 6 s after
    it got it: the cluster and the lease."""
    cluster = Cluster(3, seed=7)
    client = cluster.client()
    lease = client.lease(10, id=HERE)
    client.put("key1", "a", lease=lease)
    client.put("key2", "b", lease=lease)
    cluster.run(6)
    lease.keep_alive_once()
    return cluster, lease


def lived(cluster: Cluster, id: int = HERE) -> float | None:
    """Seconds from the grant of a lease to its end, as they were applied first; None: it lives."""
    times = {}
    for record in cluster.trace.of(Applied):
        request = getattr(record.event.command, "request", None)
        if isinstance(request, (LeaseGrant, LeaseRevoke)) and request.id == id:
            times.setdefault(type(request), record.time)
    end = times.get(LeaseRevoke)
    return None if end is None else round(end - times[LeaseGrant], 1)


def leader_change(checkpoint_s: float) -> Cluster:
    """A lease of 10 s that nobody keeps alive; after 7 s the leader crashes."""
    cluster = Cluster(3, seed=7, store=StoreConfig(checkpoint_s=checkpoint_s))
    client = cluster.client()
    client.put("key1", "a", lease=client.lease(10, id=HERE))
    cluster.run(7)
    cluster.crash(cluster.leader)
    cluster.wait_for_leader()
    cluster.run(13)
    return cluster


def restless(checkpoint_s: float) -> float | None:
    """How long a lease of 10 s lives that nobody keeps alive, if another node leads every 6 s."""
    cluster = Cluster(3, seed=7, store=StoreConfig(checkpoint_s=checkpoint_s))
    client = cluster.client()
    client.lease(10, id=HERE)
    for _ in range(10):
        cluster.run(6)
        client.move_leader(next(name for name in cluster.nodes if name != cluster.leader))
    return lived(cluster)


def at_rate(rate: float) -> tuple[float, bool]:
    """A leader whose clock runs at `rate`: how long a lease of 10 s lives without a word, and
    whether one that is kept alive in the background still lives after a minute."""
    cluster = Cluster(3, seed=7)
    leader, client = cluster.wait_for_leader(), cluster.client()
    cluster.clock(leader).rate = rate
    client.lease(10, id=HERE)
    kept = client.lease(10, id=HERE + 1).keep_alive()
    cluster.run(60)
    return lived(cluster), kept.time_to_live().ttl_s > 0


def cut_off_holder(raft: type[Raft]) -> tuple[Cluster, Lease]:
    """Five nodes, of which nobody steps down for want of a majority; the leader is cut off, and the
    holder of a lease of 10 s talks to it alone. The cluster after 15 s, and the lease."""
    cluster = Cluster(5, seed=7, config=RaftConfig(), raft=raft)
    old = cluster.wait_for_leader()
    holder = cluster.client(old)
    lease = holder.lease(10, id=HERE)
    holder.put("here", "me", lease=lease)
    cluster.isolate(old)
    lease.keep_alive()
    cluster.run(15)
    return cluster, lease


# When it ends ----------------------------------------------------------------------------------


def _when() -> Fact:
    cluster = Cluster(3, seed=7)
    client = cluster.client()
    lease = client.lease(8, id=HERE)
    start = cluster.now
    for at in (3, 5):
        cluster.run(start + at - cluster.now)
        lease.keep_alive_once()
    cluster.run(start + 9.9 - cluster.now)
    cluster.crash(cluster.leader)
    cluster.run(20)
    (end,) = cluster.trace.of(LeaseExpired)
    why = (
        "Each keep-alive gives 8 s from then on, so the lease would have lived up to 13 s. But "
        "the new leader does not know of any keep-alive. It counts from when it leads, at "
        "about 11 s: 8 s, and an election timeout of 1 s more."
    )
    anew = "That would be so if the leader had lived. What does the new one know?"
    hints = {
        8: "Twice its holder said that it is alive.",
        13: anew,
        12: anew,
        16: "A keep-alive gives the whole time from now on; it adds nothing to what is left.",
        24: "A keep-alive gives the whole time from now on; it adds nothing to what is left.",
        18: "Almost. From when on does the new leader count, and is there something more?",
        19: "Almost. A new leader gives a little more than 8 s: holders could reach nobody.",
        21: "Whole seconds that have passed, please: 7.9 would be 7.",
    }
    return Fact(int(end.time - start), cluster.trace, end.seq, why, hints)


def _number(answer: Any) -> int:
    if isinstance(answer, bool) or not isinstance(answer, int):
        raise ValueError("The answer is a whole number of seconds.")
    return answer


# Which keys go with it --------------------------------------------------------------------------


def _which() -> Fact:
    cluster = Cluster(3, seed=7)
    client = cluster.client()
    one, other = client.lease(5, id=7), client.lease(60, id=8)
    for key in "abcd":
        client.put(key, "1", lease=one)
    client.put("e", "1")
    client.put("b", "2")
    client.put("c", "2", lease=other)
    client.delete("d")
    client.put("e", "2", lease=one)
    held = one.time_to_live(keys=True).keys
    cluster.run(7)
    (end,) = cluster.trace.of(LeaseExpired)
    why = (
        "The last put decides. a was never touched again, and e was put with lease 7 last. b was "
        "put without a lease, which takes it off; c was put with lease 8; d was gone already."
    )
    hints = {keys: _key_hint(keys) for n in range(6) for keys in combinations("abcde", n)}
    keys = tuple(sorted(key.decode() for key in held))
    del hints[keys]
    hints |= {
        ("a", "b", "c", "d"): "That is what was put with lease 7 once. What became of them?",
        ("a", "b"): "b was put again without a lease; and look at e.",
    }
    return Fact(keys, cluster.trace, end.seq, why, hints)


def _key_hint(said: tuple[str, ...]) -> str:
    """About the first key that is wrong."""
    hints = [
        ("a" not in said, "a was put with lease 7. What took it off?"),
        ("b" in said, "b was put again without a lease. Does it still hang on one?"),
        ("c" in said, "A key hangs on one lease at most. On which does c?"),
        ("d" in said, "d is deleted before the lease ends. What could go with it?"),
        ("e" not in said, "And e? Its first put was without a lease. Its last one?"),
    ]
    return next((hint for wrong, hint in hints if wrong), "")


def _keys(answer: Any) -> tuple[str, ...]:
    if isinstance(answer, str):
        answer = answer.replace(",", " ").split()
    found = sorted(set(answer))
    for key in found:
        if key not in ("a", "b", "c", "d", "e"):
            raise ValueError(f"{key!r} is none of the keys a, b, c, d and e.")
    return tuple(found)


# What a keep-alive gives -----------------------------------------------------------------------


def _silent(cluster: BoundedCluster) -> None:
    """Two holders; one says nothing, the other speaks early and then no more."""
    client = cluster.client()
    client.lease(6, id=7)
    lease = client.lease(9, id=8)
    cluster.run(1)
    lease.keep_alive_once()
    cluster.run(12)


def _often(cluster: BoundedCluster) -> None:
    """The holder says four times, one after the other, that it lives, and then no more."""
    lease = cluster.client().lease(5, id=7)
    for _ in range(4):
        lease.keep_alive_once()
    cluster.run(12)


def _noted(cluster: BoundedCluster) -> None:
    """The time that is left was noted in the log; another leader counts; then the holder speaks."""
    client = cluster.client(timeout_s=8)
    lease = client.lease(10, id=7)
    cluster.run(5)
    cluster.crash(cluster.leader)
    cluster.wait_for_leader()
    cluster.run(1)
    lease.keep_alive_once()
    cluster.run(12)


def _steady(cluster: BoundedCluster) -> None:
    """A holder that speaks every third of its time."""
    client = cluster.client()
    client.put("a", "1", lease=client.lease(6, id=7).keep_alive())
    cluster.run(20)
    client.get("a")


def _asked_at_once(cluster: BoundedCluster) -> None:
    """The rule is asked directly, of a lease with a note: in a run the note is taken back before
    the holder hears yes, so no scene would ask it."""
    cluster.client().lease(10, id=7)
    lessor = cluster.store.lessor()
    for id, ttl_s, noted_s, now in ((7, 10, 4, 50.0), (8, 60, 1, 60.5), (9, 5, 0, 2.5)):
        lease = lessor.grant(id, ttl_s)
        lease.remaining_s, lease.expiry_s = noted_s, now + 0.5
        lessor.renewed_until(lease, now)


LESSOR_TRIALS = (
    LessorTrial("one holder is silent, another speaks once", _silent),
    LessorTrial("a holder that speaks four times and then no more", _often),
    LessorTrial("a holder that speaks after a checkpoint and a new leader", _noted,
                store={"checkpoint_s": 2.0}),
    LessorTrial("a holder that speaks every third of its time", _steady),
    LessorTrial("the rule alone, asked of leases with a note and without", _asked_at_once),
)  # fmt: skip


def _renewed_hint(first: Difference) -> str:
    lease, now, said, wanted = first.arguments
    if not isinstance(said, (int, float)):
        return "The answer is a moment of this node's clock, in seconds: a number like `now`."
    if said == lease.ttl_s:
        return "That is a length of time. When is that over, if it begins now?"
    if said > wanted:
        return "Whoever says four times that it lives would be dead for four times as long."
    if said == lease.expiry_s:
        return "Then the keep-alive has changed nothing."
    if lease.remaining_s:
        return (
            f"{lease.remaining_s} s is what was noted when its holder was silent. Its holder is "
            "alive: it gets the whole time again."
        )
    return "Its holder has been promised the whole time, from this word on."


# A program that is there as long as it lives ----------------------------------------------------

KEY, TTL_S = "here/me", 5


def _called(cluster: Cluster, client: Any, stay: Callable, lease: Any, seconds: int) -> Any:
    """Call a student's function once a second."""
    for _ in range(seconds):
        try:
            lease = stay(client, lease)
        except LeaseNotFound:
            raise
        except RequestError:
            pass  # no answer this time; the next call is a second later
        cluster.run(1.0)
    return lease


def _grants(cluster: Cluster) -> list[Record]:
    """The records that tell of a grant first."""
    found: dict[int, Record] = {}
    for record in cluster.trace.of(Applied):
        if isinstance(getattr(record.event.command, "request", None), LeaseGrant):
            found.setdefault(record.event.index, record)
    return list(found.values())


def _lives(stay: Callable) -> Found | None:
    """It lives for twenty seconds, and dies."""
    cluster = BoundedCluster(3, seed=5)
    cluster.wait_for_leader()
    client, other = cluster.client(), cluster.client()
    for second in range(20):
        if second == 0:
            lease = _called(cluster, client, stay, None, 1)
            first = _registered(cluster, other, lease)
            if first is not None:
                return first
            born = other.get(KEY).kv.create_revision
            continue
        lease = _called(cluster, client, stay, lease, 1)
        kv = other.get(KEY).kv
        if kv is None:
            why = (
                f"after {second + 1} s the key is gone, and the program has been called all along."
            )
            hint = "Who says to the cluster that it is alive, and on which lease?"
            return Found("It lives, and its key is gone", why, cluster.trace, -1, hint)
    grants = _grants(cluster)
    if len(grants) > 1:
        why = (
            f"in 20 s it asked for {len(grants)} leases. Each is an entry in the log, and lives on "
        )
        why += "for its whole time."
        hint = "What was returned by the last call is given to the next one: keep that one alive."
        return Found("It takes one lease after the other", why, cluster.trace, grants[1].seq, hint)
    if kv.create_revision != born or kv.version > 1:
        why = f"the key was put {kv.version} times in 20 s. Every watcher hears of every put, and "
        why += "nothing had changed."
        hint = "A keep-alive changes no key: that is what leases are for."
        return Found("It writes although nothing changes", why, cluster.trace, -1, hint)
    cluster.run(TTL_S + 3.0)
    if other.get(KEY).kvs:
        why = f"it has not been called for {TTL_S + 3} s, as a dead program is not."
        hint = "A keep-alive in the background goes on although this function is not called."
        title = "It is dead, and its key is still there"
        return Found(title, why, cluster.trace, -1, hint)
    return None


def _registered(cluster: Cluster, other: Any, lease: Any) -> Found | None:
    kv = other.get(KEY).kv
    if kv is None:
        why = f"after the first call there is no key {KEY}."
        hint = f"put {KEY} with a lease of {TTL_S} s."
        return Found("It is not there", why, cluster.trace, -1, hint)
    if not kv.lease:
        why = f"{KEY} hangs on no lease, so it will be there when the program is long dead."
        return Found("Its key would stay for ever", why, cluster.trace, -1, "put(..., lease=lease)")
    if not isinstance(lease, Lease):
        why = f"it returned {lease!r}."
        hint = "The next call gets what this one returns: the lease."
        return Found("It returns the lease", why, cluster.trace, -1, hint)
    if lease.ttl_s != TTL_S:
        why = f"the lease is of {lease.ttl_s} s."
        return Found(f"The lease is of {TTL_S} s", why, cluster.trace)
    return None


def _sleeps(stay: Callable) -> Found | None:
    """It sleeps longer than its lease, and goes on."""
    cluster = BoundedCluster(3, seed=6)
    cluster.wait_for_leader()
    client, other = cluster.client(), cluster.client()
    lease = _called(cluster, client, stay, None, 3)
    cluster.run(9.0)
    lease = _called(cluster, client, stay, lease, 2)
    kv = other.get(KEY).kv
    if kv is None:
        why = "it slept for 9 s, then it was called twice, and its key is not there."
        hint = "keep_alive_once raises LeaseNotFound if the lease is gone. Then begin anew."
        return Found("It lives, and nobody knows", why, cluster.trace, -1, hint)
    lease = _called(cluster, client, stay, lease, 8)
    if other.get(KEY).kvs:
        return None
    why = "some seconds after it woke up its key is gone again, though it is called all the time."
    hint = "Which lease does the function return when it had to begin anew?"
    return Found("It keeps the wrong lease alive", why, cluster.trace, -1, hint)


def _loses_its_leader(stay: Callable) -> Found | None:
    """The leader crashes while it lives."""
    cluster = BoundedCluster(3, seed=36)  # a keep-alive fails just before there is a leader
    cluster.wait_for_leader()
    client, other = cluster.client(timeout_s=0.5), cluster.client()
    lease = _called(cluster, client, stay, None, 2)
    cluster.crash(cluster.leader)
    lease = _called(cluster, client, stay, lease, 12)
    grants = _grants(cluster)
    if not other.get(KEY).kvs:
        why = "the leader crashed, another one leads, and the key is gone though the program lives."
        return Found("It lives, and its key is gone", why, cluster.trace)
    if len(grants) > 1:
        why = "a keep-alive without an answer says nothing about the lease, which is still there."
        hint = "Begin anew for LeaseNotFound only."
        return Found("It gave up a good lease", why, cluster.trace, grants[1].seq, hint)
    return None


EXERCISES = [
    Predict(
        "leases/when",
        "How many whole seconds after the grant does the lease end?",
        _when,
        "ends_after = 20",
        _number,
    ),
    Predict(
        "leases/keys",
        "Which keys are deleted when lease 7 runs out?",
        _which,
        'go_with_7 = ["a", "e"]',
        _keys,
    ),
    Fill(
        "leases/renewed_until",
        "renewed_until",
        "The whole time, counted from this word on: not from what was left, or a busy holder would "
        "be dead for hours before anybody noticed; and not from what was noted, for that is what "
        "was left while the holder was silent.",
        "    def renewed_until(self, lease, now):\n        return now + lease.ttl_s",
        LESSOR_TRIALS,
        _renewed_hint,
        Lessor,
        "silent holders, busy ones, a checkpoint and a new leader, leases with a note",
    ),
    LessorWitness(
        "leases/witness",
        ForgetsTheNote,
        "The time that was left had been noted in the log, and the new leader began with the whole "
        "time all the same. If leaders change often enough, such a lease never ends.",
        "    cluster.client().lease(10)\n"
        "    cluster.run(7)\n"
        "    cluster.crash(cluster.leader)\n"
        "    cluster.wait_for_leader()\n"
        "    cluster.run(12)",
        size=3,
        seed=7,
        hint="A note is written when 2 s are lost. Who reads it, and when? And then the lease must "
        "have the time to be late: let the cluster run.",
        store={"checkpoint_s": 2.0},
    ),
    Program(
        "leases/stay",
        "Write `stay`: it is called once a second, and its key is there as long as that goes on.",
        "A grant and a put once, then a keep-alive a second, which costs no entry in the log. Only "
        "“lease not found” says that one is taken for dead; then one begins anew, and all "
        "watchers see the key go and come.",
        "    try:\n"
        "        if lease is not None:\n"
        "            lease.keep_alive_once()\n"
        "            return lease\n"
        "    except LeaseNotFound:\n"
        "        pass\n"
        "    lease = client.lease(5)\n"
        '    client.put("here/me", "alive", lease=lease)\n'
        "    return lease",
        (
            Scene("it lives for twenty seconds, and dies", _lives),
            Scene("it sleeps for nine seconds, and goes on", _sleeps),
            Scene("the leader crashes while it lives", _loses_its_leader),
        ),
    ),
]
