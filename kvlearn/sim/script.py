"""Transcripts: one format for tests, lessons and bug reports.

A transcript is a text. It tells what to do, a line `----`, and what came of it:

    # A comment; the first ones say what the transcript shows, and its source.
    cluster 3
    campaign n1
    ready n1
    ----
    n1 becomes candidate in term 1: told to stand, its log ends at 0@0
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
n1 saved term 1, vote n1
n1 becomes leader in term 1 with the votes of n1
n1 appends 1@1(no-op)
n1 saved term 1, vote n1, entry 1
n1 commits entry 1, up to 1@1
n1 applies 1@1: a no-op (revision 1)

`python3 -m kvlearn play file.txt` does the same with a file, and says where the story differs from
what the file tells; `--help` lists the commands (commands.py).

Source: the form is that of Go's datadriven tests, as in etcd-io/raft testdata, and of toydb.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

from kvlearn.errors import KVLearnError
from kvlearn.raft.raft import Raft
from kvlearn.sim.bench import Bench
from kvlearn.sim.commands import COMMANDS, Player
from kvlearn.sim.telling import guess
from kvlearn.trace import Trace

RULE = "----"
NOTHING = "ok"  # what a block tells when nothing happened


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

    def __init__(self, given: str, parts: list[str | Block], bench: Bench):
        self.given = given
        self.text = "\n".join(map(str, parts)).strip("\n")
        self.cluster: Bench = bench
        self.trace: Trace = bench.trace
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
            for number, command in part.commands:
                _carry_out(player, number, command)
            part = replace(part, told=tuple(player.take() or [NOTHING]))
        parts.append(part)
    if player.plan is None:
        raise ScriptError(1, "there is no cluster; begin with `cluster 3`")
    return Playback(text, parts, player.build())


def _carry_out(player: Player, number: int, command: str) -> None:
    try:
        player.carry_out(command)
    except (ValueError, KVLearnError) as error:
        raise ScriptError(number, f"`{command}`: {error}") from None
    except AssertionError as error:
        raise ScriptError(number, f"`{command}`: a node stops, because {error}") from error


# The command line -------------------------------------------------------------------------------


def overview() -> str:
    """The help text."""
    lines = [f"  {f'{name} {c.usage}'.rstrip():<58} {c.help}" for name, c in COMMANDS.items()]
    return "\n".join(
        [
            "usage: kvlearn play [--rewrite] file.txt ...",
            "",
            "Play transcripts: commands, a line ----, and what came of them. Exit status: 0 if all",
            "is as the file tells, 1 if not, 2 if it cannot be played. --rewrite writes into the",
            "file what happened. The commands:",
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
            hint = guess(name, ["--rewrite", "--help"])
            print(f"kvlearn play: there is no option {name}{hint}", file=sys.stderr)
            return 2
    return max((_play_file(Path(name), rewrite) for name in names), default=2)


def _play_file(path: Path, rewrite: bool) -> int:
    """Play one file; 0, 1 or 2."""
    try:
        text = path.read_text(encoding="utf-8")
        playback = play(text)
        if not rewrite:
            _complete(text)
    except FileNotFoundError:
        print(f"kvlearn play: there is no file {path}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"kvlearn play: {path} cannot be read: {error.strerror}", file=sys.stderr)
        return 2
    except UnicodeDecodeError as error:
        print(f"kvlearn play: {path} is no text in UTF-8: {error}", file=sys.stderr)
        return 2
    except ScriptError as error:
        print(f"kvlearn play: {path}, {error}", file=sys.stderr)
        return 2
    if playback.ok:
        print(playback.text, flush=True)
        print(f"\n{_matched(playback)}", file=sys.stderr)
        return 0
    print(playback.diff(f"{path}, as told", f"{path}, as it happened"))
    if rewrite:
        path.write_text(playback.text + "\n", encoding="utf-8")
        return 0
    sys.stderr.write(f"kvlearn play: {path} tells another story; --rewrite writes down this one\n")
    return 1


def _matched(playback: Playback) -> str:
    """One line on a transcript that tells what happened."""
    count = sum(len(block.commands) for block in playback.blocks)
    return f"{count} command{'s' * (count != 1)}, every output as written"


def _complete(text: str) -> None:
    """Raises: ScriptError where commands have no `----` below them."""
    for part in parse(text):
        if isinstance(part, Block) and part.told is None:
            number, command = part.commands[-1]
            why = f"`{command}` has no line {RULE} below it; --rewrite adds it, and what happens"
            raise ScriptError(number, why)
