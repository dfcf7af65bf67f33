"""The judge of the floors: reads the table in README.md, then every import of a tree."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

LOW = 2  # floors 0 to this one hold the core: pure, and told everything from outside
CORE_PACKAGES = {*sys.stdlib_module_names, "sortedcontainers", "kvlearn"}
LAZY = {"pandas"}  # in the core only inside a function: a frame for who asks
IMPURE = {"time", "datetime", "asyncio", "threading", "multiprocessing", "concurrent", "subprocess"}
IMPURE |= {"socket", "select", "selectors", "ssl", "logging", "secrets", "uuid"}
DOORS = {"doors.py", "cli/"}  # who may import by a name that is data


@dataclass
class Table:
    """The floors: where each room is, and which arrows lead sideways."""

    floor: dict[str, int] = field(default_factory=dict)
    arrows: set[tuple[str, str]] = field(default_factory=set)  # (who imports, whom)

    def allows(self, room: str, other: str) -> bool:
        """Whether a module of `room` may import one of `other`."""
        if room == other or self.floor[other] < self.floor[room]:
            return True
        return any(a == room and self.allows(b, other) for a, b in self.arrows)


def read(readme: str) -> Table:
    """The table under the heading `The floors`."""
    block = readme.split("## The floors", 1)[1].split("```")[1]
    table = Table()
    for line in filter(str.strip, block.splitlines()):
        number, rest = re.fullmatch(r" (\d)  (.*)", line).groups()
        rooms = re.findall(r"[a-z_]+(?:\.py|/)", rest)
        table.floor |= dict.fromkeys(rooms, int(number))
        for left, arrow, right in re.findall(r"(\S+) ([→←]) (?=(\S+))", rest):
            table.arrows.add((left, right) if arrow == "→" else (right, left))
    return table


def room_of(path: Path) -> str:
    """The room of a module, by its path inside the package."""
    return path.name if len(path.parts) == 1 else f"{path.parts[0]}/"


def verdicts(package: Path, table: Table) -> list[str]:
    """What breaks the rules of the floors, one line each."""
    found = []
    for path in sorted(package.rglob("*.py")):
        inside = path.relative_to(package)
        if str(inside) in ("__init__.py", "__main__.py"):
            continue  # the shop window and the front door: tests/house/test_light_import.py
        room = room_of(inside)
        if room not in table.floor:
            found.append(f"{inside}: has no place in the table of floors")
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        found += [f"{inside}:{line}: {why}" for line, why in _of_module(tree, room, inside, table)]
    return found


def _of_module(tree: ast.Module, room: str, inside: Path, table: Table):
    low = table.floor[room] <= LOW
    lazy = {n for f in ast.walk(tree) if isinstance(f, FUNCTIONS) for n in ast.walk(f)}
    for node in ast.walk(tree):
        for name in _imported(node, inside):
            yield from ((node.lineno, why) for why in _import(name, room, table))
            top = name.partition(".")[0]
            if low and top not in CORE_PACKAGES | (LAZY if node in lazy else set()):
                yield node.lineno, f"the core imports {top}, which it may not"
            if low and top in IMPURE:
                yield node.lineno, f"the core imports {top}: time, files and wires are handed in"
        if low:
            yield from _impure(node)
        if room not in DOORS and _calls(node) in ("import_module", "__import__"):
            yield node.lineno, "imports by name behind the floors' back: see doors.py"


FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def _imported(node: ast.AST, inside: Path) -> list[str]:
    """The dotted names that a statement imports; `from a import b` counts as a.b."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        here = ["kvlearn", *inside.parts[:-1]]
        base = ".".join(here[: len(here) - node.level + 1]) + "." if node.level else ""
        return [f"{base}{node.module or ''}.{a.name}".replace("..", ".") for a in node.names]
    return []


def _import(name: str, room: str, table: Table):
    first, _, rest = name.partition(".")
    if first != "kvlearn":
        return
    second = rest.partition(".")[0]
    other = next((r for r in (f"{second}.py", f"{second}/") if r in table.floor), None)
    if other is None:
        top = table.floor[room] == max(table.floor.values())
        if not top and not re.fullmatch("__[a-z]+__", second):  # kvlearn.__version__
            yield f"imports {name} through the shop window, which opens to the top floor only"
    elif not table.allows(room, other):
        upward = table.floor[other] > table.floor[room]
        yield f"{room} imports {'upward' if upward else 'sideways'}: {other}"


def _impure(node: ast.AST):
    if _calls(node) == "open":
        yield node.lineno, "the core opens a file"
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        if node.value.id == "random" and node.attr != "Random":
            yield node.lineno, f"random.{node.attr}: luck is handed in as a random.Random"
    if isinstance(node, ast.ImportFrom) and node.module == "random":
        if any(alias.name != "Random" for alias in node.names):
            yield node.lineno, "of module random the core takes the class Random only"


def _calls(node: ast.AST) -> str:
    """The name of the function or method that a node calls, or nothing."""
    if not isinstance(node, ast.Call):
        return ""
    called = node.func
    return called.id if isinstance(called, ast.Name) else getattr(called, "attr", "")
