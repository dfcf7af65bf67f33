"""A front end in Python: a comm that records what a widget sends, and a mirror of player.js.

The mirror keeps rows and state exactly as the browser does, so a test can say that what the
browser would draw is what the trace tells.
"""

from __future__ import annotations

import itertools
import json
import zlib

import comm

from kvlearn.viz.store_rows import LISTS

PAGES = itertools.count(1)


class FakeComm(comm.base_comm.BaseComm):
    """Records (data, bytes) of every message; `hear` plays the front end."""

    def __init__(self, *args, **keys):
        self.log: list[tuple[dict, list, int]] = []
        super().__init__(*args, **keys)

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
        size = len(json.dumps(data or {})) + sum(len(b) for b in buffers or [])
        self.log.append((data or {}, list(buffers or []), size))

    def hear(self, **content):
        data = {"method": "custom", "content": content}
        self.handle_msg({"content": {"data": data}, "buffers": []})


class Browser:
    """Opens a panel, and follows it as the JavaScript does."""

    def __init__(self, panel):
        self.panel, self.comm = panel, panel.comm
        self.read = len(self.comm.log)
        self.number = 0
        self.who = f"page {next(PAGES)}"
        self.notices: list[str] = []
        self.errors: list[str] = []
        self.last_flags: dict = {}
        self.futures: list[dict] = []
        self.open()

    def open(self) -> None:
        """Load the page: the widget's state is asked for anew."""
        state = self.panel.get_state(["opening", "history"])
        self.take(json.loads(json.dumps(state["opening"])))
        if state["history"]:
            self.take(json.loads(zlib.decompress(state["history"])))
        self.hello()

    def hello(self, **more) -> None:
        first = self.rows[0][0] if self.rows else self.seq0 + 1
        held = {"epoch": self.epoch, "first": first, "last": self.last_seq}
        facts = {name: len(table) for name, table in self.tables.items()}
        self.send("hello", who=self.who, facts=facts, **{**held, **more})

    @property
    def last_seq(self) -> int:
        return self.rows[-1][0] if self.rows else self.seq0

    def send(self, op: str, **more) -> None:
        self.comm.hear(op=op, **more)
        self.listen()

    def command(self, op: str, at: int | None = None, **more) -> int:
        """A command with the cursor after record `at` (default: the newest)."""
        self.number += 1
        rows = [row for row in self.rows if at is None or row[0] <= at]
        seq, us = (rows[-1][0], rows[-1][1]) if rows else (self.seq0, self.now)
        if at is None:
            us = self.now
        where = {"seq": seq, "us": us, "seen": self.now, "live": False, "epoch": self.epoch}
        self.send(op, **{"id": self.number, "speed": "follow", **where, **more})
        return self.number

    def listen(self) -> None:
        """Take what has been sent since."""
        while self.read < len(self.comm.log):
            data, buffers, _ = self.comm.log[self.read]
            self.read += 1
            if data.get("method") == "custom":
                self.take(json.loads(bytes(buffers[0])))

    def take(self, told: dict) -> None:
        if told.get("who", self.who) != self.who:
            return
        if "reset" in told:
            self.rows, self.state, self.packets = [], {}, {}
            self.tables = {"entries": {}, "changes": {}, "forks": {}}
            self.epoch, self.seq0, self.now = told["reset"], told["seq"], told["now"]
            self.complete = self.lost = False
        for name, parts in told.get("tables", {}).items():
            for first, facts in parts:
                self.tables[name].update(enumerate(map(tuple, facts), start=first))
        for key, given in told.get("state", []):
            self.state[key] = numbers(given) if key.endswith(LISTS) else given
        if "older" in told:
            first = self.rows[0][0] if self.rows else self.seq0 + 1
            self.rows = [padded(row) for row in told["older"] if row[0] < first] + self.rows
        if "cut" in told:
            first = self.rows[0][0] if self.rows else self.seq0 + 1
            while self.rows and self.rows[-1][0] >= told["cut"]:
                for patch in reversed(self.rows.pop()[3]):
                    self.patch(patch, forwards=False)
            self.seq0 = min(self.seq0, told["cut"] - 1)
            if first > told["cut"]:  # what the state was there is not known here
                self.lost = True
                return self.hello(epoch=-1)
        for row in map(padded, [] if self.lost else told.get("rows", [])):
            if row[0] <= self.last_seq:
                continue
            self.rows.append(row)
            for patch in row[3]:
                self.patch(patch, forwards=True)
        self.epoch = told.get("epoch", self.epoch)
        self.now = told.get("now", self.now)
        self.complete = told.get("complete", self.complete)
        if told.get("notice"):
            self.notices.append(told["notice"])
        if told.get("error"):
            self.errors.append(told["error"])
        self.futures = told.get("futures", self.futures)
        self.last_flags = told

    def patch(self, patch: list, forwards: bool) -> None:
        key, *rest = patch
        if len(rest) == 3:
            at, gone, come = rest[0], numbers(rest[1]), numbers(rest[2])
            old, new = (gone, come) if forwards else (come, gone)
            log = self.state.setdefault(key, [])
            assert log[at : at + len(old)] == old, f"{key}: a patch does not fit"
            log[at : at + len(old)] = new
        else:
            old, new = rest if forwards else rest[::-1]
            was = self.state.get(key)
            held_up = key[0] == "p" and key[1:].isdigit()  # the packet itself knew when it was due
            assert was == old or held_up, f"{key}: {was} is not {old}"
            self.state[key] = new

    def shown(self) -> dict:
        """The state without what is empty, numbers as the facts that they stand for."""
        return resolved(self.state, self.tables)


def resolved(state: dict, tables: dict) -> dict:
    """A flat state in which no number of a table is left."""
    told = {}
    changes, forks, entries = tables["changes"], tables["forks"], tables["entries"]
    for key, given in state.items():
        if given in (None, []) or key == "packet":
            continue
        if key.endswith(".log"):
            given = [tuple(entries[number]) for number in given]
        elif key.endswith(LISTS) and key != "s.swept":
            given = [tuple(changes[number]) for number in given]
        elif key.startswith("page.") and given[0] is None:
            given = [None, *([tuple(changes[number]) for number in part] for part in given[1:])]
        elif key == "s.fork":
            given = tuple(forks[given])
        told[key] = given
    return told


def numbers(runs: list) -> list[int]:
    return [first + k for first, count in runs for k in range(count)]


def padded(row: list) -> list:
    return row + [0, 0, "", [], None, 0, None, [], 0, None][len(row) :]
