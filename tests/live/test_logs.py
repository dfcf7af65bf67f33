"""A log for programs and for people: the same facts in both."""

from __future__ import annotations

import io
import json
import logging

import pytest

from kvlearn.live import logs


@pytest.fixture
def quiet():
    """The root logger and kvlearn's are afterwards as before."""
    loggers = [logging.getLogger(), logging.getLogger("kvlearn")]
    before = [(one.level, one.handlers[:]) for one in loggers]
    yield
    for one, (level, handlers) in zip(loggers, before):
        one.setLevel(level)
        one.handlers[:] = handlers


def tell(form: str, level: str = "info") -> list[str]:
    """What three members of the house logged."""
    stream = io.StringIO()
    logs.set_up("n1", level, form, stream)
    log = logging.getLogger("kvlearn.live.test")
    log.debug("too much")
    log.info("connected to %s", "n2", extra={"url": "http://x:1", "tries": 2})
    logging.getLogger("elsewhere").info("not ours")
    logging.getLogger("elsewhere").warning("but this")
    try:
        raise ValueError("why")
    except ValueError:
        log.exception("it broke")
    return stream.getvalue().splitlines()


def test_json_has_the_sentence_and_what_differs_beside_it(quiet):
    first, second, third = map(json.loads, tell("json"))
    assert first.pop("ts").endswith("Z")
    assert first == {
        "level": "info", "logger": "kvlearn.live.test", "msg": "connected to n2",
        "member": "n1", "url": "http://x:1", "tries": 2,
    }  # fmt: skip
    assert (second["level"], second["logger"]) == ("warn", "elsewhere")
    assert third["level"] == "error" and "ValueError: why" in third["stacktrace"]


def test_text_says_the_same(quiet):
    lines = tell("text")
    assert lines[0].endswith("info  n1 connected to n2  url=http://x:1 tries=2")
    assert lines[1].endswith("warn  n1 but this")
    assert lines[2].endswith("error n1 it broke") and lines[-1] == "ValueError: why"


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warn", 2), ("error", 1)])
def test_a_level_is_a_threshold(quiet, level, count):
    assert len(list(filter(lambda line: line.startswith("{"), tell("json", level)))) == count
