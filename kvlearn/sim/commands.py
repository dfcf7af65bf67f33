"""The commands of transcripts: moves, looks, and what sets the scene.

A command is a name and words, `deliver n1→n2 App`; the last section is the table of all of them.
Whoever types something else is told what is wrong, in a ValueError.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from kvlearn import events
from kvlearn.doors import door
from kvlearn.events import Event, Progressed
from kvlearn.kv.members import MemberChange, MoveLeader
from kvlearn.raft.confchange import AUTO, EXPLICIT, IMPLICIT
from kvlearn.raft.config import RaftConfig
from kvlearn.raft.raft import Raft
from kvlearn.sim.bench import Bench, Memory, Parcel, memory
from kvlearn.sim.command_words import MANY, Command, names_of, number_of, options_of
from kvlearn.sim.store_commands import STORE_COMMANDS, STORE_SETTINGS, setting_of, store_config
from kvlearn.sim.telling import guess, log_line, progress_line, status_line, tell


class Player:
    """Carries commands out on a cluster, and tells what happens.

    Invariant: there is a `bench` or a `plan` from the first `cluster` on.
    """

    def __init__(self, raft: type[Raft], classes: Mapping[str, type[Raft]]):
        self.raft = raft
        self.classes = classes
        self.bench: Bench | None = None
        self.plan: dict[str, Any] | None = None  # of a cluster that was named and not yet built
        self.quiet = False
        self.hidden: set[type] = {Progressed}
        self.said: list[str] = []  # and not taken yet
        self._told = 0  # records of the trace that were rendered

    def carry_out(self, text: str) -> None:
        """Carry one command out."""
        name, *words = text.split()
        if name not in COMMANDS:
            raise ValueError(
                f"there is no command {name!r}{guess(name, COMMANDS) or _rule_hint(text)}"
            )
        command = COMMANDS[name]
        if name != "cluster" and self.bench is None and self.plan is None:
            raise ValueError("there is no cluster yet; begin with `cluster 3`")
        if name not in ("cluster", "log", "quiet", "loud"):
            self.build()
        least, most = command.words
        if not least <= len(words) <= most:
            raise ValueError(f"it reads: {name} {command.usage}".rstrip())
        command.run(self, words)

    def take(self) -> list[str]:
        """The lines that tell what happened since the last time."""
        self.catch_up()
        said, self.said = self.said, []
        return said

    def catch_up(self) -> None:
        """Tell what happened since this was last asked. What follows shall stand below it."""
        if self.bench is not None:
            start, self._told = self._told, len(self.bench.trace)
            if not self.quiet:
                self.said += tell(self.bench.trace[start:], self.hidden)

    def say(self, *lines: str) -> None:
        """Tell what a look sees."""
        self.catch_up()
        self.said += lines

    def build(self) -> Bench:
        """The cluster; it is built when the first command after its `log` lines comes."""
        if self.bench is None:
            self.bench = Bench(**self.plan)
            self._told = len(self.bench.trace)  # that all start is no news
        return self.bench


# Words ------------------------------------------------------------------------------------------


def _rule_hint(text: str) -> str:
    """A hint for somebody who forgot the line between commands and what they led to."""
    return "; is the line ---- missing above it?" if re.match(r"n\d\b", text) else ""


def _ends(player: Player, word: str, any_node: bool = False) -> tuple[str, str]:
    """The two nodes of `n1→n2`, which may be typed `n1->n2`; with `any_node` also `n1→*`."""
    source, arrow, target = ends = word.replace("->", "→").partition("→")
    if not arrow:
        raise ValueError(f"a link reads n1→n2 or n1->n2, not {word!r}")
    names_of(player, [end for end in ends[::2] if not (any_node and end == "*")])
    return source, target


def _parcels(player: Player, words: list[str]) -> list[Parcel]:
    """The messages that words name: one at least, unless there are no words."""
    pool, words = player.bench, [word.replace("->", "→") for word in words]
    if not words:
        chosen = pool.select()
    elif "→" in words[0]:
        ends = _ends(player, words[0], any_node=True)
        source, target = (None if end == "*" else end for end in ends)
        chosen = pool.select(source, target, " ".join(words[1:]))
    else:
        chosen = [p for name in names_of(player, words) for p in pool.select(target=name)]
    if words and not chosen:
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
    size = number_of(words[0], "the size of a cluster")
    if not 1 <= size <= 9:
        raise ValueError(f"a cluster has 1 to 9 nodes, not {size}")
    player.catch_up()
    names = [f"n{k}" for k in range(1, size + 1)]
    settings = {field.name for field in fields(RaftConfig)} - {"max_drift"}
    options = options_of(words[1:], [*names, "raft", "seed", *sorted(settings), *STORE_SETTINGS])
    store = store_config({name: options.pop(name) for name in STORE_SETTINGS if name in options})
    whole = options.pop("raft", None)
    common = _raft(player, whole) if whole else player.raft
    seed = number_of(options.pop("seed", "0"), "a seed")
    rafts = {name: _raft(player, options.pop(name)) for name in names if name in options}
    numbers = {name: setting_of(text, name) for name, text in options.items()}
    player.bench = None
    player.plan = {
        "size": size,
        "raft": {**dict.fromkeys(names, common), **rafts} if rafts else common,
        "config": RaftConfig(**numbers),
        "store": store,
        "disks": {},
        "seed": seed,
    }


def _log(player: Player, words: list[str]) -> None:
    if all(re.fullmatch(r"n\d+", word) for word in words):
        bench = player.build()
        names = names_of(player, words) or list(bench.hosts)
        player.say(*(log_line(bench.hosts[name]) for name in names))
        return
    if player.bench is not None:
        raise ValueError("logs are given right after `cluster`, before anything happens")
    name, size = words[0], player.plan["size"]
    if name not in [f"n{k}" for k in range(1, size + 1)]:
        raise ValueError(f"there is no node {name!r}: the nodes are n1 to n{size}")
    player.plan["disks"][name] = _memory(words[1:])


def _memory(words: list[str]) -> Memory:
    terms = [number_of(word, "a term") for word in words if "=" not in word]
    options = options_of([word for word in words if "=" in word], ["term", "vote", "commit"])
    term = number_of(options["term"], "a term") if "term" in options else None
    commit = number_of(options.get("commit", "0"), "a commit index")
    return memory(terms, term, options.get("vote"), commit)


def _quiet(player: Player, words: list[str]) -> None:
    player.catch_up()
    if words:
        player.hidden |= _kinds(words)
    else:
        player.quiet = True


def _loud(player: Player, words: list[str]) -> None:
    player.catch_up()
    if words:
        player.hidden -= _kinds(words)
    else:
        player.quiet, player.hidden = False, {Progressed}


# Commands: moves --------------------------------------------------------------------------------


def _tick(player: Player, words: list[str]) -> None:
    numbers = [word for word in words if word.isdecimal()]
    if len(numbers) > 1:
        raise ValueError("it reads `tick [node ...] [ticks]`: one number at most")
    names = names_of(player, [word for word in words if not word.isdecimal()])
    bench = player.bench
    standing = [name for name, host in bench.hosts.items() if host.node and not host.paused]
    for _ in range(int(numbers[0]) if numbers else 1):
        for name in names or standing:
            bench.tick(name)


def _each(move: Callable[[Bench, str], Any]) -> Callable[[Player, list[str]], None]:
    """A command that does `move` at each node that it names."""

    def run(player: Player, words: list[str]) -> None:
        for name in names_of(player, words):
            move(player.bench, name)

    return run


def _resume(player: Player, words: list[str]) -> None:
    if re.fullmatch(r"w\d+", words[0]):
        stream, names = words[0], names_of(player, words[1:])
        if len(names) != 1:
            raise ValueError(f"it reads: resume {stream} node")
        player.bench.resume_stream(stream, *names)
        return
    _each(Bench.resume)(player, words)


def _crash(player: Player, words: list[str]) -> None:
    (name,) = names_of(player, words[:1])
    kept = options_of(words[1:], ["kept"]).get("kept", "0")
    player.bench.crash(name, number_of(kept, "kept"))


def _deliver(player: Player, words: list[str]) -> None:
    for parcel in _parcels(player, words):
        player.bench.deliver(parcel)


def _drop(player: Player, words: list[str]) -> None:
    for parcel in _parcels(player, words):
        player.bench.drop(parcel)


def _hold(player: Player, words: list[str]) -> None:
    if re.fullmatch(r"w\d+", words[0]):
        for word in words:
            player.bench.streams.known(word).held = True
        return
    for parcel in _parcels(player, words):
        player.bench.hold(parcel)
        player.say(str(parcel))


def _duplicate(player: Player, words: list[str]) -> None:
    for parcel in _parcels(player, words):
        player.bench.duplicate(parcel)


def _stabilize(player: Player, words: list[str]) -> None:
    player.bench.stabilize(names_of(player, words))


def _partition(player: Player, words: list[str]) -> None:
    groups = [names_of(player, group.split()) for group in " ".join(words).split("|")]
    player.bench.partition(*groups)


def _cut(player: Player, words: list[str]) -> None:
    player.bench.cut(*_ends(player, words[0]))


def _heal(player: Player, words: list[str]) -> None:
    player.bench.heal()


def _conf(player: Player, words: list[str]) -> None:
    """`conf n1 +n4 ~n5 -n2 [explicit]`, or `conf n1 leave`."""
    (name,), words = names_of(player, words[:1]), words[1:]
    kind = words.pop() if words[-1] in (AUTO, IMPLICIT, EXPLICIT) else AUTO
    changes: dict[str, list[str]] = {"+": [], "~": [], "-": []}
    for word in words if words != ["leave"] else ():
        if not re.fullmatch(r"[-+~]n\d+", word):
            raise ValueError(f"a change reads +n4 (voter), ~n4 (learner) or -n4, not {word!r}")
        changes[word[0]].append(word[1:])
    player.bench.ask(name, MemberChange(*map(tuple, changes.values()), kind))


def _transfer(player: Player, words: list[str]) -> None:
    (name,) = names_of(player, words[:1])
    player.bench.ask(name, MoveLeader(words[1]))


def _join(player: Player, words: list[str]) -> None:
    name = words[0]
    if not re.fullmatch(r"n\d+", name):
        raise ValueError(f"a node is called n and a number, not {name!r}")
    if words[1:] not in ([], ["learner"]):
        raise ValueError(f"after the name comes nothing, or `learner`, but not {words[1]!r}")
    player.bench.add_node(name, learner=bool(words[1:]))


def _compact(player: Player, words: list[str]) -> None:
    (name,) = names_of(player, words[:1])
    if words[1:] and words[1].isdecimal():
        hint = f"to give up the store's history, `compactkv {name} {words[1]}`"
        raise ValueError(f"a log is compacted but for kept=n entries; {hint}")
    kept = options_of(words[1:], ["kept"]).get("kept", "0")
    player.bench.compact(name, number_of(kept, "kept"))


def _report(player: Player, words: list[str]) -> None:
    source, target = _ends(player, words[0])
    if words[1] not in ("arrived", "failed"):
        raise ValueError(f"a snapshot arrived or failed, not {words[1]!r}")
    player.bench.report(source, target, words[1] == "arrived")


# Commands: looks --------------------------------------------------------------------------------


def _status(player: Player, words: list[str]) -> None:
    hosts = player.bench.hosts
    player.say(*(status_line(hosts[name]) for name in names_of(player, words) or hosts))


def _progress(player: Player, words: list[str]) -> None:
    hosts = player.bench.hosts
    named = [hosts[name] for name in names_of(player, words) or hosts]
    leaders = [host for host in named if host.node and host.node.raft.progress]
    for host in leaders:
        player.say(*(progress_line(host, peer) for peer in sorted(host.node.raft.progress)))
    if not leaders:
        player.say("no leader, no progress")


def _messages(player: Player, words: list[str]) -> None:
    player.say(*(map(str, player.bench.pool) if player.bench.pool else ["none"]))


def _members(player: Player, words: list[str]) -> None:
    hosts = player.bench.hosts
    for name in names_of(player, words) or hosts:
        node = hosts[name].node
        player.say(f"{name} counts by {node.raft.conf}" if node else f"{name} is down")


def _check(player: Player, words: list[str]) -> None:
    broken = player.bench.check().broken
    for verdict in broken:
        # The numbers of records mean nothing to somebody who reads a transcript.
        why = re.sub(r" \(record \d+\)", "", verdict.why)
        player.say(f"{verdict.promise} is broken: {why}")
    if not broken:
        player.say("every promise is kept")


# The table of commands --------------------------------------------------------------------------


COMMANDS: dict[str, Command] = {
    "cluster": Command(_cluster, (1, MANY), "size [raft=X] [n1=X] [setting=n]", "a new cluster"),
    "log": Command(_log, (0, MANY), "[node [term ...] [term=t] [vote=n] [commit=i]]",
                   "what a disk holds; or look: logs"),
    "campaign": Command(_each(Bench.campaign), (1, MANY), "node ...", "its timeout runs out"),
    "tick": Command(_tick, (0, MANY), "[node ...] [ticks]", "own clocks go on, all or these"),
    "write": Command(_each(Bench.write), (1, MANY), "node ...", "write its Ready, not forced"),
    "save": Command(_each(Bench.save), (1, MANY), "node ...", "and force it to the disk"),
    "ready": Command(_each(Bench.ready), (1, MANY), "node ...", "and send, apply, answer"),
    "deliver": Command(_deliver, (0, MANY), "[node ... | n1→n2 [text]]",
                       "let messages arrive; * is any node"),
    "drop": Command(_drop, (0, MANY), "[node ... | n1→n2 [text]]", "lose messages"),
    "hold": Command(_hold, (1, MANY), "n1→n2 [text] | w1 ...",
                    "let others overtake; or read not w1"),
    "duplicate": Command(_duplicate, (1, MANY), "n1→n2 [text]", "double them and hold the copies"),
    "stabilize": Command(_stabilize, (0, MANY), "[node ...]", "ready and deliver, until all rest"),
    "conf": Command(_conf, (2, MANY), "node +n4 ~n5 -n2 [explicit] | leave",
                    "a client changes members"),
    "transfer": Command(_transfer, (2, 2), "node node", "a client moves leadership to the second"),
    "join": Command(_join, (1, 2), "node [learner]", "a fresh node starts, no member yet"),
    "compact": Command(_compact, (1, 2), "node [kept=n]", "take a snapshot, compact Raft's log"),
    "report": Command(_report, (2, 2), "n1→n2 arrived | failed", "what became of a snapshot"),
    "forget": Command(_each(Bench.forget_leader), (1, MANY), "node ...", "forget the leader"),
    "wipe": Command(_each(Bench.wipe), (1, MANY), "node ...", "it ends and loses its disk"),
    "crash": Command(_crash, (1, 2), "node [kept=n]", "it ends; n unforced records survive"),
    "start": Command(_each(Bench.start), (1, MANY), "node ...", "after a crash, from its disk"),
    "pause": Command(_each(Bench.pause), (1, MANY), "node ...", "it neither hears nor speaks"),
    "resume": Command(_resume, (1, MANY), "node ... | w1 node",
                      "after a pause; or w1 goes on there"),
    "partition": Command(_partition, (1, MANY), "node ... | node ...", "cut the links between"),
    "cut": Command(_cut, (1, 1), "n1→n2", "cut a link in one direction"),
    "heal": Command(_heal, (0, 0), "", "all links work"),
    "status": Command(_status, (0, MANY), "[node ...]", "look: a line a node"),
    "progress": Command(_progress, (0, MANY), "[node ...]", "look: what leaders know"),
    "members": Command(_members, (0, MANY), "[node ...]", "look: who counts whom"),
    "messages": Command(_messages, (0, 0), "", "look: what is on its way"),
    **STORE_COMMANDS,
    "check": Command(_check, (0, 0), "", "look: are the promises kept?"),
    "quiet": Command(_quiet, (0, MANY), "[event ...]", "tell nothing, or not these"),
    "loud": Command(_loud, (0, MANY), "[event ...]", "tell again, or also these events"),
}  # fmt: skip
