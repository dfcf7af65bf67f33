"""Lesson 10 and its exercises: what moves the revision, a key's three numbers, undoing a change."""

from __future__ import annotations

from typing import Any

from kvlearn.course.kinds import Fact, Predict
from kvlearn.course.limits import BoundedCluster
from kvlearn.course.store_kinds import Found, Program, Scene
from kvlearn.errors import RequestError
from kvlearn.events import Applied, Returned
from kvlearn.kv.machine import APPLIED, KVMachine
from kvlearn.kv.requests import Command, Put
from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.sim import Cluster
from kvlearn.words import delete, put

# The play -----------------------------------------------------------------------------------


def first_changes() -> Cluster:
    """Three nodes in term 2; key1 was put four times, so the store is at revision 5."""
    cluster = Cluster(3, seed=7)
    cluster.crash(cluster.wait_for_leader())
    client = cluster.client()
    for number in range(2, 6):
        client.put("key1", f"value {number}")
    return cluster


def restart(cluster: Cluster) -> None:
    """Every process ends and begins again with what its disk holds."""
    for name, node in cluster.nodes.items():
        if node.alive:
            cluster.crash(name)
    for name in cluster.nodes:
        cluster.restart(name)
    cluster.wait_for_leader()


def eight_changes() -> Cluster:
    """Eight changes behind revision 5, with a restart of all nodes after the fifth."""
    cluster = first_changes()
    client = cluster.client()
    client.put("key1", "a")
    client.put("key2", "b")
    client.txn().then(put("key3", "c"), put("key4", "d")).commit()
    client.delete("key2")
    restart(cluster)
    client.put("key1", "e")
    client.put("key2", "f")
    client.delete("key3")
    cluster.run(0.5)
    return cluster


def changes(cluster: Cluster, since: int = 2):
    """A DataFrame of all changes from revision `since` on: which term and which log entry made
    them. They are read from the story: whatever entry was applied is applied once more."""
    import pandas

    machine, rows = KVMachine(MemoryBackend()), []
    for record in cluster.trace.of(Applied):
        event = record.event
        if event.index == machine.applied + 1:
            command = event.command if isinstance(event.command, Command) else None
            machine.apply(event.index, event.term, command)
            for sub, kv in enumerate(machine.changes):
                what = f"put {kv}" if kv.version else f"delete {kv.key_text}"
                rows.append((machine.revision, sub, event.term, event.index, what))
    names = ["revision", "sub", "term", "index", "change"]
    table = pandas.DataFrame(rows, columns=names)
    return table[table.revision >= since].set_index("revision")


# Breaking it --------------------------------------------------------------------------------


class SavesIndexFirst(KVMachine):
    """Makes durable that an entry is applied before it applies it: two steps, not one batch."""

    def apply(self, index: int, term: int, command: Command | None) -> tuple:
        """First the number, then the work."""
        self.backend.set_meta(APPLIED, index)
        self.backend.commit()
        return super().apply(index, term, command)


def after_crashes(kind: type[KVMachine], crash_at: int = 0, entries: int = 8) -> KVMachine:
    """A node's machine that was given a log of puts, and lost its memory in the middle of entry
    `crash_at` (0: never); then it went on behind the last entry that its disk called applied."""
    backend = MemoryBackend()
    machine = kind(backend)
    for index in range(1, entries + 1):
        if index <= machine.applied:
            continue
        machine.apply(index, 1, Command("n1", index, Put(b"k%d" % (index % 3), b"%d" % index)))
        if index == crash_at:
            backend.rollback()  # what was not committed is gone
            machine = kind(backend)
            if index > machine.applied:  # the log has it: once more
                machine.apply(
                    index, 1, Command("n1", index, Put(b"k%d" % (index % 3), b"%d" % index))
                )
        machine.commit()
    return machine


# Counting -----------------------------------------------------------------------------------


def counted() -> Cluster:
    """The requests of the first exercise."""
    cluster = Cluster(3, seed=4)
    cluster.wait_for_leader()
    client = cluster.client()
    client.put("job/1", "new")
    client.put("job/2", "new")
    client.txn().then(put("job/1", "done"), put("job/3", "new"), delete("job/2")).commit()
    client.put("job/3", "new")
    client.delete("job/9")
    client.delete("job/", prefix=True)
    client.get("job/1")
    return cluster


def _count() -> Fact:
    cluster = counted()
    last = list(cluster.trace.of(Returned))[-1]
    why = (
        "Two puts: 2 and 3. The transaction: 4, whatever it changes. The same value once more: 5, "
        "for a put is a change. There is no job/9, so nothing changes. The prefix held two keys, "
        "which go in one revision: 6. A read moves nothing."
    )
    hints = {
        5: "An empty store is at revision 1. Or did you leave out the put of the same value?",
        7: "Does it cost a revision to delete a key that is not there?",
        8: "How many revisions does one request take, however many keys it changes?",
        9: "How many revisions does one request take, however many keys it changes?",
        10: "How many revisions does one request take, however many keys it changes?",
    }
    return Fact(last.event.revision, cluster.trace, last.seq, why, hints)


def _whole(answer: Any) -> int:
    if isinstance(answer, bool) or not isinstance(answer, int):
        raise ValueError("The answer is a revision: a whole number.")
    return answer


# Three numbers ------------------------------------------------------------------------------


def numbered() -> Cluster:
    """The requests of the second exercise."""
    cluster = Cluster(3, seed=4)
    cluster.wait_for_leader()
    client = cluster.client()
    for key, text in (("x", "1"), ("y", "1"), ("x", "2")):
        client.put(key, text)
    client.delete("x")
    for key, text in (("x", "3"), ("y", "2"), ("x", "3"), ("y", "3")):
        client.put(key, text)
    client.get("x")
    return cluster


def _numbers() -> Fact:
    cluster = numbered()
    last = list(cluster.trace.of(Returned))[-1]
    kv = last.event.result.kvs[0]
    why = (
        "x was deleted at revision 5, and that was the end of its first life. The second one "
        "begins at revision 6 with version 1. At 8 it is put again, with the value that it has "
        "already: version 2. What happens to y moves none of its numbers."
    )
    deleted = "A deletion ends a life. What does the next put begin with?"
    hints = {
        (2, 8, 4): deleted,
        (2, 8, 5): deleted,
        (6, 8, 4): "The version counts the puts of this life only.",
        (6, 8, 1): "Is a put of the same value no put?",
        (6, 6, 1): "Is a put of the same value no put?",
        (6, 9, 2): "At 9 only y was changed.",
        (6, 9, 3): "At 9 only y was changed.",
        (5, 7, 2): "The first put makes revision 2.",
    }
    return Fact(
        (kv.create_revision, kv.mod_revision, kv.version), cluster.trace, last.seq, why, hints
    )


def _three(answer: Any) -> tuple[int, int, int]:
    numbers = tuple(answer)
    if len(numbers) != 3 or not all(type(number) is int for number in numbers):
        raise ValueError(
            "The answer is three whole numbers: (create_revision, mod_revision, version)."
        )
    return numbers


# What can be read ---------------------------------------------------------------------------

ASKED = (-1, 0, 1, 4, 12, 13)


def _refused() -> Fact:
    cluster = eight_changes()
    client, refused, seq = cluster.client(), [], 0
    for revision in ASKED:
        try:
            client.get("key1", revision=revision)
        except RequestError:
            refused.append(revision)
            seq = list(cluster.trace.of(Returned))[-1].seq
    why = (
        "13 has not been yet. 1 is the empty store: nothing is there, and that is an answer. 0 and "
        "what is below it mean the present, as they always did in etcd's interface."
    )
    hints = {
        (1, 13): "Revision 1 is the empty store. Can one not say what was in it?",
        (-1, 13): "0 and numbers below mean something else than the past.",
        (-1, 0, 13): "0 and numbers below mean something else than the past.",
        (-1, 0, 1, 13): "0 and numbers below mean something else, and 1 was the empty store.",
        (12, 13): "12 is where the store is.",
        (): "The store is at revision 12.",
    }
    return Fact(tuple(refused), cluster.trace, seq, why, hints)


def _some(answer: Any) -> tuple[int, ...]:
    found = [answer] if isinstance(answer, int) else list(answer)
    for number in found:
        if number not in ASKED:
            raise ValueError(f"{number!r} is none of {', '.join(map(str, ASKED))}.")
    return tuple(sorted(set(found)))


# Undo ---------------------------------------------------------------------------------------


def _undone(title: str, steps: tuple[tuple[str, str | None], ...]) -> Scene:
    """A scene in which `k` lives through `steps` (key, value; None: deleted), and is undone."""

    def play(undo) -> Found | None:
        cluster = BoundedCluster(3, seed=6)
        cluster.wait_for_leader()
        client = cluster.client()
        for key, text in steps:
            client.put(key, text) if text is not None else client.delete(key)
        past = [text for key, text in steps if key == "k"]
        before = past[-2] if len(past) > 1 else None
        undo(client, "k")
        held = client.get("k").text
        if held == before:
            return None
        shown = "nothing" if held is None else f"{held!r}"
        wanted = "nothing" if before is None else f"{before!r}"
        why = f"k was {', '.join('deleted' if one is None else repr(one) for one in past)}."
        hint = "Where does `kv.mod_revision` lead, and what was there one revision earlier?"
        title = f"After the undo k holds {shown}, and before its last change it held {wanted}"
        return Found(title, why, cluster.trace, len(cluster.trace) - 1, hint)

    return Scene(title, play)


UNDONE = (
    _undone("a put over a put", (("k", "old"), ("k", "new"))),
    _undone(
        "other keys were changed meanwhile", (("k", "old"), ("k", "new"), ("a", "1"), ("b", "2"))
    ),
    _undone("the put that created the key", (("a", "1"), ("k", "new"))),
    _undone("a put after a deletion", (("k", "old"), ("k", None), ("a", "1"), ("k", "new"))),
    _undone("three values", (("k", "1"), ("k", "2"), ("a", "1"), ("k", "3"), ("a", "2"))),
)

EXERCISES = [
    Predict("revisions/count", "At which revision is the store?", _count, "revision = 6", _whole),
    Predict(
        "revisions/numbers",
        "Which three numbers does x have?",
        _numbers,
        "numbers = (6, 8, 2)",
        _three,
    ),
    Predict(
        "revisions/refused",
        "Which of these revisions cannot be read?",
        _refused,
        "refused = [13]",
        _some,
    ),
    Program(
        "revisions/undo",
        "Write a function that gives a key back what it held before its last change.",
        "The last change was at `mod_revision`, so what was before it stands one revision earlier: "
        "nobody had to write it down, for the store never overwrites. And the undo itself is a "
        "change like any other, at a new revision; history only grows.",
        "    now = client.get(key)\n"
        "    before = client.get(key, revision=now.kv.mod_revision - 1)\n"
        "    if before.kvs:\n"
        "        client.put(key, before.value)\n"
        "    else:\n"
        "        client.delete(key)",
        UNDONE,
    ),
]
