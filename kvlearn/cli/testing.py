"""`kvlearn test`: the whole suite, or what pytest's own arguments name."""

from __future__ import annotations

import os
import sys

from kvlearn.cli.environment import ROOT, Stop


def main(argv: list[str]) -> int:
    """Run pytest from the root of the repository and return its exit status."""
    if not (ROOT / "tests").is_dir():
        raise Stop(f"there are no tests in {ROOT}: run this in a clone of the repository")
    os.chdir(ROOT)  # paths in the arguments are the repository's
    sys.path.insert(0, str(ROOT))
    import pytest

    return int(pytest.main(argv))
