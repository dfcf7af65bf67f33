"""Exercises of lesson 00: how many nodes may be down, and what the past says."""

from __future__ import annotations

from kvlearn.course.kinds import Fact, Predict
from kvlearn.errors import RequestError
from kvlearn.events import Returned
from kvlearn.sim import Cluster


def _whole_number(answer) -> int:
    if isinstance(answer, bool) or not isinstance(answer, int):
        raise ValueError("The answer is a whole number.")
    return answer


def _majority() -> Fact:
    """Crash one node of five after the other, until a put is not answered any more."""
    cluster = Cluster(5, seed=7)
    cluster.wait_for_leader()
    for down in range(1, 5):
        cluster.crash(f"n{down}")
        cluster.run(3.0)
        try:
            cluster.client("n5", timeout_s=3.0).put("down", str(down))
        except RequestError:
            break
    seq = [record.seq for record in cluster.trace.of(Returned)][-1]
    why = (
        f"With {down - 1} nodes down a put was answered. With {down} down the last record of the "
        "client is the error below: 2 of 5 nodes are no majority: they neither commit nor elect."
    )
    hints = {
        1: "One is safe, but it is not the most.",
        3: "With three down, two are left, and 2 of 5 is no majority.",
        4: "One node alone is no majority of five. What if the other four are alive and only cut "
        "off?",
    }
    return Fact(down - 1, cluster.trace, seq, why, hints)


def _past() -> Fact:
    """The puts of the lesson, and a get at revision 3."""
    cluster = Cluster(5, seed=7)
    client = cluster.client()
    for colour in ("blue", "green", "red"):
        client.put("colour", colour)
    text = client.get("colour", revision=3).text
    # The answer to green, not to the get: that one's header names the store's revision, which is 4.
    done = [r for r in cluster.trace.of(Returned) if r.event.revision == 3 and not r.event.error]
    why = (
        "A store starts at revision 1. Each write makes a new revision, so the three puts made "
        "2, 3 and 4. The record below is the answer to the second put, green: it made revision 3. "
        "(Any answer also tells the revision of the whole store. That of the get tells 4, "
        "whichever revision was asked for.)"
    )
    hints = {
        "red": "red is what the key holds now, at revision 4.",
        "blue": "blue was written at revision 2.",
        None: "At revision 3 the key was there already.",
    }
    return Fact(text, cluster.trace, done[0].seq, why, hints)


EXERCISES = [
    Predict(
        "start/majority",
        "Of five nodes, how many may be down at most, so that a put is still answered?",
        _majority,
        "at_most = 2",
        _whole_number,
    ),
    Predict(
        "start/past",
        'A new store gets put("colour", "blue"), then "green", then "red". What is the text of '
        'get("colour", revision=3)?',
        _past,
        'text = "green"',
        empty="",
    ),
]
