"""Set-up: find an environment with the packages that a command needs, or make one.

    the Python that was started has them all (conda, Binder, CI)   -> go on in it
    .venv beside the repository has them                            -> start again in there
    neither                                                         -> make .venv, then the same

`.venv` carries a stamp. It says "unfinished" from the first moment until the last package is in,
so that a set-up that was broken off, even by a power cut, is never taken for whole; and it
carries the hash of pyproject.toml, so that a start that changes nothing takes no time.

    .venv/kvlearn-setup.json    {"hash": "5f0c…", "needs": ["lab"], "place": "/…/.venv"}

Standard library only: this runs before anything is installed.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
STAMP = VENV / "kvlearn-setup.json"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")

# what a command needs -> extras of pyproject.toml on top of its dependencies
NEEDS = {"lab": (), "test": ("test",)}
CORE = ["sortedcontainers >=2.4"]  # the simulator runs on this alone
LIVE = ("sortedcontainers", "lmdb", "msgpack", "protobuf", "hpack", "aiohttp", "prometheus-client")
_AGAIN = "KVLEARN_STARTED_AGAIN"  # set while the second process starts: it must not start a third

_NO_NETWORK = re.compile(
    "name resolution|Name or service not known|nodename nor servname|getaddrinfo|dns error"
    "|NewConnectionError|ConnectTimeout|Connection refused|Network is unreachable|timed out"
    "|error sending request|No matching distribution|Could not find a version|not found in the "
    "(package registry|provided package locations)|network connectivity|certificate",
    re.IGNORECASE,
)


class Stop(Exception):
    """What the user asked for cannot be done; the text is one sentence that says what to do."""


def enter(need: str, argv: list[str]) -> None:
    """Return in an environment that has what `need` names; else make one and start again there.

    Raises: Stop when there is none and none can be made.
    """
    again = os.environ.pop(_AGAIN, None)
    if not need or not (ROOT / "pyproject.toml").exists():
        return  # installed as a package: whoever installed it brought the dependencies
    inside, lacking = in_venv(), missing(requirements(need))
    if not lacking and not (inside and made_here() and not _whole(need)):
        return _activate()
    if again:
        raise Stop(_still_lacking(lacking))
    if made_here() or not VENV.exists():
        if inside and lacking and _whole(need):
            STAMP.write_text("{}")  # it was whole once; the Python below it has changed
        build("test" if need == "test" else "lab")
    _start_again(argv)


def move_in(argv: list[str]) -> None:
    """Start again in `.venv` if that is where `lab` would go; for commands that only look."""
    if in_venv() or not PYTHON.exists():
        return
    if missing(requirements("lab")) and (_whole("lab") or not made_here()):
        _start_again(argv)


def requirements(need: str) -> list[str]:
    """The lines of pyproject.toml that `need` asks for, as `name >=1,<2`."""
    if need == "core":
        return CORE
    if need == "live":  # a real member, on a machine without a notebook
        return [line for line in _project()["dependencies"] if split(line)[0] in LIVE]
    extras = [line for name in NEEDS[need] for line in extra(name)]
    return _project()["dependencies"] + extras


def extra(name: str) -> list[str]:
    """The lines of one extra of pyproject.toml."""
    return _project()["optional-dependencies"][name]


def _project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def missing(lines: list[str]) -> list[str]:
    """Those of the requirements that this Python does not meet."""
    return [line for line in lines if not satisfied(line)]


def satisfied(line: str) -> bool:
    """Whether this Python has the package, in a version that the requirement allows."""
    name, conditions = split(line)
    try:
        have = _numbers(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return False
    for sign, bound in conditions:
        if (have < _numbers(bound)) == (sign == ">="):
            return False
    return True


def split(line: str) -> tuple[str, list[tuple[str, str]]]:
    """A requirement's name and conditions.

    >>> split("jupyterlab >=4.2,<5")
    ('jupyterlab', [('>=', '4.2'), ('<', '5')])
    """
    name = re.match(r"[A-Za-z0-9._-]+", line).group()
    return name, re.findall(r"(>=|<)\s*([0-9.]+)", line)


def _numbers(version: str) -> tuple[int, ...]:
    leading = re.match(r"[0-9.]*", version).group().strip(".")
    return tuple(int(part) for part in leading.split(".") if part)


# The environment that we make ---------------------------------------------------------------


def build(need: str) -> None:
    """Make `.venv`, or bring it up to date, so that it holds what `need` names.

    Raises: Stop, and then `.venv` is as it was, or gone.
    """
    try:
        with _one_at_a_time():
            if not _whole(need):
                _build(need)
    except OSError as error:
        raise Stop(_cannot_write(error)) from None


def _build(need: str) -> None:
    before = _stamp()
    needs = sorted({need, *before.get("needs", [])})
    fresh = not before
    began = time.monotonic()
    _say(
        "setting up in .venv (once; a minute or so, by your network) …"
        if fresh
        else "bringing .venv up to date …"
    )
    try:
        if fresh:
            discard()
            _make()
        STAMP.write_text("{}")
        _install(needs)
        stamp = {"hash": _hash(), "needs": needs, "place": str(VENV)}
        STAMP.write_text(json.dumps(stamp) + "\n")
    except BaseException as error:
        if isinstance(error, Stop) and not fresh:
            STAMP.write_text(json.dumps(before) + "\n")  # pip gave up before it touched anything
        else:
            discard()
        raise
    _say(f"set up in {time.monotonic() - began:.0f} s")


def discard() -> None:
    """Remove `.venv`. Renamed first: half a folder must not pass for an environment."""
    if VENV.exists():
        old = ROOT / f".venv-discarded-{os.getpid()}"
        VENV.rename(old)
        shutil.rmtree(old, ignore_errors=True)


def _make() -> None:
    VENV.mkdir()
    STAMP.write_text("{}")
    base = getattr(sys, "_base_executable", "") or sys.executable
    uv = _uv()
    if uv and _run([uv, "venv", "--allow-existing", "--seed", "--python", base, str(VENV)])[0] == 0:
        return
    if not all(importlib.util.find_spec(module) for module in ("venv", "ensurepip")):
        raise Stop(_NO_ENSUREPIP)
    status, output = _run([base, "-m", "venv", str(VENV)])
    if status:
        raise Stop(_why(output, "python -m venv"))


def _install(needs: list[str]) -> None:
    extras = sorted({extra for need in needs for extra in NEEDS[need]})
    target = str(ROOT) + (f"[{','.join(extras)}]" if extras else "")
    uv = _uv()
    if uv:  # without --compile-bytecode the first start of everything is three times slower
        install = [uv, "pip", "install", "--python", str(PYTHON), "--compile-bytecode"]
        if _run([*install, "-e", target])[0] == 0:
            return  # else pip: it may know a mirror or a proxy that uv does not
    status, output = _run([str(PYTHON), "-m", "pip", "install", "-e", target])
    if status:
        raise Stop(_why(output, "pip"))


def _uv() -> str | None:
    """uv, if it is on PATH and runs (a version manager's shim may not)."""
    uv = shutil.which("uv")
    if uv and subprocess.run([uv, "--version"], capture_output=True).returncode == 0:
        return uv
    return None


def _run(command: list[str]) -> tuple[int, str]:
    """Exit status and output of a command; on a terminal its present line is shown meanwhile."""
    env = {
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_RETRIES": "2",  # five, the default, keep a person without a network waiting
        "UV_SYSTEM_CERTS": "1",  # as pip does: a school's or firm's proxy has its own authority
        **os.environ,
    }
    shown = sys.stderr.isatty()
    lines = []
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env,
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            for line in process.stdout:
                lines.append(line)
                if shown:
                    sys.stderr.write(f"\r\033[K  {line.strip()[:76]}")
                    sys.stderr.flush()
        except BaseException:
            process.kill()  # it must not go on writing into what we are about to remove
            raise
    if shown:
        sys.stderr.write("\r\033[K")
    return process.returncode, "".join(lines)


@contextlib.contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Two starts at once (two terminals) must not build one environment."""
    with (ROOT / ".venv.lock").open("w") as lock:
        try:
            import fcntl
        except ImportError:  # Windows: two set-ups at once are the user's to avoid
            yield
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _say("another set-up is at work here: waiting for it …")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# The stamp ----------------------------------------------------------------------------------


def _stamp() -> dict:
    """What the stamp says; empty while unfinished, or when it was made for another place."""
    try:
        stamp = json.loads(STAMP.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stamp if stamp.get("place") == str(VENV) and PYTHON.exists() else {}


def _whole(need: str) -> bool:
    """Whether `.venv` is complete for `need` and as new as pyproject.toml."""
    stamp = _stamp()
    needed = "lab" if need in ("core", "live") else need
    return stamp.get("hash") == _hash() and (needed in stamp["needs"] or "test" in stamp["needs"])


def made_here() -> bool:
    """Whether `.venv` was made here, whole or not (a stamp tells); else it is the user's own."""
    return STAMP.exists()


def _hash() -> str:
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()


def in_venv() -> bool:
    """Whether this Python is the one of `.venv`."""
    return VENV.exists() and os.path.samefile(sys.prefix, VENV)


# Going there --------------------------------------------------------------------------------


def _start_again(argv: list[str]) -> None:
    """The same command in `.venv`. Does not return."""
    if not PYTHON.exists():
        raise Stop(f"{VENV} is not an environment that works: move it away and run this again")
    command = [str(PYTHON), "-m", "kvlearn", *argv]
    env = {**os.environ, _AGAIN: "1", "PYTHONPATH": _python_path()}
    sys.stdout.flush()
    if os.name == "nt":  # Windows' exec leaves the terminal to two processes
        sys.exit(subprocess.call(command, env=env))
    os.execve(command[0], command, env)


def _activate() -> None:
    """For the processes that we start: this environment's programs first, and this kvlearn."""
    programs = os.path.dirname(sys.executable)
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    if path[0] != programs:
        os.environ["PATH"] = os.pathsep.join([programs, *path])
    if sys.prefix != sys.base_prefix:
        os.environ["VIRTUAL_ENV"] = sys.prefix
    os.environ["PYTHONPATH"] = _python_path()


def _python_path() -> str:
    known = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    return os.pathsep.join([str(ROOT), *(place for place in known if place != str(ROOT))])


# Sentences ----------------------------------------------------------------------------------


_NO_ENSUREPIP = (
    "this Python cannot make an environment, because it comes without ensurepip: on Debian and "
    "Ubuntu run `sudo apt install python3-venv`, elsewhere install uv or a Python from python.org; "
    "then run the same command again"
)


def _say(text: str) -> None:
    print(f"kvlearn: {text}", file=sys.stderr, flush=True)


def _why(output: str, who: str) -> str:
    if "ensurepip is not available" in output:
        return _NO_ENSUREPIP
    if "No space left" in output:
        return "the disk is full: make room (300 MB) and run the same command again"
    if _NO_NETWORK.search(output):
        return (
            "the packages could not be downloaded: connect this machine to the network, or tell "
            "pip of your proxy or mirror (`pip config`), and run the same command again"
        )
    last = "\n  ".join(output.strip().splitlines()[-12:])
    return f"{who} failed; mend what it says here and run the same command again:\n  {last}"


def _cannot_write(error: OSError) -> str:
    if error.errno == errno.ENOSPC:
        return _why("No space left", "")
    return (
        f"the folder {ROOT} cannot be written ({error.strerror}): copy the repository to a folder "
        "of your own and run the same command there"
    )


def _still_lacking(lacking: list[str]) -> str:
    names = ", ".join(split(line)[0] for line in lacking)
    if made_here():
        return f".venv lacks {names} although it was just set up: remove .venv and run this again"
    return (
        f"the .venv in {ROOT} is your own and lacks {names}: run `{BIN / 'pip'} install -e "
        f"'{ROOT}[test]'`, or move it away; then run the same command again"
    )
