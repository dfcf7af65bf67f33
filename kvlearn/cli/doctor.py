"""`kvlearn doctor`: what is installed, what is missing, and how to mend it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from kvlearn import __version__
from kvlearn.cli import Parser, environment
from kvlearn.cli.environment import ROOT, VENV

SET_UP = "python3 -m kvlearn lab"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@dataclass(frozen=True)
class Finding:
    """One line of the table. `mend` says what to do, and for whom, when `found` is empty."""

    what: str
    found: str
    mend: str = ""
    needed: bool = False  # without it `lab` does not run


def main(argv: list[str]) -> int:
    """Print the table; the status is 1 when something is missing that the lab needs."""
    Parser("doctor", "What is installed, what is missing, how to mend it.").parse_args(argv)
    environment.move_in(["doctor", *argv])
    findings = [*here(), *packages(), *programs()]
    wide = max(len(finding.what) for finding in findings)
    for finding in findings:
        told = finding.found or f"missing: {finding.mend}"
        mark = " " if finding.found else "!" if finding.needed else "-"
        print(f"{mark} {finding.what:<{wide}}  {told}")
    lacking = [finding.what for finding in findings if finding.needed and not finding.found]
    print("\nThe lab " + (f"lacks {', '.join(lacking)}." if lacking else "has all that it needs."))
    return 1 if lacking else 0


def here() -> list[Finding]:
    """kvlearn, Python, and the environment that the commands use."""
    python = f"{platform.python_version()} ({sys.executable})"
    if environment.in_venv():
        place = f"{VENV}, made by kvlearn" if environment.made_here() else f"{VENV}, your own"
    else:
        place = f"{sys.prefix}, found as it was"
    notebooks = len(list((ROOT / "notebooks").glob("*.ipynb")))
    return [
        Finding("kvlearn", f"{__version__} ({ROOT})"),
        Finding("Python", python),
        Finding("environment", place),
        Finding("notebooks", str(notebooks or ""), "clone the repository", needed=True),
    ]


def packages() -> list[Finding]:
    """Every package that pyproject.toml names, with its version."""
    if not (ROOT / "pyproject.toml").exists():
        return []
    lab, test = environment.requirements("lab"), environment.requirements("test")
    study, fast = environment.extra("study"), environment.extra("fast")
    findings = [_package(line, f"run `{SET_UP}`", needed=True) for line in lab]
    findings += [_package(line, "run `python3 -m kvlearn test`") for line in test[len(lab) :]]
    findings += [_package(line, f"for plots: pip install '{line}'") for line in study]
    return findings + [_package(line, f"real members: pip install '{line}'") for line in fast]


def _package(line: str, mend: str, needed: bool = False) -> Finding:
    name, _ = environment.split(line)
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, "", mend, needed)
    if not environment.satisfied(line):
        return Finding(name, "", f"{version} is there, {line} is wanted: {mend}", needed)
    return Finding(name, version)


def programs() -> list[Finding]:
    """The programs beside Python: what draws graphs, the tests' browser, a real etcd."""
    etcd, etcdctl = _version("etcd", "--version"), _version("etcdctl", "version")
    h2load, curl = _version("h2load", "--version"), _version("curl", "--version")
    node = _version("node", "--version")
    return [
        Finding("dot", dot(), "trees show as text: apt or conda install graphviz"),
        Finding("chromium", chromium(), "for the browser tests: apt install chromium"),
        Finding("node", node, "for tests of the panel's own JavaScript: apt install nodejs"),
        Finding("etcd", etcd, "for lessons on a real etcd: apt install etcd-server"),
        Finding("etcdctl", etcdctl, "for lessons on a real etcd: apt install etcd-client"),
        Finding("curl", curl, "for lessons on real members: apt install curl"),
        Finding("h2load", h2load, "for `kvlearn bench live`: apt install nghttp2-client"),
    ]


def dot() -> str:
    """Which engine draws DOT, in the order in which they are tried; empty when there is none."""
    beside = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
    for program in ("dot", "graphviz-pure"):
        if path := shutil.which(program, path=beside):
            return _version(path, "-V")
    try:
        return f"pygraphviz {importlib.metadata.version('pygraphviz')}"
    except importlib.metadata.PackageNotFoundError:
        return ""


def chromium() -> str:
    """The browser of the browser tests, with its version; empty when there is none."""
    return next(filter(None, (_version(program, "--version") for program in CHROMIUM)), "")


def _version(program: str, option: str) -> str:
    """The first line that a program says of its version; empty when it is not there."""
    path = shutil.which(program)
    if not path:
        return ""
    try:
        told = subprocess.run(
            [path, option], capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{path} (it does not run: {error})"
    line = (told.stdout.strip() or told.stderr.strip() or "no version told").splitlines()[0]
    return f"{line.strip()} ({path})"
