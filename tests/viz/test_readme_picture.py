"""The README's picture is drawn from a run, so it cannot show what the code does not do."""

from __future__ import annotations

from pathlib import Path

from kvlearn import Cluster
from kvlearn.kv.requests import Put
from kvlearn.viz import picture

PICTURE = Path(__file__).parents[2] / "docs" / "ring.svg"


def drawn() -> str:
    """The README's ten lines, and then a put on its way to the followers."""
    cluster = Cluster(5, seed=7)
    client = cluster.client()
    client.put("colour", "blue")
    cluster.crash(cluster.leader)
    client.get("colour")
    client.put("colour", "green")
    cluster.run(0.3)
    cluster.submit(Put(b"colour", b"red"), cluster.leader)
    cluster.run(0.0025)
    return picture(cluster).svg()


def test_the_picture_is_what_the_code_draws(request):
    """Shows: run with --rewrite to draw it anew, and look at it."""
    if request.config.getoption("--rewrite"):
        PICTURE.write_text(drawn(), encoding="utf-8")
    assert PICTURE.read_text(encoding="utf-8") == drawn()
