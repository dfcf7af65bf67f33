"""What the README and CONTRIBUTING.md promise is true."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from kvlearn.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("README.md", "CONTRIBUTING.md")
TEXTS = {name: (ROOT / name).read_text(encoding="utf-8") for name in NAMES}
EXAMPLES = re.findall(r"```pycon\n(.*?)```", TEXTS["README.md"], re.S)


def test_the_first_example_gives_what_it_shows():
    example, *others = EXAMPLES
    assert not others
    parsed = doctest.DocTestParser().get_doctest(example, {}, "README.md", "README.md", 0)
    told: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(parsed, out=told.append)
    assert "".join(told) == ""
    assert runner.summarize(verbose=False).attempted >= 7


@pytest.mark.parametrize("name", TEXTS)
def test_every_command_that_is_named_exists(name):
    code = "".join(re.findall(r"```\n.*?```|`.*?`", TEXTS[name], re.S))
    named = re.findall(r"(?:^|`)(?:python3 -m )?kvlearn ([a-z-]+)", code, re.M)
    assert len(named) >= 3
    assert set(named) <= set(COMMANDS)


@pytest.mark.parametrize("name", TEXTS)
def test_every_path_that_is_named_exists(name):
    named = re.findall(r"\]\(([^):]+)\)", TEXTS[name])
    code = " ".join(re.findall(r"`([^`\n]+)`", TEXTS[name]))
    named += re.findall(r"\b(?:kvlearn|tests|docs)/[\w./]*|[\w-]+\.(?:yml|toml)\b", code)
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []
