"""The README's table and the stories are in step: none is promised that is not told."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
TABLES = re.split(r"^## ", (HERE / "README.md").read_text(encoding="utf-8"), flags=re.M)[1:]


def stories(table: str) -> set[str]:
    """The names of tests in a table."""
    return set(re.findall(r"`(test_\w+)`", table))


def told() -> list[str]:
    """The tests of this folder, but for this file."""
    trees = [ast.parse(p.read_text(encoding="utf-8")) for p in sorted(HERE.glob("test_*.py"))]
    names = [node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)]
    mine = [name for name in globals() if name.startswith("test_")]
    return [name for name in names if name.startswith("test_") and name not in mine]


def test_every_story_that_is_named_is_told_and_the_other_way_round():
    assert sorted(told()) == sorted(set().union(*map(stories, TABLES)))


def test_each_table_has_as_many_situations_as_it_says():
    counted = {}
    for table in TABLES[:3]:
        rows = [line for line in table.splitlines() if re.match(r"\| .*`test_", line)]
        counted[table.split(":")[0]] = len(rows)
        assert f": {len(rows)} situations\n" in table
    assert counted == {"Raft": 28, "State machine": 8, "Key-value store": 22}
