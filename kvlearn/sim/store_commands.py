"""Commands of transcripts that ask the store: reads and writes, transactions, leases, watches.

How an operation is typed is the same alone and within a transaction:

```
put n1 a=1 lease=7          txn n1 if a=1 b.version>2 then put c=3; delete d else get a
get n1 job/ prefix at=5     watch n1 w1 a from=3 prev no=put
```

Lease numbers are hexadecimal, as everywhere in the story.
"""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from kvlearn.doors import door
from kvlearn.kv.config import StoreConfig
from kvlearn.kv.leases import (
    Compact,
    LeaseGrant,
    LeaseKeepAlive,
    LeaseLeases,
    LeaseRevoke,
    LeaseTimeToLive,
)
from kvlearn.kv.requests import DeleteRange, Put, Range, prefix_range
from kvlearn.kv.txn import TARGETS, Compare, Txn
from kvlearn.kv.watches import WatchCancel, WatchCreate, WatchProgress
from kvlearn.mvcc.revision import Revision
from kvlearn.sim.command_words import MANY, Command, names_of, number_of, options_of
from kvlearn.sim.telling import guess

if TYPE_CHECKING:
    from kvlearn.sim.commands import Player

STORE_SETTINGS = sorted(field.name for field in fields(StoreConfig))  # of the command `cluster`
SIGNS = {"=": "equal", "!=": "not_equal", "≠": "not_equal", ">": "greater", "<": "less"}
COMPARISON = re.compile(r"([^=!≠<>]+)(!=|[=≠<>])(.*)")


# Words ------------------------------------------------------------------------------------------


def setting_of(text: str, name: str) -> int | float:
    """A number of a configuration, `0.5` or `5`. Raises: ValueError."""
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise ValueError(f"{name} is a number, not {text!r}")
    return float(text) if "." in text else int(text)


def store_config(options: dict[str, str]) -> StoreConfig:
    """What a cluster's store is made with. Raises: ValueError."""
    made: dict[str, Any] = {}
    for name, text in options.items():
        if name in ("hub", "lessor"):
            known = door({"hub": "watch_mutants", "lessor": "lease_mutants"}[name])
            if text not in known:
                raise ValueError(f"there is no {name} called {text!r}{guess(text, known)}")
            made[name] = known[text]
        else:
            made[name] = setting_of(text, name)
    return StoreConfig(**made)


def lease_of(word: str) -> int:
    """A lease's number, in hexadecimal. Raises: ValueError."""
    if not re.fullmatch(r"[0-9a-f]+", word):
        raise ValueError(f"a lease is a hexadecimal number, not {word!r}")
    return int(word, 16)


def flags_of(words: list[str], flags: tuple[str, ...]) -> tuple[set[str], list[str]]:
    """The words that are flags, and the `name=value` words. Raises: ValueError."""
    plain = [word for word in words if "=" not in word]
    for word in plain:
        if word not in flags:
            allowed = " or ".join(f"`{flag}`" for flag in flags)
            hint = guess(word, flags)
            raise ValueError(f"{allowed} may stand here, but not {word!r}{hint}")
    return set(plain), [word for word in words if "=" in word]


def interval_of(key: str, flags: set[str], end: str = "") -> tuple[bytes, bytes]:
    """`key` and `range_end` of what was typed. Raises: ValueError."""
    if "prefix" in flags and end:
        raise ValueError("give `prefix` or end=, but not both")
    return prefix_range(key.encode()) if "prefix" in flags else (key.encode(), end.encode())


# Operations, alone or in a transaction ------------------------------------------------------------


def put_of(words: list[str]) -> Put:
    """`a=1 [lease=7] [prev]`. Raises: ValueError."""
    key, sign, text = words[0].partition("=") if words else ("", "", "")
    if not (key and sign):
        raise ValueError("a put reads key=value [lease=7] [prev]")
    flags, rest = flags_of(words[1:], ("prev",))
    lease = lease_of(options_of(rest, ["lease"]).get("lease", "0"))
    return Put(key.encode(), text.encode(), lease, "prev" in flags)


def get_of(words: list[str]) -> Range:
    """`a [at=5] [prefix] [end=c] [limit=2] [serializable]`. Raises: ValueError."""
    if not words:
        raise ValueError("a get reads key [prefix] [end=key] [at=revision] [limit=n]")
    flags, rest = flags_of(words[1:], ("serializable", "prefix"))
    options = options_of(rest, ["at", "end", "limit"])
    numbers = {name: number_of(options.get(name, "0"), name) for name in ("at", "limit")}
    key, end = interval_of(words[0], flags, options.get("end", ""))
    serializable = "serializable" in flags
    return Range(key, end, numbers["limit"], numbers["at"], serializable=serializable)


def delete_of(words: list[str]) -> DeleteRange:
    """`a [prefix] [end=c] [prev]`. Raises: ValueError."""
    if not words:
        raise ValueError("a delete reads key [prefix] [end=key] [prev]")
    flags, rest = flags_of(words[1:], ("prefix", "prev"))
    end = options_of(rest, ["end"]).get("end", "")
    return DeleteRange(*interval_of(words[0], flags, end), "prev" in flags)


OPERATIONS = {"put": put_of, "get": get_of, "delete": delete_of}


def compare_of(word: str) -> Compare:
    """`a=1` compares the value, `a.version>2` another field. Raises: ValueError."""
    found = COMPARISON.fullmatch(word)
    if not found:
        raise ValueError(f"a comparison reads key=value or key.version>2, not {word!r}")
    left, sign, text = found.groups()
    key, dot, target = left.rpartition(".")
    if not dot or not key:
        key, target = left, "value"
    if target not in TARGETS:
        raise ValueError(f"a key has no {target!r}; it has {', '.join(TARGETS)}")
    if target == "value":
        operand: Any = text.encode()
    else:
        operand = lease_of(text) if target == "lease" else number_of(text, f"a {target}")
    return Compare(key.encode(), target, SIGNS[sign], operand)


def operation_of(text: str) -> Any:
    """One operation of a branch. Raises: ValueError."""
    verb, *words = text.split()
    if verb not in OPERATIONS:
        known = " or ".join(OPERATIONS)
        raise ValueError(f"in a transaction stands {known}, not {verb!r}{guess(verb, OPERATIONS)}")
    return OPERATIONS[verb](words)


def txn_of(words: list[str]) -> Txn:
    """`if a=1 b.version=2 then put c=3; delete d else get a`. Raises: ValueError."""
    parts: dict[str, list[str]] = {}
    here: list[str] | None = None
    for word in words:
        if word in ("if", "then", "else"):
            if word in parts or ("else" in parts) or (word == "if" and parts):
                raise ValueError("a transaction reads [if ...] then ... [else ...], each once")
            here = parts[word] = []
        elif here is None:
            raise ValueError(f"a transaction begins with `if` or `then`, not with {word!r}")
        else:
            here.append(word)
    if not parts.get("then") and not parts.get("else"):
        raise ValueError("a transaction needs something to do, behind `then` or `else`")
    compares = tuple(compare_of(word.rstrip(",")) for word in parts.get("if", ()))
    branches = (" ".join(parts.get(name, ())).split(";") for name in ("then", "else"))
    done = (tuple(operation_of(op) for op in branch if op.strip()) for branch in branches)
    return Txn(compares, *done)


def _asks(read: Any) -> Any:
    """A command whose client asks the node for what its words say."""

    def run(player: Player, words: list[str]) -> None:
        (name,) = names_of(player, words[:1])
        player.bench.ask(name, read(words[1:]))

    return run


# Leases and compaction ----------------------------------------------------------------------------


def _lease(words: list[str]) -> Any:
    verb, *rest = words
    match verb, *rest:
        case "grant", ttl_s, *more:
            options = options_of(more, ["id"])
            return LeaseGrant(number_of(ttl_s, "a time to live"), lease_of(options.get("id", "0")))
        case "revoke", id:
            return LeaseRevoke(lease_of(id))
        case "keep", id:
            return LeaseKeepAlive(lease_of(id))
        case "ttl", id:
            return LeaseTimeToLive(lease_of(id), keys=True)
        case ("list",):
            return LeaseLeases()
    raise ValueError(f"it reads: lease node {LEASE_USAGE}")


LEASE_USAGE = "grant seconds [id=7] | revoke 7 | keep 7 | ttl 7 | list"


def _give_up(words: list[str]) -> Compact:
    return Compact(number_of(words[0], "a revision"))


# Watches ------------------------------------------------------------------------------------------


def _stream_word(word: str) -> str:
    if not re.fullmatch(r"w\d+", word):
        raise ValueError(f"a stream is called w and a number, not {word!r}")
    return word


def _watch(player: Player, words: list[str]) -> None:
    if all(re.fullmatch(r"n\d+", word) for word in words):
        _watch_state(player, words)
        return
    if len(words) < 3:
        raise ValueError(f"it reads: watch {STORE_COMMANDS['watch'].usage}")
    (name,), stream = names_of(player, words[:1]), _stream_word(words[1])
    flags, rest = flags_of(words[3:], ("prefix", "prev", "progress", "fragment"))
    options = options_of(rest, ["from", "end", "id", "no"])
    key, end = interval_of(words[2], flags, options.get("end", ""))
    request = WatchCreate(
        key,
        end,
        number_of(options.get("from", "0"), "from"),
        number_of(options.get("id", "0"), "id"),
        "prev" in flags,
        tuple(options["no"].split(",")) if "no" in options else (),
        "progress" in flags,
        "fragment" in flags,
    )
    player.bench.watch(name, stream, request)


def _cancel(player: Player, words: list[str]) -> None:
    (name,), stream = names_of(player, words[:1]), _stream_word(words[1])
    id = number_of(words[2], "a watch's number") if words[2:] else 0
    player.bench.streams.known(stream)
    player.bench.watch(name, stream, WatchCancel(id))


def _bookmark(player: Player, words: list[str]) -> None:
    (name,), stream = names_of(player, words[:1]), _stream_word(words[1])
    player.bench.streams.known(stream)
    player.bench.watch(name, stream, WatchProgress())


def _release(player: Player, words: list[str]) -> None:
    for word in words:
        player.bench.release(_stream_word(word))


# Looks --------------------------------------------------------------------------------------------


def _nodes(player: Player, words: list[str]) -> list[tuple[str, Any]]:
    """(name, node) of those that are named, or of all; None: it is down."""
    hosts = player.bench.hosts
    return [(name, hosts[name].node) for name in names_of(player, words) or hosts]


def _watch_state(player: Player, words: list[str]) -> None:
    lines = []
    for name, node in _nodes(player, words):
        for stream in node.hub.streams.values() if node else ():
            full = f", {len(stream.queue)} wait to be read" if stream.queue else ""
            for watcher in stream.watchers.values():
                state = "synced" if watcher.synced else "unsynced"
                state = "canceled" if watcher.canceled else f"{state}, next {watcher.next}"
                keys = WatchCreate(watcher.key, watcher.range_end)
                lines.append(f"{name} {stream.name} {watcher.id}: {keys}, {state}{full}")
    player.say(*(lines or ["no watchers"]))


def _leases(player: Player, words: list[str]) -> None:
    lines = []
    for name, node in _nodes(player, words):
        leases = node.machine.lessor.leases if node else {}
        for id, lease in sorted(leases.items()):
            keys = " ".join(key.decode(errors="replace") for key in sorted(lease.keys)) or "no keys"
            if node.chores.leads_term:
                left = f"{max(lease.expiry_s - node.now, 0):g} s left"
            else:
                noted = f", {lease.remaining_s} s noted" if lease.remaining_s else ""
                left = f"does not count{noted}"
            lines.append(f"{name} lease {id:x} of {lease.ttl_s} s: {keys}; {left}")
    player.say(*(lines or ["no leases"]))


def _index(player: Player, words: list[str]) -> None:
    for name, node in _nodes(player, words):
        keys = node.machine.store.index.values() if node else ()
        player.say(*([f"{name} {key}" for key in keys] or [f"{name} has no keys"]))


def _store(player: Player, words: list[str]) -> None:
    for name, node in _nodes(player, words):
        if node is None:
            player.say(f"{name} is down")
            continue
        store = node.machine.store
        swept = ", a sweep is under way" if store.sweeping else ""
        player.say(f"{name} revision {store.revision}, compacted {store.compacted}{swept}")
        for at, record in node.machine.backend.range():
            revision = Revision.parse(at)
            what = record if record.version else f"{record.key_text} deleted"
            player.say(f"  {revision} {what}")


# The table ----------------------------------------------------------------------------------------

PUT, GET, DELETE, TXN, LEASE = map(_asks, (put_of, get_of, delete_of, txn_of, _lease))
GIVE_UP = _asks(_give_up)

STORE_COMMANDS: dict[str, Command] = {
    "put": Command(PUT, (2, 4), "node key=value [lease=7] [prev]", "a client writes"),
    "get": Command(GET, (2, 6), "node key [prefix] [at=r] [limit=n] [serializable]",
                   "a client reads"),
    "delete": Command(DELETE, (2, 4), "node key [prefix] [end=k] [prev]", "a client deletes"),
    "txn": Command(TXN, (3, MANY), "node [if a=1 b.version>2] then op; op [else op]",
                   "all or nothing, in one revision"),
    "lease": Command(LEASE, (2, 4), "node grant 5 [id=7] | revoke 7 | keep 7 | ttl 7 | list",
                     "a client's leases"),
    "compactkv": Command(GIVE_UP, (2, 2), "node revision", "give up history below it"),
    "watch": Command(_watch, (0, MANY),
                     "[node ...] | node w1 key [prefix] [from=r] [prev]",
                     "a stream watches; or look: watchers"),
    "cancel": Command(_cancel, (2, 3), "node w1 [id]", "stream w1 ends a watch"),
    "bookmark": Command(_bookmark, (2, 2), "node w1", "how far are the watches of w1?"),
    "release": Command(_release, (1, MANY), "w1 ...", "read a stream again that was held"),
    "leases": Command(_leases, (0, MANY), "[node ...]", "look: leases, keys, time that is left"),
    "index": Command(_index, (0, MANY), "[node ...]", "look: the revisions of each key"),
    "store": Command(_store, (0, MANY), "[node ...]", "look: the records of the backend"),
}  # fmt: skip
