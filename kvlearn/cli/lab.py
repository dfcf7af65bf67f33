"""`kvlearn lab`: JupyterLab on the notebooks, on this machine only, until Ctrl-C.

This process starts JupyterLab as a child, waits until it answers, prints its address and waits on.
The child has a process group of its own, so that Ctrl-C reaches this process alone, which then asks
JupyterLab once, politely, to end.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import quote

from kvlearn.cli import Parser, guess
from kvlearn.cli.environment import ROOT, Stop

HOST = "127.0.0.1"
PORT = 8888  # Jupyter's own; when taken, and no --port was given, the next free one of twenty
START = "00_start_here.ipynb"
NOTEBOOKS = ROOT / "notebooks"
CONFIG = Path(__file__).parent / "jupyter"  # turns JupyterLab's news pop-up off


def main(argv: list[str]) -> int:
    """Serve until Ctrl-C. Raises: Stop for a notebook that is not there and a port in use."""
    parser = Parser("lab", "Open JupyterLab on the notebooks; Ctrl-C ends it.")
    parser.add_argument("notebook", nargs="?", default=START, help=f"which one ({START})")
    parser.add_argument("--port", type=_port, help=f"serve there ({PORT}, or the next free one)")
    parser.add_argument("--no-browser", action="store_true", help="only print the address")
    arguments = parser.parse_args(argv)
    notebook = find(arguments.notebook, NOTEBOOKS)
    port = free_port(arguments.port)
    token = secrets.token_hex(24)
    url = f"http://{HOST}:{port}/lab/tree/{quote(notebook)}?token={token}"
    child = subprocess.Popen(
        command(notebook, port, arguments.no_browser),
        env=surroundings(token),
        cwd=NOTEBOOKS,
        stdin=subprocess.DEVNULL,
        **({"process_group": 0} if os.name == "posix" else {}),
    )
    return watch(child, url)


def find(name: str, folder: Path) -> str:
    """The notebook that `name` means: its file name, without the ending, or how it begins.

    Raises: Stop, naming the nearest one.
    """
    there = sorted(path.name for path in folder.glob("*.ipynb"))
    if not there:
        raise Stop(f"there are no notebooks in {folder}: run this in a clone of the repository")
    wanted = Path(name).name
    for matches in (wanted.__eq__, f"{wanted}.ipynb".__eq__, lambda one: one.startswith(wanted)):
        found = [one for one in there if matches(one)]
        if len(found) == 1:
            return found[0]
    stems = [Path(one).stem for one in there]
    hint = guess(Path(wanted).stem, stems) or f"; there are {', '.join(stems)}"
    raise Stop(f"there is no notebook {name!r}{hint}")


def free_port(asked: int | None) -> int:
    """The port that was asked for, or the first free one from 8888.

    Raises: Stop when it is in use, or not allowed.
    """
    for port in [asked] if asked else range(PORT, PORT + 20):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, os.name != "nt")
            try:
                probe.bind((HOST, port))
                return port
            except OSError as error:
                reason = error.strerror
    if asked:
        raise Stop(
            f"port {asked} cannot be used ({reason}): stop what listens there, or run "
            "`python3 -m kvlearn lab --port N` with another number"
        )
    raise Stop(f"ports {PORT} to {PORT + 19} are all in use: name a free one with --port N")


def command(notebook: str, port: int, quiet: bool) -> list[str]:
    """JupyterLab's command line; it overrides what the user's own Jupyter settings say."""
    options = [
        f"--ServerApp.ip={HOST}",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        "--ServerApp.allow_remote_access=False",
        f"--ServerApp.root_dir={NOTEBOOKS}",
        "--ServerApp.kernel_spec_manager_class=kvlearn.cli.kernels.QuietKernels",
        "--log-level=ERROR",  # a notebook from git is always "not trusted", and that is no news
        "--LabApp.log_level=ERROR",
    ]
    if quiet:
        options.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--allow-root")  # a container; the address is this machine's own
    return [sys.executable, "-m", "jupyterlab", *options, str(NOTEBOOKS / notebook)]


def surroundings(token: str) -> dict[str, str]:
    """The environment of JupyterLab: the token (out of `ps`), our settings, our kernel first."""
    paths = [str(CONFIG), *filter(None, [os.environ.get("JUPYTER_CONFIG_PATH")])]
    return {
        **os.environ,
        "JUPYTER_TOKEN": token,
        "JUPYTER_CONFIG_PATH": os.pathsep.join(paths),
        "JUPYTER_PREFER_ENV_PATH": "1",
    }


def watch(child: subprocess.Popen, url: str) -> int:
    """Print the address once the child answers there; end when it ends."""
    ends = [signal.SIGINT, signal.SIGTERM, *filter(None, [getattr(signal, "SIGHUP", None)])]
    before = [signal.signal(number, lambda *_: child.terminate()) for number in ends]
    ready = False
    try:
        while True:
            try:
                status = child.wait(timeout=None if ready else 0.1)
                break
            except subprocess.TimeoutExpired:
                ready = answers(url)
                if ready:
                    print(f"\nJupyterLab is at\n\n    {url}\n\nCtrl-C ends it.", flush=True)
    finally:
        for number, handler in zip(ends, before, strict=True):
            signal.signal(number, handler)
    if not ready and status:
        raise Stop("JupyterLab ended before it was ready; it says why above")
    print("JupyterLab has ended.", flush=True)
    return 0 if ready else 1


def answers(url: str) -> bool:
    """Whether JupyterLab serves at this address."""
    base, _, token = url.partition("/lab/tree/")
    status = f"{base}/api/status?{token.partition('?')[2]}"
    straight = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy to ourselves
    try:
        with straight.open(status, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def _port(text: str) -> int:
    """A port number, or a ValueError that argparse words."""
    number = int(text)
    if not 1 <= number <= 65535:
        raise ValueError
    return number


_port.__name__ = "port number"  # argparse: invalid port number value: 'x'
