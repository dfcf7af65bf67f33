"""Lesson 13: the programs that it plays, and its exercises.

Which comparisons hold, an addition that loses nothing, a transfer that keeps the sum, a change that
a comparison of values cannot see, and an order that is carried out once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kvlearn.client import Client
from kvlearn.course.comparison import Comparison
from kvlearn.course.kinds import Fact, Predict
from kvlearn.course.limits import Spent
from kvlearn.course.store_kinds import Found, Meddled, Program, Scene, SmallCluster
from kvlearn.course.verdicts import line_of
from kvlearn.errors import TimedOut
from kvlearn.events import Applied, Invoked, Returned
from kvlearn.kv.requests import Range
from kvlearn.kv.txn import Txn
from kvlearn.recipes import (
    READ_COMMITTED,
    REPEATABLE_READS,
    SERIALIZABLE,
    SERIALIZABLE_SNAPSHOT,
    Stm,
)
from kvlearn.sim import Cluster
from kvlearn.words import create_revision, mod_revision, put, value, version

# Programs that take turns ---------------------------------------------------------------------


def take_turns(*programs: Iterator) -> None:
    """Let programs go on by turns, each up to its next `yield`, until all have ended."""
    waiting = list(programs)
    while waiting:
        for program in list(waiting):
            try:
                next(program)
            except StopIteration:
                waiting.remove(program)


def add(client: Client, key: str, amount: int) -> Iterator:
    """Read, think, put: as one would with a file."""
    balance = int(client.get(key).text)
    yield
    client.put(key, str(balance + amount))


def add_safely(client: Client, key: str, amount: int) -> Iterator:
    """Read, think, put only if it is still so; else once more."""
    while True:
        seen = client.get(key).kv
        yield
        still_so = mod_revision(key) == seen.mod_revision
        new = put(key, str(int(seen.text) + amount))
        if client.txn().if_(still_so).then(new).commit().succeeded:
            return


def two_add(program: Callable[..., Iterator]) -> Cluster:
    """Ann's account holds 100; two clients add 10 and 5 to it by turns."""
    cluster = Cluster(3, seed=4)
    cluster.wait_for_leader()
    cluster.client().put("ann", "100")
    take_turns(program(cluster.client(), "ann", 10), program(cluster.client(), "ann", 5))
    return cluster


def beside(one: Callable[..., Iterator], other: Callable[..., Iterator]) -> Comparison:
    """What two clients do with the one program, and with the other."""
    told = [_asked(two_add(program)) for program in (one, other)]
    return Comparison(*told, one.__name__, other.__name__)


def _asked(cluster: Cluster) -> list[str]:
    lines = [line_of(record) for record in cluster.trace.of(Invoked, Returned)]
    return [*lines, f"ann has {cluster.client().get('ann').text}"]


# Anomalies ------------------------------------------------------------------------------------

ISOLATIONS = (READ_COMMITTED, REPEATABLE_READS, SERIALIZABLE, SERIALIZABLE_SNAPSHOT)


def anomalies(isolation: str) -> dict[str, bool]:
    """Which anomalies happen under an isolation, when somebody comes in between."""
    return {
        "lost update": _loses(isolation),
        "write skew": _skews(isolation),
        "sees two moments": _sees_two_moments(isolation),
    }


def _interrupted(cluster: Cluster, isolation: str) -> tuple[Stm, Callable, Client]:
    """A memory, a way to let somebody come in once, and that somebody."""
    stm, other = Stm(cluster.client(), isolation), cluster.client()
    came = []

    def once(move: Callable[[Client], Any]) -> None:
        if not came:
            came.append(True)
            move(other)

    return stm, once, other


def _loses(isolation: str) -> bool:
    cluster = Cluster(3, seed=4)
    cluster.client().put("ann", "100")
    stm, once, other = _interrupted(cluster, isolation)

    def add_ten(t: Any) -> None:
        balance = int(t.text("ann"))
        once(lambda client: client.put("ann", "105"))
        t.put("ann", str(balance + 10))

    stm(add_ten)
    return other.get("ann").text != "115"


def _skews(isolation: str) -> bool:
    """Ann and Bob are on call, one of them has to be; both want to go."""
    cluster = Cluster(3, seed=4)
    client = cluster.client()
    client.put("ann", "on call")
    client.put("bob", "on call")
    stm, once, other = _interrupted(cluster, isolation)

    def ann_leaves(t: Any) -> None:
        if t.text("bob") == "on call":
            once(lambda client: client.put("bob", "off"))
            t.put("ann", "off")

    stm(ann_leaves)
    return other.get("ann").text == other.get("bob").text == "off"


def _sees_two_moments(isolation: str) -> bool:
    """Ann and Bob have 100 together at every moment; is another sum ever seen?"""
    cluster = Cluster(3, seed=4)
    client = cluster.client()
    client.put("ann", "70")
    client.put("bob", "30")
    stm, once, other = _interrupted(cluster, isolation)
    sums = []

    def add_up(t: Any) -> None:
        ann = int(t.text("ann"))
        once(lambda c: c.txn().then(put("ann", "50"), put("bob", "50")).commit())
        sums.append(ann + int(t.text("bob")))
        t.put("sum", str(sums[-1]))

    stm(add_up)
    return set(sums) != {100}


# An answer that does not come -----------------------------------------------------------------


def no_answer(commits: bool) -> tuple[Cluster, Client]:
    """A client of the leader is about to write, and will wait in vain: what it writes reaches the
    others if it `commits`, and nobody if not. The cluster, and the client."""
    cluster = Cluster(3, seed=3)
    leader = cluster.wait_for_leader()
    client = cluster.client(leader, timeout_s=2.0)
    client.put("ann", "100")
    cluster.run(0.5)
    others = [name for name in cluster.nodes if name != leader]
    for name in others:
        cluster.cut(name, leader, one_way=True)
        if not commits:
            cluster.cut(leader, name, one_way=True)
    return cluster, client


# Exercise 1: comparisons ----------------------------------------------------------------------


def compared() -> tuple[Cluster, dict[str, Any]]:
    """A small store, and five comparisons."""
    cluster = Cluster(3, seed=6)
    client = cluster.client()
    client.put("n", "9")
    client.put("n", "10")
    client.put("gone", "1")
    client.delete("gone")
    return cluster, {
        "a": value("n") > "9",
        "b": version("n") == 2,
        "c": value("never") != "x",
        "d": create_revision("gone") == 0,
        "e": mod_revision("n") < 3,
    }


def _which_hold() -> Fact:
    cluster, compares = compared()
    client = cluster.client()
    hold = tuple(
        name
        for name, compare in compares.items()
        if client.txn().if_(compare).then(put("seen", name)).commit().succeeded
    )
    seq = list(cluster.trace.of(Applied))[-1].seq
    why = (
        "Values are compared as bytes, and “1” comes before “9”. A key that is not there has no "
        "value at all, so nothing holds of it; but its version and its revisions count as 0. The "
        "second put of `n` was at revision 3."
    )
    hints = {
        ("a", "b", "d"): "Is “10” a number to the store?",
        ("a", "b", "c", "d"): "Is “10” a number to the store? And which value has a key that is "
        "not there?",
        ("b", "c", "d"): "Which value has a key that is not there?",
        ("b", "c"): "What is the version, what are the revisions of a key that is not there?",
        ("b",): "What is the version, what are the revisions of a key that is not there?",
        ("b", "d", "e"): "A new store is at revision 1. At which one was the second put?",
    }
    return Fact(hold, cluster.trace, seq, why, hints)


def _letters(answer: Any) -> tuple[str, ...]:
    if isinstance(answer, str):
        answer = answer.replace(",", " ").split()
    found = tuple(sorted(set(answer)))
    if not set(found) <= set("abcde"):
        raise ValueError("The answer is a list of letters, as in ['a', 'b'].")
    return found


# Exercises 2 and 3: updates -------------------------------------------------------------------


def _added(start: str | None, moves: list[Callable[[Client], Any]], sum_: int) -> Callable:
    """A scene: `add_to(client, "count", 7)` while others do `moves` after each of its reads."""

    def play(program: Callable) -> Found | None:
        cluster = SmallCluster(3, seed=8)
        cluster.wait_for_leader()
        client = cluster.client()
        if start is not None:
            client.put("count", start)
        program(Meddled(cluster, list(moves)), "count", 7)
        text = client.get("count").text
        if text == str(sum_):
            return None
        told = f"count should be {sum_}, and is {text}."
        return Found("An update is lost", told, cluster.trace, _last_change(cluster), ADD_HINT)

    return play


ADD_HINT = (
    "Between your read and your write others may have written. Write only if the key is as you saw "
    "it, and otherwise begin again with a read. (A key that is not there has mod_revision 0.)"
)


NO_VALUE = {
    Spent: "Does your comparison ever hold for a key that is not there? It has no value, not even "
    "“0”; its version and its revisions are 0."
}


def _by(client: Client, amount: int) -> None:
    """Somebody else adds, safely, since nobody comes between."""
    client.put("count", str(int(client.get("count").text or 0) + amount))


ADDITIONS = (
    Scene("nobody else is there", _added("5", [], 12)),
    Scene("the key is not there yet", _added(None, [], 7), NO_VALUE),
    Scene(
        "others add after your first reads",
        _added("5", [lambda c: _by(c, 100), lambda c: _by(c, 1000)], 1112),
    ),
    Scene("somebody creates the key first", _added(None, [lambda c: _by(c, 100)], 107)),
    Scene("the key is deleted meanwhile", _added("5", [lambda c: c.delete("count")], 7), NO_VALUE),
    Scene(
        "somebody puts another value, and the old one again",
        _added("5", [lambda c: (c.put("count", "6"), c.put("count", "5"))], 12),
    ),
)


def _last_change(cluster: Cluster) -> int:
    changed = [r.seq for r in cluster.trace.of(Applied) if r.event.command is not None]
    return changed[-1] if changed else -1


def transfer_carelessly(client: Client, source: str, target: str, amount: int) -> bool:
    """Moves an amount from one account to another, if there is enough."""
    while True:
        giver, taker = client.get(source).kv, client.get(target).kv
        if int(giver.text) < amount:
            return False
        moved = client.txn().if_(mod_revision(source) == giver.mod_revision)
        moved.then(put(source, str(int(giver.text) - amount)))
        moved.then(put(target, str(int(taker.text) + amount)))
        if moved.commit().succeeded:
            return True


def _moved(moves: list, balances: tuple[int, int], done: bool = True, amount: int = 30) -> Callable:
    """A scene: ann has 100 and bob 50, and 30 go over while others do `moves`."""

    def play(program: Callable) -> Found | None:
        cluster = SmallCluster(3, seed=8)
        cluster.wait_for_leader()
        client = cluster.client()
        client.txn().then(put("ann", "100"), put("bob", "50")).commit()
        said = program(Meddled(cluster, list(moves)), "ann", "bob", amount)
        have = tuple(int(client.get(name).text) for name in ("ann", "bob"))
        where = cluster.trace, _last_change(cluster)
        if have != balances:
            told = f"ann and bob should have {balances[0]} and {balances[1]}, and have "
            told += f"{have[0]} and {have[1]}."
            return Found("Money is lost, or made", told, *where, MOVE_HINT)
        if said is not done:
            told = f"it returned {said!r}, and should have said {done}."
            return Found("It does not say what it did", told, *where)
        history = [client.get("ann", revision=r).text for r in range(2, _now(client) + 1)]
        if any(int(text) < 0 for text in history):
            told = f"ann had {', '.join(history)}, one after the other."
            return Found("An account is below 0", told, *where, MOVE_HINT)
        return None

    return play


MOVE_HINT = "What was read must still be so when it is written. What was read?"


def _now(client: Client) -> int:
    return client.get("ann").header.revision


def _gets(name: str, text: str) -> Callable[[Client], Any]:
    return lambda client: client.put(name, text)


def _nothing(client: Client) -> None:
    """Nobody comes."""


TRANSFERS = (
    Scene("nobody else is there", _moved([], (70, 80))),
    Scene("bob gets 5 meanwhile", _moved([_nothing, _gets("bob", "55")], (70, 85))),
    Scene("ann gets 5 meanwhile", _moved([_nothing, _gets("ann", "105")], (75, 80))),
    Scene("bob gets 5 between your reads", _moved([_gets("bob", "55")], (70, 85))),
    Scene("there is not enough", _moved([], (100, 50), False, 130)),
    Scene(
        "somebody else takes the money first",
        _moved([_nothing, _gets("ann", "20")], (20, 50), False),
    ),
)


# Exercise 4: what values do not tell ------------------------------------------------------------


def _seen_by_value(meanwhile: Callable) -> Found | None:
    cluster = SmallCluster(3, seed=8)
    cluster.wait_for_leader()
    client = cluster.client()
    client.put("door", "closed")
    seen = client.get("door").kv
    meanwhile(cluster.client())
    by_revision = client.txn().if_(mod_revision("door") == seen.mod_revision)
    unchanged = by_revision.then(put("unchanged", "yes")).commit().succeeded
    by_value = client.txn().if_(value("door") == seen.value).then(put("round", "done")).commit()
    where = cluster.trace, _last_change(cluster)
    if unchanged:
        told = "nobody has touched the door, as its mod_revision says."
        hint = "The door has to be open in between."
        return Found("Nothing has happened", told, *where, hint)
    if not by_value.succeeded:
        told = "the door is not “closed” any more, and the comparison of values has noticed it."
        hint = "When the guard looks again, everything must look as before."
        return Found("The guard has noticed it", told, *where, hint)
    was = [client.get("door", revision=r).text for r in range(seen.mod_revision, _now(client) + 1)]
    if set(was) == {"closed"}:
        told = "the door was written to, and was closed all the time."
        return Found("The door was never open", told, *where, "Put something else in between.")
    return None


# Exercise 5: once -------------------------------------------------------------------------------


class Shaky:
    """A client whose writes may get no answer. `fates`, one for each write: "done" (carried out, no
    answer), "lost" (never carried out), "late" (carried out when all is settled: just before call
    number `arrives`, or when the program has ended), "" (all well).
    """

    def __init__(self, cluster: Cluster, fates: list[str], arrives: int = 0):
        self._client = cluster.client()
        self._fates, self._late = fates, []
        self._arrives, self._calls = arrives, 0
        self._client.call = self._call  # what all its verbs go through
        self._really = type(self._client).call

    def _call(self, request: Any) -> Any:
        self._calls += 1
        if self._calls == self._arrives:
            self.settle()
        if isinstance(request, Range) or isinstance(request, Txn) and not request.writes:
            return self._really(self._client, request)
        fate = self._fates.pop(0) if self._fates else ""
        if fate == "late":
            self._late.append(request)
        elif fate != "lost":
            answer = self._really(self._client, request)
        if fate:
            raise TimedOut(hint="whether it was carried out is not known")
        return answer

    def settle(self) -> None:
        """All that is still under way arrives."""
        late, self._late = self._late, []
        for request in late:
            self._really(self._client, request)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def _ordered(fates: list[str], orders: tuple[int, ...] = (7,), arrives: int = 0) -> Callable:
    def play(program: Callable) -> Found | None:
        cluster = SmallCluster(3, seed=8)
        cluster.wait_for_leader()
        client = cluster.client()
        client.put("stock", "10")
        shaky = Shaky(cluster, list(fates), arrives)
        for number in orders:
            program(shaky, number)
        shaky.settle()
        left = int(client.get("stock").text)
        where = cluster.trace, _last_change(cluster)
        missing = [n for n in orders if client.get(f"order/{n}").kv is None]
        if missing:
            told = f"there is no `order/{missing[0]}`, though the program has ended."
            return Found("An order is missing", told, *where, ORDER_HINT)
        if left != 10 - len(orders):
            told = f"of 10 pieces {len(orders)} had to go, and {left} are left."
            if arrives:
                told += f" The late try arrived just before call {arrives} to the store."
            return Found("Stock and orders do not agree", told, *where, ORDER_HINT)
        return None

    return play


def _arriving(program: Callable) -> Found | None:
    """The first try arrives late, at one moment after the other."""
    found = (_ordered(["late"], arrives=call)(program) for call in MOMENTS)
    return next((one for one in found if one is not None), None)


MOMENTS = range(2, 10)  # before which of its calls to the store
ORDER_HINT = (
    "After `TimedOut` nobody knows. Look whether the order is there before you repeat it; and "
    "since the first try may still arrive after you have looked, let the transaction itself refuse "
    "to be carried out twice."
)
UNANSWERED = {TimedOut: "`TimedOut` says that nobody knows. Catch it, and look."}

ORDERS = (
    Scene("all is well", _ordered([])),
    Scene("no answer, and it was carried out", _ordered(["done"]), UNANSWERED),
    Scene("no answer, and it was not carried out", _ordered(["lost"]), UNANSWERED),
    Scene("no answer three times", _ordered(["lost", "done", "lost"]), UNANSWERED),
    Scene("the first try arrives when the program has ended", _ordered(["late"]), UNANSWERED),
    Scene("the first try arrives between two calls, wherever that is", _arriving, UNANSWERED),
    Scene(
        "two orders, with and without answers",
        _ordered(["late", "", "lost"], (7, 8)),
        UNANSWERED,
    ),
)


EXERCISES = [
    Predict(
        "transactions/compares",
        "Which of the five comparisons hold?",
        _which_hold,
        'holds = ["b", "d"]',
        _letters,
        empty=[],
    ),
    Program(
        "transactions/add",
        "Write `add_to(client, key, amount)`: it adds to the number that is written at the key (0 "
        "if there is none), whoever else writes there.",
        "Read, compute, write only if nothing has changed, else once more: compare and swap. "
        "Nobody waits for a lock, and a client that dies on the way leaves nothing behind.",
        "    while True:\n"
        "        seen = client.get(key).kv\n"
        "        old = int(seen.text) if seen else 0\n"
        "        same = mod_revision(key) == (seen.mod_revision if seen else 0)\n"
        "        new = put(key, str(old + amount))\n"
        "        if client.txn().if_(same).then(new).commit().succeeded:\n"
        "            return\n",
        scenes=ADDITIONS,
    ),
    Program(
        "transactions/transfer",
        "Write `transfer(client, source, target, amount)`: it says whether the amount went over.",
        "Both balances were read, and both new ones rest on what was read. So both have to be "
        "compared.",
        "    while True:\n"
        "        giver, taker = client.get(source).kv, client.get(target).kv\n"
        "        if int(giver.text) < amount:\n"
        "            return False\n"
        "        moved = client.txn().if_(\n"
        "            mod_revision(source) == giver.mod_revision,\n"
        "            mod_revision(target) == taker.mod_revision,\n"
        "        )\n"
        "        moved.then(put(source, str(int(giver.text) - amount)))\n"
        "        moved.then(put(target, str(int(taker.text) + amount)))\n"
        "        if moved.commit().succeeded:\n"
        "            return True\n",
        scenes=TRANSFERS,
    ),
    Program(
        "transactions/aba",
        "Write `meanwhile(client)`: what happens between the two looks of the guard.",
        "The door was open, and the value looks as before. Every put, also of the same value, has "
        "a revision of its own; so compare `mod_revision`, not values, when you mean “unchanged”.",
        '    client.put("door", "open")\n    client.put("door", "closed")\n',
        scenes=(Scene("the guard looks, goes away, and looks again", _seen_by_value),),
    ),
    Program(
        "transactions/order",
        "Write `order(client, number)`: it puts `order/<number>` and takes one piece from `stock`, "
        "once, though answers get lost.",
        "The order's own key says whether it was carried out, and a try that arrives late finds "
        "that what it compares has changed, and does nothing. Most plainly so if it compares "
        "`version == 0` of that key. So the program may repeat it as often as it likes.",
        '    key = f"order/{number}"\n'
        "    while client.get(key).kv is None:\n"
        '        stock = client.get("stock").kv\n'
        '        fresh = version(key) == 0, mod_revision("stock") == stock.mod_revision\n'
        '        left = put("stock", str(int(stock.text) - 1))\n'
        "        try:\n"
        '            client.txn().if_(*fresh).then(put(key, "1"), left).commit()\n'
        "        except TimedOut:\n"
        "            pass  # look again\n",
        scenes=ORDERS,
    ),
]
