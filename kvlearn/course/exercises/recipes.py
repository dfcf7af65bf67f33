"""Lesson 15: the scenes that it plays, and its exercises.

Who holds a semaphore, which writes a fenced resource takes, a lock by hand, a scheduler beside
another, and two holders of one lock though nobody sleeps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kvlearn.course.comparison import Comparison
from kvlearn.course.kinds import Fact, Predict, _is_empty
from kvlearn.course.limits import HALTS, BoundedCluster, Spent, blame, bounded
from kvlearn.course.store_kinds import Found, Meddled, Program, Scene
from kvlearn.course.verdicts import Judgement, window
from kvlearn.errors import KVLearnError, TimedOut
from kvlearn.events import Applied, LeaseExpired
from kvlearn.recipes import Informer, Registry, Semaphore
from kvlearn.sim import Cluster
from kvlearn.trace import Trace
from kvlearn.words import create_revision, put

# The play --------------------------------------------------------------------------------------


def web_servers(ttl_s: int = 5) -> Cluster:
    """Three nodes, and three servers c1, c2 and c3 that have registered as `web`."""
    cluster = Cluster(3, seed=7)
    for number in (1, 2, 3):
        Registry(cluster.client()).register("web", f"10.0.0.{number}:80", ttl_s=ttl_s)
    return cluster


class File:
    """A file somewhere outside the cluster. It takes every write of one who believes that the lock
    is his; what it is shown it writes down."""

    def __init__(self):
        self.newest = 0  # the highest token that it was shown
        self.lines: list[tuple[int, str, bool]] = []  # (token, text, taken)

    def may_write(self, token: int) -> bool:
        """No question is asked."""
        return True

    def write(self, lock: Any, text: str) -> bool:
        """Whether the text was taken. Raises: ValueError from one who knows that the lock is not
        his: an honest program would not write."""
        if lock.token is None:
            raise ValueError(f"{lock!r} is not held: an honest program does not write now")
        taken = self.may_write(lock.token)
        self.newest = max(self.newest, lock.token)
        self.lines.append((lock.token, text, taken))
        return taken

    @property
    def damage(self) -> tuple[str, str] | None:
        """A text that was taken after that of a later holder, and that text; None: none was."""
        newest = (0, "")
        for token, text, taken in self.lines:
            if taken and token < newest[0]:
                return text, newest[1]
            if taken:
                newest = max(newest, (token, text))
        return None

    def told(self) -> list[str]:
        """What happened to it, line by line."""
        lines = [
            f"token {token}: {text!r} is {'taken' if taken else 'refused'}"
            for token, text, taken in self.lines
        ]
        if self.damage:
            late, newer = self.damage
            return [*lines, f"✗ damaged: {late!r} was written over {newer!r}"]
        return [*lines, "✓ in order"]


class FencedFile(File):
    """A file that refuses whoever shows a lower token than it has seen."""

    def may_write(self, token: int) -> bool:
        """Who held the lock before another one did has nothing to write any more."""
        return token >= self.newest


def compare_files(story: Callable[[File], Any]) -> Comparison:
    """The same story with a fence and without."""
    told = []
    for kind in (FencedFile, File):
        file = kind()
        story(file)
        told.append(file.told())
    return Comparison(*told, "FencedFile", "File")


# Who holds -------------------------------------------------------------------------------------


def line() -> tuple[Cluster, list[Semaphore]]:
    """Six clients in line for two printers; c2 has given its back, c4 and c1 have crashed."""
    cluster = Cluster(3, seed=7)
    printers = [Semaphore(cluster.client(), "printer", n=2, ttl_s=5) for _ in range(6)]
    for printer in printers:
        printer.acquire(wait=False)
    printers[1].release()
    cluster.crash("c4")
    cluster.crash("c1")
    return cluster, printers


def _line() -> Fact:
    cluster, printers = line()
    cluster.run(20)
    holders = tuple(f"c{n}" for n in (3, 5, 6) if printers[n - 1].poll())
    last = list(cluster.trace.of(Applied))[-1]
    why = (
        "c1 and c2 came first. c2 gave its printer back: c3. c4 died while it waited, so its key "
        "went with its lease and nobody waits for it. c1's key went with its lease, too: c5 is the "
        "next that is left. c6 waits."
    )
    hints = {
        ("c3", "c4"): "c4 is dead. What became of its place in the line?",
        ("c1", "c3"): "c1 is dead. For how long does a printer stay with the dead?",
        ("c3",): "There are two printers, and after 20 s no lease of the dead is left.",
        ("c5", "c6"): "c3 was before them, and it lives.",
        ("c3", "c6"): "Whoever comes first holds: the order is that of the create revisions.",
        ("c3", "c5", "c6"): "There are two printers.",
    }
    return Fact(holders, cluster.trace, last.seq, why, hints)


def _clients(answer: Any) -> tuple[str, ...]:
    if isinstance(answer, str):
        answer = answer.replace(",", " ").split()
    found = sorted(set(answer))
    for name in found:
        if name not in ("c1", "c2", "c3", "c4", "c5", "c6"):
            raise ValueError(f"{name!r} is none of the clients c1 to c6.")
    return tuple(found)


# A fence ---------------------------------------------------------------------------------------


def _tokens(*tokens: int) -> Callable[[Callable], Found | None]:
    """A scene: a file that asks the student's function is shown these tokens."""

    def play(may_write: Callable) -> Found | None:
        trace, newest = Trace(), 0
        for number, token in enumerate(tokens):
            said, wanted = may_write(newest, token), token >= newest
            if bool(said) is not wanted:
                before = " ".join(map(str, tokens[:number])) or "none"
                why = f"tokens so far: {before}; then a write with token {token}, and `may_write("
                why += f"{newest}, {token})` says {said}."
                if token == newest:
                    hint = "The same holder writes again: nobody else has held since."
                    return Found("A holder may write only once", why, trace, hint=hint)
                if wanted:
                    hint = "A higher token comes from one who got the lock later. It is his now."
                    return Found("The new holder may not write", why, trace, hint=hint)
                hint = "Somebody got the lock after this one, and has written already."
                return Found("One who overslept writes all the same", why, trace, hint=hint)
            newest = max(newest, token)
        return None

    return play


# A lock by hand --------------------------------------------------------------------------------

LOCK = "lock/report"


def _locks(moves: Callable[[], list], free: bool) -> Callable[[Callable], Found | None]:
    """A scene: `moves()` are what others do between the calls of the locker."""

    def play(try_lock: Callable) -> Found | None:
        cluster = BoundedCluster(3, seed=5)
        cluster.wait_for_leader()
        other = cluster.client()
        if not free:
            other.put(LOCK, "other", lease=other.lease(60))
        meddled = Meddled(cluster, moves())
        lease = meddled.lease(5)
        before = other.get(LOCK).kv
        token = try_lock(meddled, LOCK, lease)
        kv = other.get(LOCK).kv
        mine = kv is not None and kv.lease == lease.id
        return _lock_found(cluster.trace, token, kv, before, lease, mine)

    return play


def _lock_found(
    trace: Trace, token: Any, kv: Any, before: Any, lease: Any, mine: bool
) -> Found | None:
    if mine and before is not None:
        why = f"{LOCK} was there, put by another client, and now it is yours."
        hint = "Compare in the transaction: the key must not be there. What is its create revision?"
        return Found("It took the lock from its holder", why, trace, hint=hint)
    if kv is not None and kv.version > 1:
        why = f"{LOCK} was put {kv.version} times: two of you have written it."
        hint = (
            "Between a question and a write others may come. A transaction does both at once, "
            "and nobody comes in between."
        )
        return Found("Two took the lock, one after the other", why, trace, hint=hint)
    if mine and token is None or mine and not token:
        why = f"{LOCK} hangs on your lease, and the function returned {token!r}."
        hint = "The token is the revision of the transaction: reply.header.revision."
        return Found("It holds, and does not know", why, trace, hint=hint)
    if not mine and token:
        why = f"the function returned {token!r}, and "
        why += "there is no such key." if kv is None else f"{LOCK} belongs to somebody else."
        if kv is not None and not kv.lease:
            why = f"{LOCK} hangs on no lease: when its holder dies, it stays for ever."
            return Found(
                "A lock that outlives its holder", why, trace, hint="put(..., lease=lease)"
            )
        hint = "reply.succeeded says which branch was taken."
        return Found("It believes that it holds", why, trace, hint=hint)
    if mine and token != kv.create_revision:
        why = f"the function returned {token!r}; the key's create revision is {kv.create_revision}."
        hint = "A fencing token has to rise with each holder: reply.header.revision does."
        return Found("That is no fencing token", why, trace, hint=hint)
    if not mine and kv is None:
        why = "nobody held it, and it is free still."
        return Found("It did not take a free lock", why, trace)
    return None


def _taken_first() -> list[Callable]:
    """Another client takes the lock as soon as there is a gap."""
    return [
        lambda c: (
            c.txn().if_(create_revision(LOCK) == 0).then(put(LOCK, "other", c.lease(60))).commit()
        )
    ] * 3


# A scheduler ------------------------------------------------------------------------------------


def _binds(
    taken: tuple[str, ...], room: int, wanted: tuple[str, ...]
) -> Callable[[Callable], Found | None]:
    """A scene: three pods are new; another scheduler has `taken` some since they were listed."""

    def play(bind: Callable) -> Found | None:
        cluster = BoundedCluster(3, seed=5)
        cluster.wait_for_leader()
        client, other = cluster.client(), cluster.client()
        client.put("pod/a", "new")
        client.put("pod/b", "new")
        client.put("pod/c", "new")
        client.put("pod/d", "node9")
        informer = Informer(client, "pod/")
        informer.poll()
        for key in taken:
            other.put(key, "node2")
        said = bind(informer, "node1", room)
        pods = {kv.key_text: kv.text for kv in other.get("pod/", prefix=True).kvs}
        return _bound(cluster.trace, said, pods, taken, room, wanted)

    return play


def _bound(
    trace: Trace, said: Any, pods: dict, taken: tuple, room: int, wanted: tuple
) -> Found | None:
    mine = tuple(sorted(key for key, node in pods.items() if node == "node1"))
    stolen = [key for key in mine if key in (*taken, "pod/d")]
    if stolen:
        whose = "node9" if stolen[0] == "pod/d" else "node2"
        why = f"{stolen[0]} ran on {whose}, and now it runs on node1 as well."
        hint = (
            "Take only what is new in your cache, and let `informer.replace` write it: the store "
            "refuses what was decided on an old copy."
        )
        return Found("One pod runs on two nodes", why, trace, hint=hint)
    if len(mine) > room:
        why = f"it bound {len(mine)} pods, and there is room for {room}."
        return Found("The node is too full", why, trace)
    if mine != wanted and len(mine) < len(wanted):
        why = f"it bound {len(mine)} pods; {len(wanted)} were free, and there was room."
        hint = "`replace` says False: that pod is gone, but others may be left."
        return Found("A pod is left without a node", why, trace, hint=hint)
    told = tuple(sorted(said)) if isinstance(said, (list, tuple, set)) else said
    if told != mine:
        why = f"it returned {said!r}, and the store says that {list(mine)} run on node1."
        hint = "Only what `replace` has answered with True is yours."
        return Found("It believes something else than the store", why, trace, hint=hint)
    return None


# Two holders, and nobody sleeps -----------------------------------------------------------------


class Awake(BoundedCluster):
    """A cluster in which no client may be stopped."""

    def pause(self, name: str) -> None:
        """Raises: ValueError for a client."""
        self._only_nodes(name)
        super().pause(name)

    def crash(self, name: str) -> None:
        """Raises: ValueError for a client."""
        self._only_nodes(name)
        super().crash(name)

    def _only_nodes(self, name: str) -> None:
        if name.startswith("c"):
            raise ValueError(f"in this exercise all clients are awake: {name} too")


OWN_CLOCK = (
    "A holder speaks every third of its time. By whose clock does its lease run out? Let the other "
    "one get the lock before the first one speaks again."
)


@dataclass(frozen=True)
class TwoHolders:
    """Write a scene in which a file is damaged though all its writers are honest and awake."""

    name: str
    solution: str
    because: str

    def judge(self, scene: Any) -> Judgement:
        """Play the scene with a file, and with a fenced one."""
        ask = "Write a scene in which the file is damaged: an older holder writes last."
        if scene is None or (not isinstance(scene, str) and callable(scene) and _is_empty(scene)):
            return Judgement(self.name, None, "There is no scene yet", [ask])
        if not callable(scene):
            what = f"This exercise takes a function, not {type(scene).__name__}"
            return Judgement(self.name, False, what, [ask])
        played = []
        for file in (File(), FencedFile()):
            cluster = Awake(3, seed=7)
            try:
                bounded(scene, cluster, file)
            except (*HALTS, Exception) as error:
                return self._raised(error)
            played.append((cluster, file))
        (cluster, plain), (_, fenced) = played
        if plain.damage is None:
            return self._unharmed(cluster, plain)
        late, newer = plain.damage
        why = [
            f"{late!r} was written over {newer!r}, by one who believed that the lock was his.",
            self.because,
            f"The fenced file: {'; '.join(fenced.told())}.",
        ]
        title = "Two held one lock, and both were awake"
        ends = list(cluster.trace.of(LeaseExpired))
        record = ends[-1] if ends else cluster.trace[-1]
        parts = window(cluster.trace, record.seq)
        return Judgement(self.name, True, title, why, record=record, parts=parts)

    def _unharmed(self, cluster: Cluster, file: File) -> Judgement:
        told = "; ".join(file.told()) if file.lines else "nothing was written"
        record = cluster.trace[-1] if len(cluster.trace) else None
        title = "The file is not damaged"
        why = [f"What happened: {told}.", OWN_CLOCK]
        return Judgement(self.name, False, title, why, record=record)

    def _raised(self, error: BaseException) -> Judgement:
        plain = isinstance(error, (Spent, KVLearnError, ValueError, TimedOut))
        what = str(error) if plain else f"{type(error).__name__}: {error}"
        where = blame(error)
        why = [f"It came up {where}." if where else "The scene was played with a File."]
        if isinstance(error, TimedOut):  # the second one waits for ever while the first one lives
            why.append(OWN_CLOCK)
        return Judgement(self.name, False, f"The scene does not play to its end: {what}", why)


EXERCISES = [
    Predict(
        "recipes/line",
        "Who holds a printer 20 s later?",
        _line,
        'holders = ["c3", "c5"]',
        _clients,
    ),
    Program(
        "recipes/fence",
        "Write `may_write`: whether a write with this token is taken.",
        "Whoever held before somebody else did is refused; the holder of now may write as often as "
        "he likes. The file needs no clock and asks nobody: a number that only rises is enough.",
        "    return token >= newest",
        (
            Scene("three holders, one after the other", _tokens(2, 5, 9)),
            Scene("holders that write more than once", _tokens(2, 2, 5, 5, 5)),
            Scene("one that overslept", _tokens(2, 5, 2, 5)),
            Scene("two that overslept", _tokens(4, 6, 4, 11, 6, 4, 11)),
        ),
    ),
    Program(
        "recipes/try_lock",
        "Write `try_lock`: take the lock if nobody has it, and return the fencing token, or None.",
        "The question and the write are one transaction, so nobody comes in between; the key hangs "
        "on the lease, so it does not outlive its holder; and the revision is the token.",
        "    txn = client.txn().if_(create_revision(key) == 0)\n"
        '    reply = txn.then(put(key, "mine", lease=lease)).commit()\n'
        "    return reply.header.revision if reply.succeeded else None",
        (
            Scene("nobody has it", _locks(list, True)),
            Scene("another has it", _locks(list, False)),
            Scene("another comes in between", _locks(_taken_first, True)),
        ),
    ),
    Program(
        "recipes/bind",
        "Write `bind`: give up to `room` new pods to this node, and return their keys.",
        "A copy may be old, and that does no harm as long as each write says what it has seen. No "
        "lock was needed, and nobody waited.",
        "    mine = []\n"
        "    for kv in list(informer.cache.values()):\n"
        '        if len(mine) < room and kv.text == "new" and informer.replace(kv.key, node):\n'
        "            mine.append(kv.key_text)\n"
        "    return mine",
        (
            Scene("the copy is as the store is", _binds((), 3, ("pod/a", "pod/b", "pod/c"))),
            Scene("room for two", _binds((), 2, ("pod/a", "pod/b"))),
            Scene("another was quicker", _binds(("pod/a",), 3, ("pod/b", "pod/c"))),
            Scene("another was quicker, and room for one", _binds(("pod/a",), 1, ("pod/b",))),
        ),
    ),
    TwoHolders(
        "recipes/witness",
        "    cluster.clock(cluster.wait_for_leader()).rate = 5\n"
        '    one, other = (Lock(cluster.client(), "report", ttl_s=5) for _ in range(2))\n'
        "    one.acquire()\n"
        "    other.acquire()\n"
        '    file.write(other, "b")\n'
        '    file.write(one, "a")',
        "The clock of the leader was too fast, so the lease was over before its holder spoke "
        "again. Until it hears the answer to that, it believes.",
    ),
]
