"""Lesson 11 and its exercises: two trees, what a compaction leaves, a real file, the way out of a
full store."""

from __future__ import annotations

import random
import re
import shutil
import tempfile
from collections.abc import Callable
from itertools import combinations, product
from pathlib import Path
from typing import Any, NamedTuple

from kvlearn.course.kinds import Fact, Predict
from kvlearn.course.limits import BoundedCluster
from kvlearn.course.store_kinds import CHANCE, Found, Program, Scene
from kvlearn.course.store_mutants import CountsRecords, Pair
from kvlearn.errors import RequestError
from kvlearn.events import Invoked, Returned
from kvlearn.kv.config import StoreConfig
from kvlearn.kv.leases import Compact
from kvlearn.kv.machine import KVMachine
from kvlearn.kv.requests import Command, Put, as_bytes
from kvlearn.kv.upkeep import Defragment
from kvlearn.mvcc.backend import MemoryBackend
from kvlearn.mvcc.revision import Revision, after, is_tombstone
from kvlearn.mvcc.store import Store
from kvlearn.sim import Cluster
from kvlearn.trace import Trace

# Looking on --------------------------------------------------------------------------------------


def fates(cluster: Cluster, revision: int):
    """A DataFrame: what a compaction at `revision` would do to each record, and why. The cluster
    stays as it is."""
    import pandas

    store = next(node.store for node in cluster.nodes.values() if node.alive)
    rows = []
    for at, record in store.backend.range():
        history = store.index[record.key].revisions
        newer = [other for other in history if at < other < after(revision)]
        told = "deletes" if is_tombstone(at) else "puts"
        if record.mod_revision > revision:
            fate = "stays", f"it is newer than {revision}"
        elif newer:
            fate = "goes", f"{record.key_text} was changed again at {Revision.parse(newer[0])}"
        elif is_tombstone(at):
            fate = (
                "goes",
                f"at {revision} there is no {record.key_text}: no record says the same",
            )
        else:
            fate = "stays", f"at {revision} it is what {record.key_text} holds"
        change = f"{told} {record.key_text if is_tombstone(at) else record}"
        rows.append((str(Revision.parse(at)), change, *fate))
    return pandas.DataFrame(rows, columns=["revision", "change", "fate", "why"]).set_index(
        "revision"
    )


def small_pages(store: Store, order: int = 4) -> Store:
    """A store of its own with the same records, in pages of at most `order`."""
    backend = MemoryBackend(order)
    for at, record in store.backend.range():
        backend.put(at, record)
    backend.commit()
    return Store(backend)


def pages(store: Store) -> str:
    """The leaves of a store's B+tree, left to right; a hole is in brackets."""
    told = []
    for page in store.backend.tree.pages()[-1]:
        cells = sorted([(at, f"{Revision.parse(at)}") for at in page.keys]
                       + [(at, f"({Revision.parse(at)})") for at in page.gone])  # fmt: skip
        told.append(" ".join(text for _, text in cells) or "empty")
    return " | ".join(told)


# A real file -------------------------------------------------------------------------------------


class RealFile:
    """A state machine over an LMDB file, in a temporary folder that goes away with it."""

    def __init__(self):
        from kvlearn.live.lmdb_backend import LmdbBackend

        self._folder = tempfile.mkdtemp(prefix="kvlearn-")
        self._kind = LmdbBackend
        self.machine = self._open()

    def _open(self) -> KVMachine:
        return KVMachine(self._kind(self._folder, fsync=False))

    def put(self, key: str, text: str, commit: bool = True) -> None:
        """Carry out one more entry of the log; without `commit` nothing of it is durable."""
        index = self.machine.applied + 1
        self.machine.apply(index, 1, Command("n1", index, Put(as_bytes(key), as_bytes(text))))
        if commit:
            self.machine.commit()

    def compact(self) -> None:
        """Give up all history, and sweep to the end."""
        index = self.machine.applied + 1
        self.machine.apply(index, 1, Command("n1", index, Compact(self.machine.revision)))
        while self.machine.store.sweeping:
            self.machine.store.sweep(100)
            self.machine.commit()

    def defragment(self) -> int:
        """Write the file anew without its free pages; returns how many bytes that saved."""
        return self.machine.backend.defragment()

    def crash(self) -> None:
        """The process dies and is started again: what was not committed is gone."""
        self.machine.backend.close()
        self.machine = self._open()

    def sizes(self) -> str:
        """The pages of the file, and how many of them are free."""
        kinds = [page.kind for page in self._pages()]
        return f"{len(kinds):3} pages, {kinds.count('free'):3} of them free"

    def state(self) -> str:
        """How far it is."""
        return f"applied {self.machine.applied}, revision {self.machine.revision}"

    def pages(self) -> dict[int, str]:
        """What is in each page of the file, as the last commit left it."""
        return _told(self._pages())

    def _pages(self) -> list:
        from kvlearn.live import lmdb_pages

        return lmdb_pages.pages(self._folder)

    def watch(self, *texts: str):
        """Put `a` again and again, and look at the file after each commit: a DataFrame."""
        import pandas

        rows, before = [], self._bytes()
        for text in texts:
            self.put("a", text)
            now, pages = self._bytes(), self._pages()
            meta = max(pages[:2], key=lambda page: page.transaction)
            wrote = [n for n in now if now[n] != before.get(n) and n > 1]
            free = [page.number for page in pages if page.kind == "free"]
            told = (meta.number, meta.transaction, _numbers(wrote), _numbers(free))
            rows.append((f"put a={text}", *told))
            before = now
        columns = ["commit", "meta page", "its number", "pages written", "pages free"]
        return pandas.DataFrame(rows, columns=columns).set_index("commit")

    def _bytes(self) -> dict[int, bytes]:
        """The pages as they lie in the file."""
        from kvlearn.live.lmdb_pages import DATA_FILE

        data = (Path(self._folder) / DATA_FILE).read_bytes()
        size = self.machine.backend._env.stat()["psize"]
        return {at // size: data[at : at + size] for at in range(0, len(data), size)}

    def close(self) -> None:
        """Close the file and remove it."""
        self.machine.backend.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __del__(self):
        if "machine" in self.__dict__:
            self.close()


def _told(pages: list) -> dict[int, str]:
    counts = max(pages[:2], key=lambda page: page.transaction).number
    return {page.number: _page(page, counts) for page in pages}


def _numbers(numbers: list[int]) -> str:
    return " ".join(map(str, numbers))


def file_pages(folder: Path):
    """A DataFrame: what is in each page of a store's file that nobody writes to just now."""
    import pandas

    from kvlearn.live import lmdb_pages

    told = _told(lmdb_pages.pages(folder))
    return pandas.DataFrame({"what": told}).rename_axis("page")


def _page(page: Any, counts: int) -> str:
    if page.kind == "meta":
        roots = ", ".join(f"{cell.key.decode()} → {cell.page}" for cell in page.cells if cell.page)
        return f"meta {'✓' if page.number == counts else ' '} {roots}"
    if page.kind == "free":
        return "free"
    if page.tree == "records":
        told = " ".join(str(Revision.parse(cell.key)) for cell in page.cells if cell.key)
    elif page.tree == "main":
        told = ", ".join(f"{cell.key.decode().strip(chr(0))} → {cell.page}" for cell in page.cells)
    elif page.tree == "facts":
        told = ", ".join(
            f"{cell.key.decode()}={cell.value.decode()}"
            for cell in page.cells
            if cell.key == b"applied"
        )
    else:
        told = f"{len(page.cells)} records"
    return f"{page.tree}: {told}"


class NoFile:
    """Stands for a RealFile where LMDB is missing: whatever it is asked, it says so."""

    def __getattr__(self, name: str) -> Callable:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *_, **__: self

    def __repr__(self) -> str:
        return "LMDB is not installed here: pip install lmdb, and begin this section again."


def real_file() -> RealFile | NoFile:
    """A new, empty store in a file; or what says that there is no LMDB."""
    try:
        return RealFile()
    except ImportError:
        return NoFile()


def real_member() -> Any:
    """One real member, a process of its own; or what says that there can be none here."""
    try:
        from kvlearn.live import LocalCluster

        member = LocalCluster(1, trace=False)
        member.wait_for_leader()
    except (ImportError, OSError):
        return NoFile()
    return member


def on_disk(member: Any) -> Any:
    """How far the log and the store of a dead member reach."""
    if isinstance(member, NoFile):
        return member
    from kvlearn.course.outside import log_records

    folder = member.data_dir / "n1"
    entries = [record.what for record in log_records(folder) if record.what.startswith("entry")]
    told = "; ".join(file_pages(folder / "store").what)
    applied = re.search(r"applied=(\d+)", told)
    return f"the log ends with {entries[-1]}; the store is at entry {applied[1] if applied else 0}"


def side_by_side(before: Any, now: Any):
    """A DataFrame of the pages of a file at two moments."""
    import pandas

    if isinstance(now, NoFile):
        return now
    columns = {"before": before, "after one more put": now}
    return pandas.DataFrame(columns).rename_axis("page").fillna("")


# A full store ------------------------------------------------------------------------------------

QUOTA = 3000  # bytes


def full_cluster(size: int = 3, kind: type[Cluster] = Cluster) -> Cluster:
    """Three keys, put until the store is above its quota and an alarm is raised."""
    cluster = kind(size, seed=5, store=StoreConfig(quota_bytes=QUOTA))
    cluster.wait_for_leader()
    client = cluster.client()
    try:
        for number in range(100):
            client.put(f"k{number % 3}", f"a value, number {number}")
    except RequestError:
        cluster.run(0.2)
    return cluster


def attempt(cluster: Cluster, what: str, done: list[str]) -> None:
    """Say how large the store is, and try a put; if it is taken, note after what."""
    client = cluster.client()
    size = client.status()
    print(f"{what:14} takes {size.db_bytes} bytes, {size.db_in_use_bytes} in use;", end=" ")
    try:
        print(client.put("k0", "new"))
        done.append(what)
    except RequestError:
        print("refused")


# Exercise 1: the way of a read -------------------------------------------------------------------

READS = 6, 8, 9, 13


def looked_up() -> Cluster:
    """The requests of the first exercise; `job` is {3.0 5.0 8.0(t)} {11.0}."""
    cluster = Cluster(3, seed=4)
    cluster.wait_for_leader()
    client = cluster.client()
    for key in ("other", "job", "other", "job", "other", "other"):
        client.put(key, "x")
    client.delete("job")
    for key in ("other", "other", "job", "other", "other"):
        client.put(key, "x")
    cluster.run(0.3)
    return cluster


def _lookup() -> Fact:
    cluster = looked_up()
    client, found = cluster.client(), []
    for revision in READS:
        kv = client.get("job", revision=revision).kv
        found.append(kv.mod_revision if kv is not None else None)
    seq = list(cluster.trace.of(Returned))[-1].seq
    why = (
        "The newest revision of job that is not above 6 is 5. At 8 and 9 the newest one is the "
        "tombstone: the index sees its mark, and the read ends there, with nothing. Nothing of the "
        "B+tree was opened. At 13 it is 11, for what happened to other keys is not in this list."
    )
    answers = product((None, 3, 5, 6, 8, 9, 11, 13), repeat=len(READS))
    hints = {said: _way_hint(said, tuple(found)) for said in answers if said != tuple(found)}
    hints |= {
        (5, 5, None, 11): "A change at 8 is seen by a read at 8.",
        (6, None, None, 13): "At 6 and at 13 another key was changed.",
    }
    return Fact(tuple(found), cluster.trace, seq, why, hints)


def _way_hint(said: tuple, found: tuple) -> str:
    """About the first read that is led elsewhere."""
    at, told, right = next(one for one in zip(READS, said, found) if one[1] != one[2])
    if told is None:
        new = "A new life begins at 11." if right == 11 else f"It was put at {right}."
        return f"A read at {at} finds job. {new}"
    if told > at:
        return f"{told} is above {at}: a read at {at} does not see it."
    if told not in (3, 5, 8, 11):
        return f"At {told} another key was changed."
    if right is not None:
        return f"A read at {at}: which is newer, {told} or {right}? Neither is above {at}."
    if told == 8:
        return "What does the mark (t) say? Is there anything to fetch?"
    return "At 8 the key was deleted. May a later read find what was before?"


def _revisions(answer: Any) -> tuple:
    given = tuple(None if one in (0, None, "nothing") else one for one in answer)
    if len(given) != len(READS):
        raise ValueError(f"There are {len(READS)} reads; give a revision, or None, for each.")
    for one in given:
        if one is not None and (isinstance(one, bool) or not isinstance(one, int)):
            raise ValueError(f"{one!r} is no revision: a whole number, or None.")
    return given


# Exercise 2: what stays --------------------------------------------------------------------------


def _left() -> Fact:
    from kvlearn.course.exercises.revisions import eight_changes

    cluster = eight_changes()
    store = cluster.nodes["n1"].store
    records = [(Revision.parse(at), record.key_text) for at, record in store.backend.range()]
    cluster.client().compact(11)
    seq = list(cluster.trace.of(Returned))[-1].seq
    cluster.run(0.5)
    left = [str(Revision.parse(at)) for at, _ in cluster.nodes["n1"].store.backend.range()]
    why = (
        "At 11 key1 holds e (10.0), key2 f (11.0), key3 c (8.0) and key4 d (8.1): these four must "
        "stay, however old they are. And 12.0 is newer than 11; that it is a deletion matters to a "
        "later compaction."
    )
    future = "key3 is deleted at 12. But what does a read at 11 have to find?"
    old = "key4 was put once, long ago. Is it not there at 11?"
    hints = {
        tuple(str(at) for at, _ in said): _left_hint(said, records, left)
        for size in range(len(records) + 1)
        for said in combinations(records, size)
        if [str(at) for at, _ in said] != left
    }
    hints |= {
        ("8.1", "10.0", "11.0", "12.0"): future,
        ("8.1", "10.0", "11.0"): future,
        ("8.0", "10.0", "11.0", "12.0"): old,
        ("10.0", "11.0", "12.0"): old,
        ("11.0", "12.0"): "Then key1 and key4 would be lost.",
        ("6.0", "8.0", "8.1", "10.0", "11.0", "12.0"): "Who may still read key1 as it was at 6?",
    }
    return Fact(tuple(left), cluster.trace, seq, why, hints)


def _left_hint(said: tuple, records: list[tuple[Revision, str]], left: list[str]) -> str:
    """About the first record that stays or goes against the rule."""
    for at, key in records:
        if (at, key) in said and str(at) not in left:
            again = min(other for other, same in records if same == key and other > at)
            return f"Who needs {at}? {key} was changed again at {again}, and that is not above 11."
        if (at, key) not in said and str(at) in left:
            return (
                f"{at} is newer than 11."
                if at.main > 11
                else f"At {at} {key} was put, and then not again up to 11. What does a read of it "
                "at 11 have to find?"
            )
    return ""


def _records(answer: Any) -> tuple[str, ...]:
    found = set()
    for one in [answer] if isinstance(answer, (str, int, float)) else answer:
        try:
            main, _, sub = str(one).partition(".")
            found.add(Revision(int(main), int(sub or 0)))
        except ValueError:
            raise ValueError(f"{one!r} is no revision like '8.1'.") from None
    return tuple(map(str, sorted(found)))


# Exercise 3: write it ----------------------------------------------------------------------------


class OneChange(NamedTuple):
    """What the exercise tells of a change: `deletes` is True of a deletion, False of a put."""

    revision: int
    key: str
    deletes: bool


def a_history(*words: str) -> list[OneChange]:
    """Changes from revision 2 on: "a" puts a, "-a" deletes it."""
    return [
        OneChange(revision, word.lstrip("-"), word.startswith("-"))
        for revision, word in enumerate(words, 2)
    ]


def _kept(title: str, history: list[OneChange], revision: int) -> Scene:
    def play(stays: Callable) -> Found | None:
        said = stays(list(history), revision)
        known = {change.revision for change in history}
        try:
            said = {getattr(one, "revision", one) for one in said}
        except TypeError:
            return _wrong("The answer is no list", f"It is {said!r}.", history, revision)
        if not said <= known:
            what = f"It names {sorted(said - known, key=str)}, and there is no such change"
            return _wrong(what, "Give back some of the changes you got.", history, revision)
        newest = {c.key: c for c in history if c.revision <= revision}
        for change in history:
            current = newest.get(change.key) is change
            stays_here = change.revision > revision or current and not change.deletes
            if stays_here != (change.revision in said):
                title, why = _blamed(change, current, revision)
                return _wrong(title, why, history, revision)
        return None

    return Scene(title, play)


def _blamed(change: OneChange, current: bool, revision: int) -> tuple[str, str]:
    at, key = change.revision, change.key
    if at > revision:
        return f"{at} is gone, and it is newer than {revision}", "A compaction is about the past."
    if current and not change.deletes:
        why = f"{key} was put at {at}, and at {revision} that was still what it held."
        return f"A read of {key} at {revision} finds nothing", why
    if current:
        why = f"It deletes {key}. Without it a read at {revision} finds no {key} either."
        return f"{at} stays, and nobody needs it", why
    why = f"{key} was changed again before or at {revision}, and nobody reads before {revision}."
    return f"{at} stays, and nobody can read it any more", why


def _wrong(title: str, why: str, history: list[OneChange], revision: int) -> Found:
    told = ", ".join(f"{c.revision} {'deletes' if c.deletes else 'puts'} {c.key}" for c in history)
    return Found(title, f"{why} The changes: {told}. The compaction is at {revision}.", Trace())


def _histories() -> list[Scene]:
    scenes = [
        _kept("two keys, put once each", a_history("a", "b"), 3),
        _kept("a key that was put again", a_history("a", "a", "b", "a"), 4),
        _kept("a deletion below", a_history("a", "b", "-a", "b"), 5),
        _kept("a deletion above", a_history("a", "b", "b", "-a"), 4),
        _kept("a second life", a_history("a", "-a", "a", "-a", "a", "b"), 5),
    ]
    chance = random.Random(11)
    for number in range(1, 13):
        alive: set[str] = set()
        words = []
        for _ in range(10):
            key = chance.choice("abc")
            deletes = key in alive and chance.random() < 0.4
            alive = alive - {key} if deletes else alive | {key}
            words.append(f"-{key}" if deletes else key)
        scenes.append(
            _kept(f"{CHANCE}{number}", a_history(*words), chance.randint(2, 11))
        )
    return scenes


# Exercise 4: a witness ---------------------------------------------------------------------------


def _convicts(moves: Callable) -> Found | None:
    """Whether the moves convict CountsRecords: after them it is at another revision."""
    whole, broken = Pair(Store), Pair(CountsRecords)
    moves(whole)
    moves(broken)
    should, told = whole.store.revision, broken.store.revision
    if should != told:
        return None
    did = ", ".join(broken.moves) or "nothing"
    why = f"Your moves: {did}."
    title = f"Both stores are at revision {told}: nothing is shown yet"
    if "restart" not in broken.moves:
        hint = "When does a store learn its revision from the disk?"
    elif not any(move.startswith("compact") for move in broken.moves):
        hint = "As long as every record is there, the newest one has the newest revision."
    elif not any(move.startswith("delete") for move in broken.moves):
        hint = "A compaction leaves the newest record of each key. Unless it is what?"
    else:
        hint = "Which record carries the newest revision, and is it gone when the store is opened?"
    return Found(title, why, Trace(), hint=hint)


# Exercise 5: the way out -------------------------------------------------------------------------


def _rescued(title: str, size: int, before: Callable[[Cluster], None]) -> Scene:
    def play(rescue: Callable) -> Found | None:
        cluster = full_cluster(size, BoundedCluster)
        before(cluster)
        held = _held(cluster)
        rescue(cluster)
        return _lost(cluster, held) or _still_full(cluster)

    return Scene(title, play)


def _held(cluster: Cluster) -> dict[bytes, bytes]:
    return {kv.key: kv.value for kv in cluster.client().get("", from_key=True).kvs}


def _lost(cluster: Cluster, held: dict[bytes, bytes]) -> Found | None:
    now = _held(cluster)
    for key, value in held.items():
        if now.get(key) != value:
            name, told = key.decode(), now.get(key)
            title = f"{name} is gone" if told is None else f"{name} is now {told.decode()!r}"
            why = f"It was {value.decode()!r}, and the users still need it."
            return Found(title, why, cluster.trace, len(cluster.trace) - 1)
    return None


def _still_full(cluster: Cluster) -> Found | None:
    for name in cluster.nodes:
        client = cluster.client(name)
        try:
            client.put("probe", name)
        except RequestError as error:
            status, raised = client.status(), client.alarms().alarms
            why = (
                f"{error} Its backend takes {status.db_bytes} bytes, {status.db_in_use_bytes} of "
                f"them are in use, and the quota is {QUOTA}."
            )
            if status.db_bytes > QUOTA:
                hint = _room_hint(cluster, name, status.db_in_use_bytes)
            else:
                hint = f"There is room, but {len(raised)} alarm(s) stand."
            return Found(
                f"A put through {name} is refused", why, cluster.trace, len(cluster.trace) - 1, hint
            )
    return None


def _room_hint(cluster: Cluster, name: str, in_use: int) -> str:
    """Why a node still takes more than its quota."""
    compacted, packed = _done(cluster, Compact), _done(cluster, Defragment, name)
    if not compacted:
        return "Nothing was compacted: every record is still needed."
    if not packed:
        return f"{name} was not defragmented, and each node gives back its own room alone."
    if packed[-1] < compacted[0]:
        return f"{name} was defragmented before anything was compacted: there was nothing to take."
    if in_use > QUOTA and not cluster.nodes[name].store.sweeping:
        return "Much of the history is still there. Up to which revision may it be given up?"
    return "You defragmented before the sweep was done: wait, or `physical=True`."


def _done(cluster: Cluster, kind: type, node: str = "") -> list[int]:
    """The records of the answers to requests of this kind (that this node gave)."""
    asked = {
        record.event.op_id
        for record in cluster.trace.of(Invoked)
        if isinstance(record.event.request, kind) and node in ("", record.event.node)
    }
    answers = cluster.trace.of(Returned)
    return [one.seq for one in answers if one.event.op_id in asked and not one.event.error]


def _restart_one(cluster: Cluster) -> None:
    cluster.crash("n2")
    cluster.restart("n2")
    cluster.run(2.0)


EXERCISES = [
    Predict(
        "trees/lookup",
        "To which revision of job does the index lead a read at 6, 8, 9 and 13?",
        _lookup,
        "found = [5, None, None, 11]",
        _revisions,
    ),
    Predict(
        "trees/left",
        "Which records are left after a compaction at 11?",
        _left,
        'left = ["8.0", "8.1", "10.0", "11.0", "12.0"]',
        _records,
    ),
    Program(
        "trees/stays",
        "Write a function that gives back the changes which a compaction leaves.",
        "One pass finds the newest change of each key at or below the revision. Whatever is newer "
        "than the revision stays; of the rest these newest ones, if they are puts. A real store "
        "asks its index instead: it has the list of each key at hand.",
        "    newest = {}\n"
        "    for change in changes:\n"
        "        if change.revision <= revision:\n"
        "            newest[change.key] = change\n"
        "    needed = [c for c in newest.values() if not c.deletes]\n"
        "    return needed + [c for c in changes if c.revision > revision]",
        tuple(_histories()),
    ),
    Program(
        "trees/goes-back",
        "Write moves after which CountsRecords is at another revision than Store.",
        "The newest change was a deletion, and the compaction took its record: so the newest "
        "revision stood nowhere but in memory. A restart goes back to an older one, and the next "
        "put gets a number that was given before. Store keeps the number of the last compaction "
        "beside the records, and never begins below it.",
        '    store.put("a", "1")\n    store.delete("a")\n    store.compact(3)\n    store.restart()',
        (Scene("your moves, with both stores", _convicts),),
    ),
    Program(
        "trees/rescue",
        "Write what an operator does, so that every node takes puts again and no key is lost.",
        "Compacting makes records go, defragmenting gives their room back, at each node for "
        "itself, and disarming ends the alarm. In this order: an alarm that is ended while a node "
        "is still above its quota comes back with the next put.",
        "    client = cluster.client()\n"
        '    client.compact(client.get("k0").header.revision)\n'
        "    cluster.run(1)  # the sweeps go on at each node\n"
        "    for name in cluster.nodes:\n"
        "        cluster.client(name).defragment()\n"
        "    client.disarm()",
        (
            _rescued("three nodes", 3, lambda cluster: None),
            _rescued("five nodes", 5, lambda cluster: None),
            _rescued("a node was started again meanwhile", 3, _restart_one),
        ),
    ),
]
