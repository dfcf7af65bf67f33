"""What lesson 16 looks at outside of the notebook: processes, files, and other programs.

    processes(cluster)                   who runs, with which number, in which state
    first_put(cluster, without="n1")     seconds until the others carry out a write again
    log_records(folder), hexdump(...)    a member's write-ahead log, record by record, byte by byte
    tear(...), flip(...)                 what a power cut, and what a bad disk, does to it
    curl(...), etcdctl(...)              other people's programs, talking to the cluster
    real_etcd()                          a real etcd, if this machine has one

Programs that are not there are not missed: each of these says what is missing, and how to get it.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import weakref
from base64 import b64decode, b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from kvlearn.client import Client
from kvlearn.errors import KVLearnError, TimedOut

ASK_S = 0.1  # for one try of a put
GIVE_UP_S = 30.0
PROGRAM_S = 20.0  # for etcdctl and curl
START_S = 20.0  # for an etcd

# Processes and files ------------------------------------------------------------------------------

_STATES = {"R": "running", "S": "sleeping", "D": "at the disk", "T": "stopped", "t": "stopped"}


def processes(cluster: Any):
    """A DataFrame: each member's process, as the system tells of it."""
    import pandas

    rows = []
    for name in cluster.names:
        alive = cluster.is_alive(name)
        state, memory = _of_process(cluster.pid(name)) if alive else ("gone", "")
        pid = str(cluster.pid(name)) if alive else ""
        rows.append((name, pid, state, memory, cluster.endpoint(name)))
    columns = ["node", "process", "state", "memory", "serves clients at"]
    return pandas.DataFrame(rows, columns=columns).set_index("node")


def _of_process(pid: int) -> tuple[str, str]:
    """(state, memory) of a process; "runs" where the system does not say."""
    try:
        told = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return "runs", ""
    fields = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
    kilobytes = fields.get("VmRSS", "0").split()[0]
    return _STATES.get(fields["State"].split()[0], "runs"), f"{int(kilobytes) // 1024} MB"


_FILES = {
    "lock": "held while a process uses the folder",
    "member.json": "who it is, and how often it was started",
    "wal": "the write-ahead log: votes and entries, in the order in which they were promised",
    "snap": "a snapshot on its way from a leader",
    "store": "the B+tree in LMDB: what the entries did",
}


def files(folder: Path):
    """A DataFrame: what a member keeps on its disk."""
    import pandas

    rows = []
    for path in sorted(folder.iterdir()):
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        size = sum(one.stat().st_size for one in inside if one.is_file())
        rows.append((path.name, f"{size:,}", _FILES.get(path.name, "")))
    return pandas.DataFrame(rows, columns=["name", "bytes", "what"]).set_index("name")


def first_put(cluster: Any, without: str = "") -> float:
    """Seconds until one of the members, but `without`, carries out a put; they are asked in turn.

    Raises: TimedOut after half a minute.
    """
    began = time.monotonic()
    names = [name for name in cluster.names if name != without and cluster.is_alive(name)]
    clients = [cluster.client(name, timeout_s=ASK_S) for name in names]
    try:
        while time.monotonic() < began + GIVE_UP_S:
            for client in clients:
                try:
                    client.put("probe", "is there a leader?")
                except KVLearnError:
                    continue
                return time.monotonic() - began
    finally:
        for client in clients:
            client.close()
    raise TimedOut(f"no put was carried out within {GIVE_UP_S:g} s", f"asked: {' '.join(names)}")


# The log of a member that is down -----------------------------------------------------------------


class LogRecord(NamedTuple):
    """One record of a write-ahead log: `at` is the byte at which it begins, in its segment."""

    segment: str
    at: int
    size: int
    what: str


def log_records(folder: Path) -> list[LogRecord]:
    """The records of the log in a member's folder, which nobody uses just now. It is left as it is.

    Raises: StorageError if it is damaged.
    """
    from kvlearn.live.storage import in_words
    from kvlearn.live.wal import Wal

    with tempfile.TemporaryDirectory(prefix="kvlearn-") as copy:
        shutil.copytree(folder / "wal", copy, dirs_exist_ok=True)
        with Wal(copy, segment_bytes=4096, fsync=False) as wal:
            places = zip(wal.places(), wal.found)
            return [LogRecord(*place, in_words(*record)) for place, record in places]


def log_table(records: list[LogRecord]):
    """A DataFrame of records of a log."""
    import pandas

    table = pandas.DataFrame(records, columns=["segment", "at byte", "bytes", "record"])
    return table.drop(columns="segment").set_index("at byte")


def hexdump(folder: Path, record: LogRecord) -> str:
    """The bytes of one record as they lie in the file, sixteen a line."""
    with (folder / "wal" / record.segment).open("rb") as file:
        file.seek(record.at)
        data = file.read(record.size)
    lines = []
    for place in range(0, len(data), 16):
        part = data[place : place + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "·" for byte in part)
        lines.append(f"{record.at + place:6}  {part.hex(' '):47}  {text}")
    return "\n".join(lines)


def tear(folder: Path) -> None:
    """What the end of the power may leave of a record that was just being written, and of which
    nobody was told: its first sector is there, the others are still zeros."""
    from kvlearn.live.wal import SECTOR, Wal

    with Wal(folder / "wal", fsync=False) as wal:
        _, begin = wal.end
        wal.append(1, b"an entry that was on its way. " * 60)
        wal.sync()
        path, end = wal.end
    written = begin + SECTOR - begin % SECTOR
    with path.open("r+b") as file:
        file.seek(written)
        file.write(bytes(end - written))


def flip(folder: Path, record: LogRecord) -> None:
    """What a bad disk may do: change one bit in the middle of a record."""
    with (folder / "wal" / record.segment).open("r+b") as file:
        file.seek(record.at + record.size // 2)
        (byte,) = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


# Other programs -----------------------------------------------------------------------------------


def base64(text: str) -> str:
    """Text as JSON carries bytes.

    >>> base64("colour")
    'Y29sb3Vy'
    """
    return b64encode(text.encode()).decode()


def from_base64(text: str) -> str:
    """What `base64` made unreadable.

    >>> from_base64("Y29sb3Vy")
    'colour'
    """
    return b64decode(text).decode()


def curl(endpoint: str, path: str, body: dict | None = None) -> dict:
    """Ask the gateway with curl, or without it the same by Python; prints both sides, and returns
    the answer."""
    url, data = f"http://{endpoint}{path}", None if body is None else json.dumps(body)
    words = ["curl", "-s", url, *([] if data is None else ["-d", data])]
    print("$", shlex.join(words))
    if shutil.which("curl"):
        told = _run(words)
    else:
        print("(curl is not installed here: Python asks the same)")
        told = _asked(url, data)
    print(told)
    return json.loads(told)


def _asked(url: str, data: str | None) -> str:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, data and data.encode(), timeout=PROGRAM_S) as answer:
            return answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()


NO_ETCDCTL = (
    "etcdctl is not installed here, so this cell shows nothing. Debian and Ubuntu: "
    "apt install etcd-client; others: https://github.com/etcd-io/etcd/releases"
)


def etcdctl(endpoints: Any, *lines: str) -> None:
    """Run etcd's own command line program, and print what it says. One line, one command."""
    program = shutil.which("etcdctl")
    if program is None:
        print(NO_ETCDCTL)
        return
    where = {"ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": ",".join(endpoints)}
    for line in lines:
        print("$ etcdctl", line)
        print(_run([program, *shlex.split(line)], where))


def _run(words: list[str], more: dict[str, str] | None = None) -> str:
    """What a program says on both of its outputs. Variables that would lead it elsewhere (ETCD_…,
    proxies) are not handed on."""
    theirs = ("ETCD_", "ETCDCTL_")
    proxies = {"http_proxy", "https_proxy", "all_proxy"}
    env = {k: v for k, v in os.environ.items() if not k.startswith(theirs)}
    env = {k: v for k, v in env.items() if k.lower() not in proxies} | (more or {})
    try:
        done = subprocess.run(
            words, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=PROGRAM_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"(no answer within {PROGRAM_S:g} s)"
    return done.stdout.decode(errors="replace").rstrip()


# A real etcd --------------------------------------------------------------------------------------

NO_ETCD = (
    "etcd is not installed here, so this cell shows kvlearn alone. Debian and Ubuntu: "
    "apt install etcd-server; others: https://github.com/etcd-io/etcd/releases"
)
# Whoever starts an etcd may die without a word; this small program stays with it and ends it then.
_WATCH = """
import subprocess, sys
child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
sys.stdin.read()
child.kill()
child.wait()
"""


class Etcd:
    """A real etcd of one member, on a free port, in a temporary folder; or one that runs already.

    It is true if it is there. Its process ends with `close`, and with this program.
    """

    def __init__(self, endpoint: str = ""):
        self.endpoint, self.version, self.why = endpoint, "", ""
        self._close: Callable[[], Any] = lambda: None
        program = shutil.which("etcd")
        if not endpoint and program is None:
            self.why = NO_ETCD
            return
        if not endpoint:
            self._start(program)
        self.version = self._wait_until_ready()
        if not self.version:
            self.why = f"etcd does not answer at {self.endpoint}{self._last_words()}"
            self.close()

    def _start(self, program: str) -> None:
        from kvlearn.live.process import free_ports

        self._folder = folder = Path(tempfile.mkdtemp(prefix="kvlearn-etcd-"))
        client, peer = (f"http://127.0.0.1:{port}" for port in free_ports(2))
        self.endpoint = client.removeprefix("http://")
        flags = [f"--data-dir={folder / 'data'}", f"--initial-cluster=default={peer}"]
        flags += [f"--{kind}-client-urls={client}" for kind in ("listen", "advertise")]
        flags += [f"--{kind}-peer-urls={peer}" for kind in ("listen", "initial-advertise")]
        env = {k: v for k, v in os.environ.items() if not k.startswith("ETCD_")}
        env["ETCD_UNSUPPORTED_ARCH"] = "arm64"  # 3.4 asks for it on that machine only
        with (folder / "log").open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, "-c", _WATCH, program, *flags],
                env=env, stdin=subprocess.PIPE, stdout=log, stderr=log,
            )  # fmt: skip
        self._close = weakref.finalize(self, _end, child, folder)

    def _wait_until_ready(self) -> str:
        """The version that it tells; empty: it did not answer."""
        end = time.monotonic() + START_S
        while time.monotonic() < end:
            try:
                with self.client(timeout_s=2.0) as client:
                    return client.status().version
            except KVLearnError:
                time.sleep(0.05)
        return ""

    def _last_words(self) -> str:
        folder = getattr(self, "_folder", None)
        lines = (folder / "log").read_text(errors="replace").splitlines() if folder else []
        return f"; it said last: {lines[-1]}" if lines else ""

    def client(self, timeout_s: float = 5.0) -> Client:
        """The same client as of a LocalCluster; it may write."""
        from kvlearn.live import connect

        return connect(self.endpoint, write=True, timeout_s=timeout_s)

    def close(self) -> None:
        """End it, if it was started here."""
        self._close()

    def __bool__(self) -> bool:
        return not self.why

    def __repr__(self) -> str:
        return self.why or f"etcd {self.version} at {self.endpoint}"


def real_etcd(endpoint: str = "") -> Etcd:
    """The etcd that listens at `endpoint`, or one that is started here, if it is installed."""
    return Etcd(endpoint)


def _end(child: subprocess.Popen, folder: Path) -> None:
    child.stdin.close()
    child.wait()
    shutil.rmtree(folder, ignore_errors=True)


def same_cell(cell: Callable[[Client], dict[str, Any]], ours: Any, etcd: Etcd):
    """A DataFrame: what a cell says of a cluster of kvlearn, and of a real etcd, line by line."""
    import pandas

    with ours.client() as client:
        told = {"kvlearn": cell(client)}
    if etcd:
        with etcd.client() as client:
            told[f"etcd {etcd.version}"] = cell(client)
    else:
        print(etcd)
    return pandas.DataFrame(told)
