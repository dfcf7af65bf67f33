"""What the helpers of these tests assert is told as well as what the tests assert."""

from pathlib import Path

import pytest

HELPERS = sorted(path.stem for path in Path(__file__).parent.glob("spec_*.py"))
pytest.register_assert_rewrite(*(f"tests.live.{name}" for name in HELPERS))
