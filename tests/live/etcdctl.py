"""etcdctl as a person types it: scripts, played on members of any kind, and what they print.

    put a 1                          a command; members take turns in being asked
    @n2 get a                        asked of one member; @all names all of them
    put a -- << 1 | 2                standard input, its lines parted by bars
    L := lease grant 100             the first long hexadecimal number that it prints is $L
    & W watch a --rev=$rev+1         goes on in the background as W; $rev: before the first line
    wait W 3                         until it has printed three lines
    type W progress                  a line for its standard input
    int W / end W                    ctrl-C / wait until it has ended; then what it printed
    keys 2 mutex/                    until so many keys have the prefix
    gone $L                          until there is no such lease

KVLEARN_ETCDCTL names the program; else `etcdctl` is looked for on the path.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from kvlearn.errors import RequestError

WAIT_S = 15.0
MISSING = "no etcdctl found; install etcd-client, or set KVLEARN_ETCDCTL to the program"
HEX = re.compile(r"\b[0-9a-f]{12,16}\b")


def find_etcdctl() -> str | None:
    """The path of the etcdctl program, or None."""
    return shutil.which(os.environ.get("KVLEARN_ETCDCTL") or "etcdctl")


def surroundings() -> dict[str, str]:
    """The environment without what others say to etcdctl."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ETCDCTL_", "ETCD_"))}
    return {**kept, "ETCDCTL_API": "3"}


@dataclass
class Done:
    """What a command did. `out` and `err` as they came."""

    status: int
    out: str
    err: str = ""

    def __str__(self) -> str:
        return f"status {self.status}\n{self.out}{self.err}"


def run(command: list[str], text: str = "", cwd: str | None = None, **told: str) -> Done:
    """Run a command to its end. `told`: more of its environment."""
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, env={**surroundings(), **told},
        timeout=2 * WAIT_S, cwd=cwd,
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


class Background:
    """A command that goes on."""

    def __init__(self, command: list[str]):
        self._child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=surroundings(),
            text=True,
        )
        self.lines: list[str] = []
        self._errors: list[str] = []
        self._count = 0  # without notes of the client's log
        self._came = threading.Condition()
        self._threads = [
            threading.Thread(target=self._read, args=pair, daemon=True)
            for pair in ((self._child.stdout, self.lines), (self._child.stderr, self._errors))
        ]
        for thread in self._threads:
            thread.start()

    def _read(self, pipe, lines: list[str]) -> None:
        for line in pipe:
            with self._came:
                lines.append(line)
                self._count += lines is self.lines or not line.startswith("{")
                self._came.notify_all()

    def wait(self, count: int) -> None:
        """Until it has printed so many lines."""
        with self._came:
            enough = self._came.wait_for(lambda: self._count >= count, WAIT_S)
        assert enough, f"{count} lines did not come: {self.lines} {self._errors}"

    def type(self, line: str) -> None:
        self._child.stdin.write(line + "\n")
        self._child.stdin.flush()

    def interrupt(self) -> None:
        self._child.send_signal(signal.SIGINT)

    def end(self) -> Done:
        """Wait until it has ended."""
        status = self._child.wait(WAIT_S)
        for thread in self._threads:
            thread.join(WAIT_S)
        self._child.stdin.close()
        return Done(status, "".join(self.lines), "".join(self._errors))

    def kill(self) -> None:
        if self._child.poll() is None:
            self._child.kill()
            self._child.wait()


@dataclass
class Ctl:
    """etcdctl for the members of one cluster. `urls`: their URLs -> how they are called here."""

    program: str
    members: Any  # LocalCluster or EtcdCluster
    flags: tuple[str, ...] = ("--command-timeout=20s", "--dial-timeout=10s")
    variables: dict[str, str] = field(default_factory=dict)
    _turn: int = 0

    @cached_property
    def order(self) -> list[str]:
        """The members by their numbers, which are random: scripts call the first of them n1."""
        every = ",".join(self.members.endpoints)
        told = run([self.program, f"--endpoints={every}", "member", "list", "-w", "json"])
        return [one["name"] for one in json.loads(told.out)["members"]]

    def endpoints(self, who: str = "") -> str:
        """Those of a member, of all, or of the next one in turn."""
        if who == "all":
            return ",".join(map(self.members.endpoint, self.order))
        if not who:
            self._turn += 1
        turn = int(who[1:]) - 1 if who else self._turn % len(self.order)
        return self.members.endpoint(self.order[turn])

    def command(self, words: list[str], who: str = "") -> list[str]:
        return [self.program, f"--endpoints={self.endpoints(who)}", *self.flags, *words]

    def json(self, *words: str, who: str = "all") -> Any:
        done = run(self.command([*words, "-w", "json"], who))
        assert done.status == 0, done
        return json.loads(done.out)


def until(condition, what: str) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


class Play:
    """A script on the members of one cluster. `told`: (line, what it did), in order."""

    def __init__(self, ctl: Ctl, script: str):
        self.ctl, self.script = ctl, script
        self.told: list[tuple[str, Done]] = []
        self._running: dict[str, Background] = {}
        self._names = dict(ctl.variables)
        self._folder = tempfile.mkdtemp(prefix="kvlearn-etcdctl-")
        self._names |= {"dir": self._folder}

    def run(self) -> list[tuple[str, Done]]:
        try:
            with self.ctl.members.client(timeout_s=20) as self._client:
                self._names["rev"] = str(self._client.get("x").header.revision)
                for line in self.script.strip().splitlines():
                    self._line(line.strip())
        except (AssertionError, subprocess.TimeoutExpired, RequestError) as error:
            self.told.append((line.strip(), Done(-1, "", f"{type(error).__name__}: {error}")))
        finally:
            for one in self._running.values():
                one.kill()
            shutil.rmtree(self._folder, ignore_errors=True)
        return self.told

    def _filled(self, text: str) -> str:
        def value(found: re.Match) -> str:
            told = self._names[found[1]]
            return str(int(told) + int(found[2])) if found[2] else told

        return re.sub(r"\$(rev|dir|[A-Z])\b(?:\+(\d+))?", value, text)

    def _line(self, line: str) -> None:
        verb, _, rest = line.partition(" ")
        match verb:
            case "&":
                name, _, rest = rest.partition(" ")
                self._running[name] = Background(self._command(rest)[0])
            case "wait":
                name, count = rest.split()
                self._running[name].wait(int(count))
            case "type":
                name, _, text = rest.partition(" ")
                self._running[name].type(self._filled(text))
            case "int" | "end":
                if verb == "int":
                    self._running[rest].interrupt()
                self.told.append((line, self._running[rest].end()))
            case "keys":
                count, prefix = rest.split()
                until(lambda: self._count(prefix) == int(count), line)
            case "gone":
                lease = int(self._filled(rest), 16)
                until(lambda: lease not in self._client.leases().ids, line)
            case _:
                self._plain(line)

    def _count(self, prefix: str) -> int:
        return self._client.get(prefix, prefix=True, count_only=True).count

    def _command(self, line: str) -> tuple[list[str], str, str]:
        """The command in full; whom it asks; its standard input."""
        line, _, text = self._filled(line).partition("<<")
        who, words = "", shlex.split(line)
        if words[0].startswith("@"):
            who, *words = words
        text = "".join(part.strip() + "\n" for part in text.split("|")) if text else ""
        return self.ctl.command(words, who[1:]), who, text

    def _plain(self, line: str) -> None:
        name, told, rest = line.partition(" := ")
        command, _, text = self._command(rest if told else line)
        answer = run(command, text, self._folder)
        if told:
            assert (found := HEX.search(answer.out)), f"{line}: {answer}"
            self._names[name] = found[0]
        self.told.append((line, answer))


# What is the same ---------------------------------------------------------------------------

VOLATILE = {"raftterm", "raftindex", "raftappliedindex", "dbsize", "dbsizeinuse", "ttl"}
IDS = {"clusterid", "memberid", "id", "leader", "hash", "lease"}  # without case and underscores
FIELD = re.compile(r'"(\w+)" : (\d+)')  # as -w fields writes them
COLUMNS = {"DB SIZE", "RAFT TERM", "RAFT INDEX", "RAFT APPLIED INDEX", "TOOK"}
HASH = re.compile(r"(?<=client>, )\d+$|(?<=client> \| )\d+(?= \|$)")
ALARM = re.compile(r"(?<=memberID:)\d+")
VERSION = re.compile(r'(?<=["| ])3\.[45]\.\d+(?=["| ,])')
STATUS = re.compile(r"(, )<version>(, )[\d.]+ [kMG]?B(, \w+, \w+), \d+, \d+, \d+, ")
KEYS = re.compile(r"(?<=attached keys)\(\[(.*)\]\)")
# what is asked at the same time, or comes of a map
ANY_ORDER = re.compile(r"<\d+>$|.* is healthy: |\| <n\d client> \| true \|")


def _in_no_order(lines: list[str]) -> list[str]:
    """Lines whose order says nothing are sorted, where they stand."""
    places = [k for k, line in enumerate(lines) if ANY_ORDER.match(line)]
    told = list(lines)
    for place, line in zip(places, sorted(lines[k] for k in places)):
        told[place] = line
    return told


class Names:
    """Numbers that differ from run to run, as the first, second … one that was seen."""

    def __init__(self, ctl: Ctl):
        self._seen: dict[str, str] = {}
        self._urls: dict[str, str] = {}
        self._called = {name: f"n{k}" for k, name in enumerate(ctl.order, start=1)}
        for one in ctl.json("member", "list")["members"]:
            name = self._called[one["name"]]
            self._seen[f"{one['ID']:x}"] = f"<{name}>"
            for use in ("client", "peer"):
                for url in one.get(f"{use}URLs", ()):
                    self._urls[url.partition("://")[2]] = f"<{name} {use}>"

    def call(self, address: str, name: str) -> None:
        """Give an address a name: `127.0.0.1:2379`."""
        self._urls[address] = f"<{name}>"

    def of(self, number: str) -> str:
        return self._seen.setdefault(number.lstrip("0"), f"<{len(self._seen)}>")

    def plain(self, done: Done) -> str:
        """What a command did, comparable."""
        err = "".join(line for line in done.err.splitlines(True) if not line.startswith("{"))
        return f"status {done.status}\n{self._text(done.out)}{self._text(err)}"

    def _text(self, text: str) -> str:
        for url, name in self._urls.items():
            text = re.sub(rf"{re.escape(url)}\b", name, text)
        called = self._called
        text = re.sub(r"(?<![<\w])n\d(?!\w)", lambda told: called.get(told[0], told[0]), text)
        text = re.sub(r"/tmp/kvlearn-etcdctl-\w+", "<folder>", text)
        lines, drop = [], []
        for line in text.splitlines():
            if line.startswith(("{", "[")):
                line = self._json(line)
            elif line.startswith("|"):
                cells = [cell.strip() for cell in line.strip("|").split("|")]
                if not drop:
                    drop = [cell in COLUMNS for cell in cells]
                cells = ["…" if volatile else cell for cell, volatile in zip(cells, drop)]
                line = "| " + " | ".join(cells) + " |"
            elif line.startswith("+-"):
                line = "+-"
            line = FIELD.sub(lambda found: f'"{found[1]}" : {self._number(*found.groups())}', line)
            line = ALARM.sub(lambda found: self._number("id", found[0]), line)
            line = HASH.sub(lambda found: self.of(found[0]), VERSION.sub("<version>", line))
            line = STATUS.sub(r"\1<version>\2…\3, …, …, …, ", line)
            line = re.sub(r"took[ =]*:? *[\d.]+[mµn]?s", "took …", line)
            line = re.sub(r"remaining\(\d+s\)", "remaining(…)", line)
            line = KEYS.sub(lambda found: f"([{' '.join(sorted(found[1].split()))}])", line)
            lines.append(HEX.sub(lambda found: self.of(found[0]), line) + "\n")
        return "".join(_in_no_order(lines))

    def _json(self, line: str) -> str:
        try:
            told = json.loads(line)
        except ValueError:
            return line
        return json.dumps(self._walk(told, ""), sort_keys=True)

    def _walk(self, told: Any, name: str) -> Any:
        match told:
            case dict():
                return {k: self._walk(v, k) for k, v in told.items()}
            case list():
                return [self._walk(one, name) for one in told]
            case int() if not isinstance(told, bool):
                return self._number(name, told)
        return told

    def _number(self, name: str, told: str | int) -> str | int:
        """A number that has a name."""
        plain = name.lower().replace("_", "")
        if plain in VOLATILE:
            return "…"
        if plain in IDS and int(told) not in (0, 1):
            return self.of(f"{int(told) % (1 << 64):x}")
        return told
