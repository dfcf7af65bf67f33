"""The cluster as it stands, in one picture: the ring, and the logs below it."""

from __future__ import annotations

from typing import Any

from kvlearn.viz.logs import logs
from kvlearn.viz.moment import look
from kvlearn.viz.ring import ring
from kvlearn.viz.svg import Svg, group, num

GAP = 14.0


def picture(subject: Any, at: float | None = None, seq: int | None = None) -> Svg:
    """Draw ring and logs of one moment: of a trace, a cluster or a `Moment`.

    `at` is a time in seconds, `seq` the number of the last record included; default: the end.
    """
    moment = look(subject, at, seq)
    above, below = ring(moment), logs(moment)
    if not moment.names:
        return above
    wide = max(above.width, below.width)
    body = [
        group([above.body], transform=f"translate({num((wide - above.width) / 2)},0)"),
        group([below.body], transform=f"translate(0,{num(above.height + GAP)})"),
    ]
    high = above.height + GAP + below.height
    # The first line of the logs' text says what the ring's has said already.
    text = above.text + "\n" + "\n".join(below.text.splitlines()[1:])
    return Svg("cluster", "".join(body), wide, high, above.title, above.desc, text, above.hooks)
