"""What the words of a command mean: numbers, options, names of nodes; and what a command is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvlearn.sim.telling import guess

if TYPE_CHECKING:
    from kvlearn.sim.commands import Player

MANY = 99  # words


@dataclass(frozen=True, slots=True)
class Command:
    """`words`: how few and how many may follow its name."""

    run: Callable[[Player, list[str]], None]
    words: tuple[int, int]
    usage: str
    help: str


def number_of(word: str, what: str) -> int:
    """A number from 0 on. Raises: ValueError that says what should be one."""
    if not word.isdecimal():
        raise ValueError(f"{what} is a number, not {word!r}")
    return int(word)


def options_of(words: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """`name=value` words, with known names. Raises: ValueError."""
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


def names_of(player: Player, words: list[str]) -> list[str]:
    """Node names, all known. Raises: ValueError."""
    for word in words:
        if word not in player.bench.hosts:
            nodes = ", ".join(player.bench.hosts)
            hint = guess(word, player.bench.hosts)
            raise ValueError(f"there is no node {word!r}: the nodes are {nodes}{hint}")
    return words
