"""Transcripts: one format for tests, lessons and bug reports.

A transcript is a text. It tells what to do, a line `----`, and what came of it:

    # A comment; the first ones say what the transcript shows, and its source.
    cluster 3
    campaign n1
    ready n1
    ----
    n1 becomes candidate in term 1: heard no leader for 0 ticks, its log ends at 0@0
    n1 saved term 1, vote n1
    n1→n2 Vote? t1 0@0 …
    n1→n3 Vote? t1 0@0 …

`7@2` is the entry at index 7 of term 2. `n1→n2 App 1@1→2@1` is a message that arrived, with what it
led to below it, indented; with `…` it left and is still on its way; with `✗` it is lost, and why.

`play` carries the commands out on a hand-cranked cluster (bench.py) and renders what happened from
the trace:

>>> playback = play('''
... cluster 1
... tick n1 20
... stabilize
... ''')
>>> print(playback.text)
cluster 1
tick n1 20
stabilize
----
n1 becomes candidate in term 1: heard no leader for 18 ticks, its log ends at 0@0
n1 becomes leader in term 1 with the votes of n1
n1 appends 1@1(no-op)
n1 saved term 1, vote n1, entry 1
n1 commits entry 1, up to 1@1
n1 applies 1@1: a no-op (revision 1)

`python3 -m kvlearn play file.txt` does the same with a file, and says where the story differs from
what the file tells; `--help` lists the commands, which are the last section here.

Source: the form is that of Go's datadriven tests, as in etcd-io/raft testdata, and of toydb.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from html import escape
from pathlib import Path
from typing import Any

from kvlearn import events
from kvlearn.doors import door
from kvlearn.errors import KVLearnError
from kvlearn.events import (
    BecameFollower,
    Dropped,
    Event,
    Invoked,
    Progressed,
    Received,
    Returned,
    Saved,
    Sent,
    Started,
)
from kvlearn.kv.requests import DeleteRange, Put, Range
from kvlearn.raft.config import RaftConfig
from kvlearn.raft.raft import Raft
from kvlearn.sim.bench import Bench, HandHost, Memory, Parcel, memory
from kvlearn.trace import Record, Trace

RULE = "----"
NOTHING = "ok"  # what a block tells when nothing happened
FATES = {"CUT": "cut", "BY_HAND": "dropped"}  # reason code -> the word behind ✗


class ScriptError(KVLearnError):
    """A transcript that cannot be played. `line` is the number of the line, from 1."""

    def __init__(self, line: int, why: str):
        self.line, self.why = line, why
        super().__init__(f"line {line}: {why}")


# Text -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Block:
    """Commands and what they led to. `told` is None where the `----` is missing."""

    commands: tuple[tuple[int, str], ...]  # (line number, text)
    told: tuple[str, ...] | None

    def __str__(self) -> str:
        return "\n".join([*(text for _, text in self.commands), RULE, *(self.told or (NOTHING,))])


def parse(text: str) -> list[str | Block]:
    """Cut a transcript into blocks, and the lines between them: comments and blank ones.

    >>> parse("# two moves\\nheal\\nstatus\\n----\\nok\\n")
    ['# two moves', Block(commands=((2, 'heal'), (3, 'status')), told=('ok',))]
    """
    parts: list[str | Block] = []
    commands: list[tuple[int, str]] = []
    told: list[str] | None = None

    def close() -> None:
        nonlocal commands, told
        if commands:
            parts.append(Block(tuple(commands), None if told is None else tuple(told)))
        commands, told = [], None

    for number, line in enumerate(text.splitlines(), start=1):
        line = line.rstrip()
        if not line:
            close()
            parts.append(line)
        elif told is not None:
            told.append(line)
        elif line == RULE:
            if not commands:
                raise ScriptError(number, f"there is no command above this {RULE}")
            told = []
        elif line.startswith("#") and not commands:
            parts.append(line)
        else:
            commands.append((number, line))
    close()
    return parts


# Playing ----------------------------------------------------------------------------------------


class Playback:
    """A transcript that was played.

    `text` is the transcript with what really happened; `trace` and `cluster` (a Bench) are at its
    end; `ok` says whether the given text told the same.
    """

    def __init__(self, given: str, parts: list[str | Block], player: Player):
        self.given = given
        self.text = "\n".join(map(str, parts)).strip("\n")
        self.cluster: Bench | None = player.bench
        self.trace: Trace | None = player.bench.trace if player.bench else None
        self.blocks = [part for part in parts if isinstance(part, Block)]

    @property
    def ok(self) -> bool:
        """Whether the given text tells what happened."""
        return not self.diff()

    def diff(self, given: str = "given", played: str = "played") -> str:
        """A unified diff from what was told to what happened; empty if they are the same."""
        told = [line.rstrip() for line in self.given.strip().splitlines()]
        lines = difflib.unified_diff(told, self.text.splitlines(), given, played, lineterm="")
        return "\n".join(lines)

    def verdicts(self):
        """A verdict on each promise (`kvlearn.check.Verdicts`)."""
        return self.cluster.check()

    def __repr__(self) -> str:
        return f"<Playback of {len(self.blocks)} blocks, {'as told' if self.ok else 'not as told'}>"

    def _repr_html_(self) -> str:
        return f"<pre class='kv-transcript'>{escape(self.text)}</pre>"


def play(
    text: str, raft: type[Raft] = Raft, classes: Mapping[str, type[Raft]] | None = None
) -> Playback:
    """Play a transcript. A missing `----` is no error: it is added, with what happened.

    `raft` is what a plain `cluster 3` runs; `classes` are more names for `cluster 3 raft=Name`,
    besides those of `kvlearn.course.mutants`.

    Raises: ScriptError that says what is wrong in which line.
    """
    player = Player(raft, classes or {})
    parts: list[str | Block] = []
    for part in parse(text):
        if isinstance(part, Block):
            part = replace(part, told=tuple(player.block(part)))
        parts.append(part)
    return Playback(text, parts, player)


class Player:
    """Carries commands out, one block after the other."""

    def __init__(self, raft: type[Raft], classes: Mapping[str, type[Raft]]):
        self.raft = raft
        self.classes = classes
        self.bench: Bench | None = None
        self.plan: dict[str, Any] | None = None  # of a cluster that was named and not yet built
        self.quiet = False
        self.hidden: set[type] = {Progressed}
        self.said: list[str] = []  # by looks, in this block
        self._told = 0  # records of the trace that were rendered

    def block(self, block: Block) -> list[str]:
        """Carry a block out; the lines that tell what happened."""
        lines: list[str] = []
        for number, text in block.commands:
            try:
                self._carry_out(text)
            except (ValueError, KVLearnError) as error:
                raise ScriptError(number, f"`{text}`: {error}") from None
            except AssertionError as error:
                raise ScriptError(number, f"`{text}`: a node stops, because {error}") from error
            lines += self._news() + self.said
            self.said = []
        return lines or [NOTHING]

    def _carry_out(self, text: str) -> None:
        name, *words = text.split()
        if name not in COMMANDS:
            rule = f"; is the line {RULE} missing above it?" if name[0] == "n" and "→" in text else ""
            raise ValueError(f"there is no command {name!r}{guess(name, COMMANDS) or rule}")
        command = COMMANDS[name]
        if name != "cluster" and self.bench is None and self.plan is None:
            raise ValueError("there is no cluster yet; begin with `cluster 3`")
        if name not in ("cluster", "log", "quiet", "loud"):
            self.build()
        least, most = command.words
        if not least <= len(words) <= most:
            raise ValueError(f"it reads `{name} {command.usage}`".replace(" `", "`"))
        command.run(self, words)

    def build(self) -> Bench:
        """The cluster; it is built when the first command after its `log` lines comes."""
        if self.bench is None:
            self.bench = Bench(**self.plan)
            self._told = len(self.bench.trace)  # that all start is no news
        return self.bench

    def _news(self) -> list[str]:
        if self.bench is None:
            return []
        start, self._told = self._told, len(self.bench.trace)
        return [] if self.quiet else tell(self.bench.trace[start:], self.hidden)


# Rendering --------------------------------------------------------------------------------------


def tell(records: Iterable[Record], hidden: Iterable[type] = (Progressed,)) -> list[str]:
    """What happened, a line a record. A message is told when it arrives or is lost; where it only
    leaves, it is marked as being on its way."""
    records, hidden = list(records), set(hidden)
    ended = {r.event.packet for r in records if isinstance(r.event, (Received, Dropped))}
    lines = []
    reader = ""  # the node whose lines follow the message that it got
    for record in records:
        event = record.event
        match event:
            case Sent(message=message, packet=packet):
                reader = ""
                line = "" if packet in ended else f"{link(message)} {message} …"
            case Received(message=message):
                reader = record.node
                lines.append(f"{link(message)} {message}")
                continue
            case Dropped(message=message, reason=reason):
                reader = ""
                fate = FATES.get(reason) or f"{message.target} is down"
                line = f"{link(message)} {message} ✗ {fate}"
            case Saved() | Started() | Returned() | Invoked():
                reader = ""
                line = str(record)
            case BecameFollower(reason="STARTED"):
                line = ""
            case _:
                line = str(record)
        if line and type(event) not in hidden:
            lines.append(f"  {line}" if reader and record.node == reader else line)
    return lines


def link(message: Any) -> str:
    """`n1→n2`."""
    return f"{message.source}→{message.target}"


def status_line(host: HandHost) -> str:
    """One line on a node: what it believes, or, while it is down, what its disk holds."""
    if host.node is None:
        hard = host.disk.hard_state
        last = host.disk.entries[-1].id if host.disk.entries else "0@0"
        return f"{host.name} down: term {hard.term}, vote {hard.vote or '-'}, log to {last}"
    raft, machine = host.node.raft, host.node.machine
    role = f"{raft.role}{' (paused)' if host.paused else ''}"
    of = f" of {raft.leader}" if raft.leader not in (None, host.name) else ""
    log = raft.log
    return (
        f"{host.name} {role}{of}: term {raft.term}, vote {raft.vote or '-'}, log to {log.last}, "
        f"commit {log.committed}, applied {machine.applied}, revision {machine.revision}"
    )


def log_line(host: HandHost) -> str:
    """A node's log; `|` ends what is committed, `*` marks what is not on its disk yet."""
    saved = host.disk.entries
    entries = host.node.raft.log.entries if host.node else saved
    commit = host.node.raft.log.committed if host.node else min(host.disk.hard_state.commit, len(saved))
    cells = []
    for entry in entries:
        on_disk = entry.index <= len(saved) and saved[entry.index - 1].term == entry.term
        text = str(entry) if entry.data is not None else str(entry.id)
        cells.append(text + ("" if on_disk else "*"))
    cells.insert(commit, "|")
    return f"{host.name}: {' '.join(cells)}"


def guess(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?`, or nothing when no known word is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


# Words ------------------------------------------------------------------------------------------


def _number(word: str, what: str) -> int:
    if not word.isdecimal():
        raise ValueError(f"{what} is a number, not {word!r}")
    return int(word)


def _options(words: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """`name=value` words, with known names."""
    known = list(known)
    options = {}
    for word in words:
        name, sign, text = word.partition("=")
        if not sign:
            raise ValueError(f"an option reads name=value, not {word!r}")
        if name not in known:
            raise ValueError(f"there is no option {name!r}{guess(name, known)}")
        options[name] = text
    return options


def _names(player: Player, words: list[str]) -> list[str]:
    """Node names, all known."""
    for word in words:
        if word not in player.bench.hosts:
            nodes = ", ".join(player.bench.hosts)
            hint = guess(word, player.bench.hosts)
            raise ValueError(f"there is no node {word!r}: the nodes are {nodes}{hint}")
    return words


def _ends(player: Player, word: str) -> tuple[str, str]:
    """The two nodes of `n1→n2`, which may be typed `n1->n2`."""
    source, arrow, target = word.replace("->", "→").partition("→")
    if not arrow:
        raise ValueError(f"a link reads n1→n2 or n1->n2, not {word!r}")
    return tuple(_names(player, [source, target]))


def _parcels(player: Player, words: list[str]) -> list[Parcel]:
    """The messages that the words of `deliver` or `drop` name; there is one at least."""
    pool, words = player.bench, [word.replace("->", "→") for word in words]
    if not words:
        chosen = pool.select()
    elif "→" in words[0]:
        source, target = _ends(player, words[0])
        chosen = pool.select(source, target, " ".join(words[1:]))
    else:
        chosen = [p for name in _names(player, words) for p in pool.select(target=name)]
    if not chosen:
        waiting = "; ".join(map(str, pool.pool)) or "none"
        raise ValueError(f"no such message is on its way; the messages are: {waiting}")
    return chosen


def _kinds(words: list[str]) -> set[type]:
    """Event classes by name, in any case."""
    known = {
        name.lower(): kind
        for name, kind in sorted(vars(events).items())
        if isinstance(kind, type) and issubclass(kind, Event) and kind is not Event
    }
    for word in words:
        if word.lower() not in known:
            raise ValueError(f"there is no event {word!r}{guess(word.lower(), known)}")
    return {known[word.lower()] for word in words}


def _raft(player: Player, name: str) -> type[Raft]:
    """A class of Raft by its name."""
    known = {"Raft": Raft, **player.classes}
    if name not in known:
        known = {**door("mutants"), **known}
    if name not in known:
        raise ValueError(f"there is no Raft called {name!r}{guess(name, known)}")
    return known[name]


# Commands: the scene ----------------------------------------------------------------------------


def _cluster(player: Player, words: list[str]) -> None:
    size = _number(words[0], "the size of a cluster")
    if not 1 <= size <= 9:
        raise ValueError(f"a cluster has 1 to 9 nodes, not {size}")
    names = [f"n{k}" for k in range(1, size + 1)]
    settings = {field.name for field in fields(RaftConfig)} - {"tick_s"}
    options = _options(words[1:], [*names, "raft", "seed", *sorted(settings)])
    whole = options.pop("raft", None)
    common = _raft(player, whole) if whole else player.raft
    seed = _number(options.pop("seed", "0"), "a seed")
    rafts = {name: _raft(player, options.pop(name)) for name in names if name in options}
    config = RaftConfig.etcd(**{name: _number(text, name) for name, text in options.items()})
    player.bench = None
    player.plan = {
        "size": size,
        "raft": {**dict.fromkeys(names, common), **rafts},
        "config": config,
        "disks": {},
        "seed": seed,
    }


def _log(player: Player, words: list[str]) -> None:
    if len(words) < 2:
        bench = player.build()
        names = _names(player, words) or list(bench.hosts)
        player.said = [log_line(bench.hosts[name]) for name in names]
        return
    if player.bench is not None:
        raise ValueError("logs are given right after `cluster`, before anything happens")
    name, size = words[0], player.plan["size"]
    if name not in [f"n{k}" for k in range(1, size + 1)]:
        raise ValueError(f"there is no node {name!r}: the nodes are n1 to n{size}")
    player.plan["disks"][name] = _memory(words[1:])


def _memory(words: list[str]) -> Memory:
    terms = [_number(word, "a term") for word in words if "=" not in word]
    options = _options([word for word in words if "=" in word], ["term", "vote", "commit"])
    term = _number(options["term"], "a term") if "term" in options else None
    commit = _number(options.get("commit", "0"), "a commit index")
    return memory(terms, term, options.get("vote"), commit)


def _quiet(player: Player, words: list[str]) -> None:
    if words:
        player.hidden |= _kinds(words)
    else:
        player.quiet = True


def _loud(player: Player, words: list[str]) -> None:
    if words:
        player.hidden -= _kinds(words)
    else:
        player.quiet, player.hidden = False, {Progressed}


# Commands: moves --------------------------------------------------------------------------------


def _tick(player: Player, words: list[str]) -> None:
    numbers = [word for word in words if word.isdecimal()]
    if len(numbers) > 1:
        raise ValueError("it reads `tick [node ...] [ticks]`: one number at most")
    names = _names(player, [word for word in words if not word.isdecimal()])
    bench = player.bench
    standing = [name for name, host in bench.hosts.items() if host.node and not host.paused]
    for _ in range(int(numbers[0]) if numbers else 1):
        for name in names or standing:
            bench.tick(name)


def _each(move: Callable[[Bench, str], Any]) -> Callable[[Player, list[str]], None]:
    """A command that does `move` at each node that it names."""

    def run(player: Player, words: list[str]) -> None:
        for name in _names(player, words):
            move(player.bench, name)

    return run


def _crash(player: Player, words: list[str]) -> None:
    (name,) = _names(player, words[:1])
    kept = _options(words[1:], ["kept"]).get("kept", "0")
    player.bench.crash(name, _number(kept, "kept"))


def _deliver(player: Player, words: list[str]) -> None:
    for parcel in _parcels(player, words):
        player.bench.deliver(parcel)


def _drop(player: Player, words: list[str]) -> None:
    for parcel in _parcels(player, words):
        player.bench.drop(parcel)


def _hold(player: Player, words: list[str]) -> None:
    for parcel in _parcels(player, words):
        player.bench.hold(parcel)
        player.said.append(f"{parcel}")


def _duplicate(player: Player, words: list[str]) -> None:
    for parcel in _parcels(player, words):
        player.bench.duplicate(parcel)


def _stabilize(player: Player, words: list[str]) -> None:
    player.bench.stabilize(_names(player, words))


def _partition(player: Player, words: list[str]) -> None:
    groups = [_names(player, group.split()) for group in " ".join(words).split("|")]
    player.bench.partition(*groups)


def _cut(player: Player, words: list[str]) -> None:
    player.bench.cut(*_ends(player, words[0]))


def _heal(player: Player, words: list[str]) -> None:
    player.bench.heal()


def _put(player: Player, words: list[str]) -> None:
    (name,) = _names(player, words[:1])
    key, sign, text = words[1].partition("=")
    if not sign:
        raise ValueError(f"it reads `put {name} key=value`")
    player.bench.ask(name, Put(key.encode(), text.encode()))


def _get(player: Player, words: list[str]) -> None:
    (name,) = _names(player, words[:1])
    if words[2:] not in ([], ["serializable"]):
        raise ValueError(f"after the key comes nothing, or `serializable`, but not {words[2]!r}")
    request = Range(words[1].encode(), serializable=bool(words[2:]))
    player.bench.ask(name, request)


def _delete(player: Player, words: list[str]) -> None:
    (name,) = _names(player, words[:1])
    player.bench.ask(name, DeleteRange(words[1].encode()))


# Commands: looks --------------------------------------------------------------------------------


def _status(player: Player, words: list[str]) -> None:
    hosts = player.bench.hosts
    player.said = [status_line(hosts[name]) for name in _names(player, words) or hosts]


def _progress(player: Player, words: list[str]) -> None:
    hosts = player.bench.hosts
    for name in _names(player, words) or hosts:
        progress = hosts[name].node.raft.progress if hosts[name].node else {}
        player.said += [f"{name} on {peer}: {progress[peer]}" for peer in sorted(progress)]
    if not player.said:
        raise ValueError("only a leader knows of progress, and none is here")


def _messages(player: Player, words: list[str]) -> None:
    player.said = [str(parcel) for parcel in player.bench.pool] or ["none"]


def _index(player: Player, words: list[str]) -> None:
    hosts = player.bench.hosts
    for name in _names(player, words) or hosts:
        node = hosts[name].node
        keys = node.machine.store.index.values() if node else ()
        player.said += [f"{name} {key}" for key in keys] or [f"{name} has no keys"]


def _check(player: Player, words: list[str]) -> None:
    broken = player.bench.check().broken
    player.said = [f"{verdict.promise} is broken: {verdict.why}" for verdict in broken]
    if not broken:
        player.said = ["every promise is kept"]


# The table of commands --------------------------------------------------------------------------

MANY = 99  # words


@dataclass(frozen=True, slots=True)
class Command:
    """`words`: how few and how many may follow its name."""

    run: Callable[[Player, list[str]], None]
    words: tuple[int, int]
    usage: str
    help: str


COMMANDS: dict[str, Command] = {
    "cluster": Command(_cluster, (1, MANY), "size [raft=X] [n1=X] [setting=n]", "a new cluster"),
    "log": Command(_log, (0, MANY), "[node [term ...] [term=t] [vote=n] [commit=i]]",
                   "what a disk holds at the start; with no terms: look at the logs"),
    "campaign": Command(_each(Bench.campaign), (1, MANY), "node ...", "its election timeout runs out"),
    "tick": Command(_tick, (0, MANY), "[node ...] [ticks]", "own clocks go on, all or these"),
    "write": Command(_each(Bench.write), (1, MANY), "node ...", "write what is to be saved, unforced"),
    "save": Command(_each(Bench.save), (1, MANY), "node ...", "and force it to the disk"),
    "ready": Command(_each(Bench.ready), (1, MANY), "node ...", "and send, apply, answer"),
    "deliver": Command(_deliver, (0, MANY), "[node ... | n1→n2 [text]]", "let messages arrive"),
    "drop": Command(_drop, (1, MANY), "node ... | n1→n2 [text]", "lose messages"),
    "hold": Command(_hold, (1, MANY), "n1→n2 [text]", "let all others overtake them"),
    "duplicate": Command(_duplicate, (1, MANY), "n1→n2 [text]", "double them and hold the copies"),
    "stabilize": Command(_stabilize, (0, MANY), "[node ...]", "ready and deliver until all rest"),
    "put": Command(_put, (2, 2), "node key=value", "a client writes"),
    "get": Command(_get, (2, 3), "node key [serializable]", "a client reads"),
    "delete": Command(_delete, (2, 2), "node key", "a client deletes"),
    "crash": Command(_crash, (1, 2), "node [kept=n]", "the process ends; n unforced records survive"),
    "start": Command(_each(Bench.start), (1, MANY), "node ...", "after a crash, from its disk"),
    "pause": Command(_each(Bench.pause), (1, MANY), "node ...", "it neither hears nor speaks"),
    "resume": Command(_each(Bench.resume), (1, MANY), "node ...", "after a pause"),
    "partition": Command(_partition, (1, MANY), "node ... | node ...", "cut the links between groups"),
    "cut": Command(_cut, (1, 1), "n1→n2", "cut a link in one direction"),
    "heal": Command(_heal, (0, 0), "", "all links work"),
    "status": Command(_status, (0, MANY), "[node ...]", "look: a line a node"),
    "progress": Command(_progress, (0, MANY), "[node ...]", "look: what leaders know of the others"),
    "index": Command(_index, (0, MANY), "[node ...]", "look: the revisions of each key"),
    "messages": Command(_messages, (0, 0), "", "look: what is on its way"),
    "check": Command(_check, (0, 0), "", "look: are the promises kept?"),
    "quiet": Command(_quiet, (0, MANY), "[event ...]", "tell nothing, or nothing of these events"),
    "loud": Command(_loud, (0, MANY), "[event ...]", "tell again, or also these events"),
}  # fmt: skip


# The command line -------------------------------------------------------------------------------


def overview() -> str:
    """The help text."""
    lines = [f"  {f'{name} {c.usage}'.rstrip():<58} {c.help}" for name, c in COMMANDS.items()]
    return "\n".join(
        [
            "usage: kvlearn play [--rewrite] file.txt ...",
            "",
            "Play transcripts: commands, a line ----, and what came of them. Exit status: 0 if all is",
            "as the file tells, 1 if not, 2 if it cannot be played. --rewrite writes into the file what",
            "happened. The commands:",
            "",
            *lines,
        ]
    )


def main(argv: list[str]) -> int:
    """Play the files that `argv` names; returns the exit status."""
    if not argv or {"-h", "--help"} & set(argv):
        print(overview())
        return 0 if argv else 2
    rewrite, names = "--rewrite" in argv, [word for word in argv if word != "--rewrite"]
    for name in names:
        if name.startswith("-"):
            print(f"kvlearn play: no option {name}{guess(name, ['--rewrite', '--help'])}", file=sys.stderr)
            return 2
    return max((_play_file(Path(name), rewrite) for name in names), default=2)


def _play_file(path: Path, rewrite: bool) -> int:
    """Play one file; 0, 1 or 2."""
    try:
        text = path.read_text(encoding="utf-8")
        playback = play(text)
        if not rewrite:
            _complete(text)
    except (OSError, UnicodeDecodeError) as error:
        print(f"kvlearn play: {path}: {error}", file=sys.stderr)
        return 2
    except ScriptError as error:
        print(f"kvlearn play: {path}, {error}", file=sys.stderr)
        return 2
    if playback.ok:
        print(playback.text)
        return 0
    print(playback.diff(f"{path}, as told", f"{path}, as it happened"))
    if rewrite:
        path.write_text(playback.text + "\n", encoding="utf-8")
        return 0
    print(f"kvlearn play: {path} tells another story; --rewrite writes down this one", file=sys.stderr)
    return 1


def _complete(text: str) -> None:
    """Raises: ScriptError where commands have no `----` below them."""
    for part in parse(text):
        if isinstance(part, Block) and part.told is None:
            number, command = part.commands[-1]
            why = f"`{command}` has no line {RULE} below it; --rewrite adds it, and what happens"
            raise ScriptError(number, why)
