"""Lesson 16 and its exercises: what a log may lose, how it is read, what curl says, and a rolling
restart. They are judged without processes, so that every answer gets the same verdict each time."""

from __future__ import annotations

import random
import tempfile
from base64 import b64decode
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from kvlearn.course.kinds import Fact, Predict
from kvlearn.course.limits import BoundedCluster
from kvlearn.course.store_kinds import CHANCE, Found, Program, Scene
from kvlearn.errors import StorageError, TimedOut
from kvlearn.kv.requests import prefix_end
from kvlearn.sim import Cluster
from kvlearn.trace import Trace

# Exercise 1: which log is refused ----------------------------------------------------------------

RECORDS = 5
LONG = 1500  # bytes of records 2 and 5: they lie in several sectors
ACCIDENTS = {
    "A": "the file ends in the middle of record 5",
    "B": "of record 5 the first sector was written; the sectors behind it are zeros",
    "C": "in record 2 one bit is another one",
    "D": "in record 5, the last one, one bit is another one",
}


def damaged_log(accident: str, folder: Path) -> None:
    """A log of five records, 1 and 2, 3, and 4 and 5 forced together, after one of ACCIDENTS."""
    from kvlearn.live.wal import Wal

    ends = []
    with Wal(folder, segment_bytes=1 << 14, fsync=False) as wal:
        for number in range(1, RECORDS + 1):
            size = LONG if number in (2, 5) else 60
            wal.append(1, f"record {number} ".encode() * (size // 9))
            if number in (2, 3, 5):
                wal.sync()
                ends.append(wal.end[1])
    path = folder / "00000001.wal"
    data = bytearray(path.read_bytes())
    two, three, five = ends
    if accident == "A":
        del data[five - LONG // 2 :]
    elif accident == "B":
        data[five - LONG // 2 // 512 * 512 : five] = bytes(LONG // 2 // 512 * 512)
    else:
        data[(two if accident == "C" else five) - LONG // 2] ^= 1
    path.write_bytes(data)


def opened(accident: str) -> tuple[int, str]:
    """(how many records the log has, "") or (0, why it is refused)."""
    from kvlearn.live.wal import Wal

    with tempfile.TemporaryDirectory(prefix="kvlearn-") as name:
        folder = Path(name) / "wal"
        damaged_log(accident, folder)
        try:
            with Wal(folder, segment_bytes=1 << 14, fsync=False) as wal:
                return len(wal.found), ""
        except StorageError as error:
            return 0, str(error)


def _refused() -> Fact:
    found = {accident: opened(accident) for accident in ACCIDENTS}
    refused = tuple(accident for accident, (_, why) in found.items() if why)
    kept = found["A"][0]
    why = (
        f"A and B are what the end of the power leaves of the batch that was being written: the "
        f"log starts with {kept} records, and nobody was told of the fifth. C was safe once, and "
        "others stand behind it. D is the last one, but all its sectors were written: no power cut "
        "changes a bit in the middle of them. The disk did, so what it says is worth nothing."
    )
    letters = sorted(ACCIDENTS)
    hints = {
        said: _refused_hint(said, refused)
        for size in range(len(letters) + 1)
        for said in combinations(letters, size)
        if said != refused
    }
    return Fact(refused, Trace(), 0, why, hints)


_HINTS = {
    "A": "A: who was told that record 5 is safe?",
    "B": "B: a disk writes a sector or does not, in any order. Was the force of record 5 over?",
    "C": "C: record 2 was forced, and then promised. May the member forget it, and all behind it?",
    "D": "D: the end of the power leaves sectors unwritten. Does it change one bit in the middle?",
}


def _refused_hint(said: tuple[str, ...], right: tuple[str, ...]) -> str:
    return next(_HINTS[one] for one in sorted(_HINTS) if (one in said) != (one in right))


def _letters(answer: Any) -> tuple[str, ...]:
    given = answer.replace(",", " ").split() if isinstance(answer, str) else list(answer)
    for one in given:
        if one not in ACCIDENTS:
            raise ValueError(f"{one!r} is none of the letters {' '.join(ACCIDENTS)}.")
    return tuple(sorted(set(given)))


# Exercise 2: read a log ---------------------------------------------------------------------------


class OneRecord(NamedTuple):
    """What the exercise tells of a record: `batch` says which were forced together, and `fits`
    whether its checksum does."""

    text: str
    batch: int
    fits: bool


def a_log(words: str) -> list[OneRecord]:
    """Batches with a bar between them; a record with ! does not fit.

    >>> [(record.text, record.batch, record.fits) for record in a_log("a | b c!")]
    [('a', 1, True), ('b', 2, True), ('c', 2, False)]
    """
    return [
        OneRecord(word.rstrip("!"), number, not word.endswith("!"))
        for number, batch in enumerate(words.split("|"), 1)
        for word in batch.split()
    ]


def _shown(records: list[OneRecord]) -> str:
    told: dict[int, list[str]] = {}
    for record in records:
        told.setdefault(record.batch, []).append(record.text + "!" * (not record.fits))
    return " | ".join(" ".join(batch) for batch in told.values()) or "(empty)"


def kept_of(records: list[OneRecord]) -> list[OneRecord] | None:
    """The records up to the first that does not fit; None if one of a later batch follows it."""
    torn = next((n for n, record in enumerate(records) if not record.fits), None)
    if torn is None:
        return records
    later = any(record.batch > records[torn].batch for record in records[torn:])
    return None if later else records[:torn]


def _read(title: str, words: str) -> Scene:
    records = a_log(words)

    def play(read: Callable) -> Found | None:
        said, right = read(list(records)), kept_of(records)
        if said is None or right is None:
            same = said is right
        else:
            try:
                said = [getattr(one, "text", one) for one in said]
            except TypeError:
                return _misread("The answer is neither a list nor None", f"It is {said!r}.", words)
            right = [record.text for record in right]
            same = said == right
        return None if same else _misread(*_blamed(said, right, records), _shown(records))

    return Scene(title, play)


def _misread(title: str, why: str, log: str) -> Found:
    return Found(title, f"{why} The log, with a bar after each batch and ! for what does not fit: "
                        f"{log}", Trace())  # fmt: skip


def _blamed(said: Any, right: Any, records: list[OneRecord]) -> tuple[str, str]:
    torn = next((record for record in records if not record.fits), None)
    if right is None:
        why = (
            f"Batch {torn.batch + 1} was begun when batch {torn.batch} was safe. So {torn.text} "
            "was on the disk, whole, and somebody may have been told."
        )
        return f"{torn.text} was promised, and this log has lost it", why
    if torn is None:
        return "Everything fits, and something is missing", "All of it has to be kept."
    if said is None:
        why = f"Nothing was forced after {torn.text}: the power went before its force was over."
        return "A log that a power cut can leave was refused", why
    if torn.text in said:
        return f"{torn.text} is kept, and its checksum does not fit", "Who knows what it says?"
    behind = [record.text for record in records[records.index(torn) :]]
    if any(text in said for text in behind):
        why = f"What lies behind {torn.text} was never promised, and means nothing without it."
        return f"Something behind {torn.text} is kept", why
    return "A record is lost that was whole", f"All that stands before {torn.text} must stay."


def _logs() -> list[Scene]:
    scenes = [
        _read("a log that was closed in order", "a b | c | d"),
        _read("the last record is torn", "a b | c | d e!"),
        _read("the first record of the last batch is torn", "a | b! c d"),
        _read("the first batch of all is torn", "a! b"),
        _read("damaged in the middle", "a | b! c | d"),
        _read("the end of a batch in the middle", "a | b c! | d e"),
        _read("nothing was written yet", ""),
    ]
    chance = random.Random(16)
    for number in range(1, 13):
        batches = [
            " ".join(
                f"r{batch}{place}" + "!" * (chance.random() < 0.12)
                for place in range(chance.randint(1, 3))
            )
            for batch in range(chance.randint(1, 4))
        ]
        scenes.append(_read(f"{CHANCE}{number}", " | ".join(batches)))
    return scenes


# Exercise 3: what curl sends ----------------------------------------------------------------------

KEYS = ("a", "job", "job/1", "job/2", "job/é", "job0", "jobs/1", "k", "z/", "zz")


def _asked(prefix: str) -> Scene:
    def play(body_of: Callable) -> Found | None:
        body = body_of(prefix)
        if not isinstance(body, dict):
            return Found("The answer is no dict", f"It is {body!r}.", Trace())
        strange = sorted(map(str, body.keys() - {"key", "range_end"}))
        if strange:
            why = "The two are called key and range_end, as in etcd's RangeRequest."
            return Found(f"What is {strange[0]}?", why, Trace())
        try:
            key, end = (_decoded(body.get(name, "")) for name in ("key", "range_end"))
        except ValueError as error:
            why = f"In the body for {prefix!r}: {error}. JSON has no bytes, only text, so keys are "
            return Found("The gateway cannot read it", why + "sent in base64.", Trace())
        if body.get("key") == prefix:
            why = f"It would read the key {key!r}. Keys are bytes, and sent in base64."
            return Found(f"The gateway takes {prefix!r} for base64", why, Trace())
        return _answered(prefix, key, end)

    return Scene(f"all keys that begin with {prefix}", play)


def _decoded(text: Any) -> bytes:
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is no text")
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise ValueError(f"{text!r} is not base64") from None


def _answered(prefix: str, key: bytes, end: bytes) -> Found | None:
    cluster = _with_keys()
    wanted = [kv.key_text for kv in cluster.client().get(prefix, prefix=True).kvs]
    if not key:
        return Found("There is no key", "key says where the range begins.", cluster.trace)
    found = cluster.client().get(key, range_end=end or None).kvs
    told = [kv.key_text for kv in found]
    if told == wanted and end == prefix_end(prefix.encode()):
        return None
    why = f"{' '.join(told) or 'Nothing'} came back; {' '.join(wanted)} begin with {prefix!r}."
    if not end:
        hint = "Without range_end it is one key, not a range."
    elif told == wanted:
        why = f"Here it finds the same, but not a key such as {prefix + chr(0x10FFFF)!r}."
        hint = "range_end is the first key that is NOT in it: the prefix, with its last byte + 1."
    else:
        hint = "A range goes from key up to range_end, which is not in it. What is the first key "
        hint += f"behind all that begin with {prefix!r}?"
    return Found("It asks for other keys", why, cluster.trace, len(cluster.trace) - 1, hint)


def _with_keys() -> Cluster:
    cluster = BoundedCluster(1, seed=16)
    client = cluster.client()
    for key in KEYS:
        client.put(key, "x")
    return cluster


# Exercise 4: a rolling restart --------------------------------------------------------------------


class TooEarly(Exception):
    """A node was taken down while another was not back yet."""

    def __init__(self, title: str, why: str):
        super().__init__(title)
        self.title, self.why = title, why


class Operated(BoundedCluster):
    """A cluster that clients write to whenever a node is down; it minds who is taken down when."""

    def prepare(self) -> None:
        """Choose a leader, and begin to count."""
        self.wait_for_leader()
        self.downs: list[str] = []
        self.run(0.5)
        self.writer = self.client()
        self.writer.put("written", "0")
        self.run(0.5)

    def crash(self, name: str) -> None:
        """Take a node down, and let clients write meanwhile. Raises: TooEarly."""
        newest = max(node.commit for node in self.nodes.values() if node.alive)
        for other, node in self.nodes.items():
            if other == name:
                continue
            if not node.alive:
                why = f"{other} is still down. Restart one before you take the next one down."
                raise TooEarly(f"{name} and {other} are down at the same time", why)
            last = node.log[-1].index if node.log else 0
            if other in self.downs[-1:] and last < newest:
                why = (
                    f"{other} has the log up to {last} only, and clients were told "
                    f"of writes up to {newest}. On how many disks would the last of them be left? "
                    f"What can you ask of {other} that it cannot answer before it has everything?"
                )
                raise TooEarly(f"{name} was taken down before {other} had caught up", why)
        super().crash(name)
        self.downs.append(name)
        for number in range(4):
            self.writer.put("written", f"{len(self.downs)}.{number}")


def _rolled(title: str, size: int, seed: int) -> Scene:
    def play(rolling: Callable) -> Found | None:
        cluster = Operated(size, seed=seed)
        cluster.prepare()
        names = tuple(cluster.nodes)
        try:
            rolling(cluster, names)
        except TooEarly as early:
            return Found(early.title, early.why, cluster.trace, len(cluster.trace) - 1)
        down = [name for name, node in cluster.nodes.items() if not node.alive]
        missed = [name for name in names if name not in cluster.downs]
        if down or missed:
            name, what = (down[0], "is still down") if down else (missed[0], "was never restarted")
            why = "At the end every node must have been restarted once, and run."
            return Found(f"{name} {what}", why, cluster.trace, len(cluster.trace) - 1)
        return None

    slow = "A node that waits for something which cannot come, waits for ever: who leads meanwhile?"
    return Scene(title, play, {TimedOut: slow})


EXERCISES = [
    Predict(
        "real/refused",
        "With which of the logs A, B, C and D does a member refuse to start?",
        _refused,
        'refused = ["C", "D"]',
        _letters,
    ),
    Program(
        "real/read_log",
        "Write a function that gives back the records to keep, or None.",
        "A power cut can leave any part of the batch that was being written, and of nothing else. "
        "So one record that does not fit is the end of the log, if it belongs to the last batch; "
        "if a later batch follows, it was safe once, and something else has happened to it. To "
        "drop it, and all behind it, would be to forget promises in silence.",
        "    for place, record in enumerate(records):\n"
        "        if not record.fits:\n"
        "            safe = any(r.batch > record.batch for r in records[place:])\n"
        "            return None if safe else records[:place]\n"
        "    return records",
        tuple(_logs()),
    ),
    Program(
        "real/body",
        "Write the body with which curl asks for all keys that begin with a prefix.",
        "A prefix is a range: from the prefix itself up to the first key behind all that begin so. "
        "(If its last byte were 255, the byte before it is counted up.) That is all that etcd "
        "knows of prefixes; `etcdctl get --prefix` and kvlearn's `prefix=True` write the same.",
        "    end = prefix[:-1] + chr(ord(prefix[-1]) + 1)\n"
        '    return {"key": base64(prefix), "range_end": base64(end)}',
        tuple(_asked(prefix) for prefix in ("job/", "job", "z")),
    ),
    Program(
        "real/rolling",
        "Write a program that restarts all nodes one after the other, and never too early.",
        "A read that is not serializable asks the leader how far the log is committed, and waits "
        "until this node has carried out as much. So its answer proves that the node is back, with "
        "everything. A process that runs proves nothing.",
        "    for name in names:\n"
        "        cluster.crash(name)\n"
        "        cluster.restart(name)\n"
        '        cluster.client(name).get("written")',
        (
            _rolled("three nodes", 3, 16),
            _rolled("five nodes", 5, 5),
            _rolled("three nodes, where another one leads", 3, 2),
        ),
    ),
]
