"""A small repository with kvlearn's own command line and one dependency, set up without a network.

Its packages come from a folder (PIP_NO_INDEX), its build backend writes a wheel by hand, and its
two commands print where they ran. So a set-up takes seconds and can be broken off at will.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FRONT = ("__init__.py", "__main__.py", "cli/__init__.py", "cli/environment.py")

PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "kvlearn"
version = "0"
dependencies = ["kvtiny >=1.2,<2"]
[project.optional-dependencies]
test = ["kvtinier"]
"""

BACKEND = '''
import os, socket, sys, zipfile
def build_editable(folder, settings=None, metadata=None):
    if os.environ.get("GATE"):  # tell the test that pip is at work, and wait to be killed
        gate = socket.create_connection(("127.0.0.1", int(os.environ["GATE"])))
        gate.recv(1)
    with zipfile.ZipFile(os.path.join(folder, "kvlearn-0-py3-none-any.whl"), "w") as wheel:
        for name, text in {
            "kvlearn.pth": os.getcwd(),
            "kvlearn-0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: kvlearn\\nVersion: 0\\n"
            "Requires-Dist: kvtiny >=1.2,<2\\nProvides-Extra: test\\n"
            "Requires-Dist: kvtinier; extra == 'test'\\n",
            "kvlearn-0.dist-info/WHEEL": "Wheel-Version: 1.0\\nTag: py3-none-any\\n"
            "Root-Is-Purelib: true\\n",
            "kvlearn-0.dist-info/RECORD": "",
        }.items():
            wheel.writestr(name, text)
    return "kvlearn-0-py3-none-any.whl"
'''

COMMAND = """
import shutil, sys
def main(argv):
    import kvtiny
    print("ran in", sys.prefix, "with", argv, "and", shutil.which("python"))
    return 7
"""


class Newcomer:
    """The repository in `home`, and a person who types commands there."""

    def __init__(self, home: Path):
        self.root, self.shelf = home / "repository", home / "shelf"
        for name in FRONT:
            (self.root / "kvlearn" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / "kvlearn" / name, self.root / "kvlearn" / name)
        for name in ("lab", "testing"):
            (self.root / "kvlearn" / "cli" / f"{name}.py").write_text(COMMAND)
        (self.root / "pyproject.toml").write_text(PYPROJECT)
        (self.root / "backend.py").write_text(BACKEND)
        self.shelf.mkdir()
        self.venv = self.root / ".venv"
        self.env = {
            "HOME": str(home),
            "PATH": os.pathsep.join(["/usr/bin", "/bin"]),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.shelf),
            "UV_NO_INDEX": "1",
            "UV_FIND_LINKS": str(self.shelf),
            "PIP_CONFIG_FILE": os.devnull,
        }

    def shelve(self, name: str, version: str) -> None:
        """Put a package on the shelf that pip installs from."""
        tag, about = f"{name}-{version}", f"Name: {name}\nVersion: {version}\n"
        with zipfile.ZipFile(self.shelf / f"{tag}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{name}.py", "")
            wheel.writestr(f"{tag}.dist-info/METADATA", f"Metadata-Version: 2.1\n{about}")
            wheel.writestr(
                f"{tag}.dist-info/WHEEL",
                "Wheel-Version: 1.0\nTag: py3-none-any\nRoot-Is-Purelib: true\n",
            )
            wheel.writestr(f"{tag}.dist-info/RECORD", "")

    def start(self, *words: str, **env: str) -> subprocess.Popen:
        """Type `python3 -m kvlearn words`."""
        return subprocess.Popen(
            [getattr(sys, "_base_executable", sys.executable), "-m", "kvlearn", *words],
            cwd=self.root,
            env={**self.env, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def type(self, *words: str, **env: str) -> subprocess.CompletedProcess:
        """Type it and wait; there must be no traceback, whatever happens."""
        process = self.start(*words, **env)
        out, err = process.communicate(timeout=180)
        assert "Traceback" not in out + err, out + err
        return subprocess.CompletedProcess(words, process.returncode, out, err)
