"""The command line: one table of commands, each a module with `main(argv) -> exit status`.

    python3 -m kvlearn COMMAND [arguments]

A command is imported only when it is asked for, and only after `environment.enter` has made sure
that the packages which it needs are there. So this package's first half (this file, environment.py)
imports the standard library alone. What cannot be done ends in a `Stop`: one sentence that says
what to do, and no traceback.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
from collections.abc import Iterable
from typing import NoReturn

from kvlearn import __version__
from kvlearn.cli import environment
from kvlearn.cli.environment import Stop

# command -> (module with `main(argv)`, packages it needs, see environment.NEEDS, one line of help)
COMMANDS = {
    "lab": ("kvlearn.cli.lab", "lab", "set up if need be and open JupyterLab on the notebooks"),
    "test": ("kvlearn.cli.testing", "test", "set up if need be and run the tests"),
    "play": ("kvlearn.sim.script", "core", "play a transcript"),
    "sweep": ("kvlearn.cli.sweep", "core", "play a workload with faults under many seeds"),
    "bench": ("kvlearn.cli.bench", "core", "the measurements, as a table"),
    "node": ("kvlearn.cli.node", "live", "one real member, with etcd's flags, for etcd's clients"),
    "cluster": ("kvlearn.cli.cluster", "live", "a real cluster on this machine, until Ctrl-C"),
    "snapshot": ("kvlearn.cli.snapshot", "live", "found a cluster with what another one had"),
    "doctor": ("kvlearn.cli.doctor", "", "what is installed, what is missing, how to mend it"),
    "clean-notebooks": ("kvlearn.cli.notebooks", "", "take what running leaves out of notebooks"),
}


class Parser(argparse.ArgumentParser):
    """argparse, plus a guess at what a misspelt option or choice was meant to be."""

    others: Iterable[str] = ()  # options that another parser has taken out before

    def __init__(self, command: str, description: str, **more):
        super().__init__(
            prog=f"kvlearn {command}", description=description, allow_abbrev=False, **more
        )

    def error(self, message: str) -> NoReturn:
        """Print the message with a guess, and leave with status 2."""
        _, _, rest = message.partition("unrecognized arguments: ")
        wrong = [word.partition("=")[0] for word in rest.split() if word.startswith("-")]
        shown = (a for a in self._actions if a.help is not argparse.SUPPRESS)
        known = [*self.others, *(option for action in shown for option in action.option_strings)]
        super().error(message + "".join(guess(word, known) for word in wrong))


def guess(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?`, or nothing when no known word is near.

    >>> guess("tset", ["lab", "test"])
    '; did you mean test?'
    >>> guess("zebra", ["lab", "test"])
    ''
    """
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def overview() -> str:
    """The help text: every command with its line."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {line}" for name, (_, _, line) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: kvlearn COMMAND [arguments]",
            "",
            "A Raft cluster that you can kill, in a notebook.",
            "",
            *lines,
            "",
            "`kvlearn COMMAND --help` tells more; `kvlearn --version` prints the version.",
        ]
    )


def main(argv: list[str]) -> int:
    """Run one command and return its exit status."""
    name = argv[0] if argv else "--help"
    if name in ("-h", "--help", "help"):
        print(overview())
        return 0 if argv else 2
    if name in ("-V", "--version"):
        print(f"kvlearn {__version__}")
        return 0
    if name not in COMMANDS:
        what = f"no command {name!r}" + guess(name, COMMANDS)
        print(f"kvlearn: {what} (`kvlearn --help` lists them)", file=sys.stderr)
        return 2
    module, need, _ = COMMANDS[name]
    try:
        environment.enter(need, argv)
        return importlib.import_module(module).main(argv[1:]) or 0
    except Stop as stop:
        print(f"kvlearn: {stop}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nkvlearn: stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `kvlearn doctor | head`
        sys.stderr.close()
        return 141
