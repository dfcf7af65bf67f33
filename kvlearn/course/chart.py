"""Measurements as dots: one row a setting, one dot a run, the median as a bar with its number.

>>> measured = {"150–300 ms": [0.2, 0.31, 0.4], "150–151 ms": [0.2, 1.4]}
>>> picture = strips(measured, "until a leader leads")
>>> print(picture.text)
until a leader leads (seconds)
150–300 ms: 3 runs, from 0.200 to 0.400, median 0.310
150–151 ms: 2 runs, from 0.200 to 1.400, median 0.800
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor, log10
from statistics import median

from kvlearn.viz.svg import Svg, el, label, path, width
from kvlearn.viz.theme import PALETTE, SIZES, tone

ROW, HEAD, FOOT, WIDE, DOT = 46.0, 30.0, 34.0, 620.0, 3.6
STEPS = (1, 2, 5)  # of a decade that get a tick


def strips(measured: Mapping[str, Sequence[float]], title: str, unit: str = "seconds") -> Svg:
    """Draw each setting's values on one logarithmic axis. Values are above 0.

    Raises: ValueError where a setting has no value, or one that is not above 0.
    """
    for name, values in measured.items():
        if not values or min(values) <= 0:
            raise ValueError(f"{name}: the axis is logarithmic and needs values above 0")
    low = min(min(values) for values in measured.values()) * 0.9
    high = max(max(values) for values in measured.values()) * 1.1
    left = 24 + max(width(name) for name in measured)

    def x(value: float) -> float:
        return left + (WIDE - left - 24) * log10(value / low) / log10(high / low)

    rows = list(measured.items())
    bottom = HEAD + ROW * len(rows)
    parts = [
        label(16, 18, f"{title} ({unit})", bold=True, halo=False),
        *_axis(low, high, x, bottom),
    ]
    for place, (name, values) in enumerate(rows):
        parts += _strip(
            name, sorted(values), HEAD + ROW * (place + 0.5), x, PALETTE[(place + 1) % 7]
        )
    told = [f"{name}: {_numbers(values)}" for name, values in rows]
    text = "\n".join([f"{title} ({unit})", *told])
    return Svg("strips", "".join(parts), WIDE, bottom + FOOT, title, "; ".join(told), text)


def summary(measured: Mapping[str, Sequence[float]], slow: float | None = None):
    """The numbers beside the dots: a pandas DataFrame, one row a setting.

    With `slow`, a column counts the runs above it.
    """
    import pandas

    rows = []
    for name, values in measured.items():
        row = {"setting": name, "runs": len(values), "median": median(values), "worst": max(values)}
        if slow is not None:
            row[f"above {slow:g}"] = sum(value > slow for value in values)
        rows.append(row)
    return pandas.DataFrame(rows).set_index("setting").round(3)


def _numbers(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{len(values)} runs, from {low:.3f} to {high:.3f}, median {median(values):.3f}"


def _axis(low: float, high: float, x, bottom: float) -> list[str]:
    parts = []
    for power in range(floor(log10(low)), floor(log10(high)) + 1):
        for step in STEPS:
            value = step * 10.0**power
            if low <= value <= high:
                across = path((x(value), HEAD), (x(value), bottom + 4))
                parts.append(
                    el("path", d=across, stroke=tone("faint"), stroke_width=1, fill="none")
                )
                number = f"{value:g}"
                parts.append(
                    label(x(value), bottom + 19, number, anchor="middle", halo=False, tone="dim")
                )
    return parts


def _strip(name: str, values: list[float], y: float, x, colour: str) -> list[str]:
    parts = [label(16, y + 4, name, halo=False)]
    columns: dict[int, int] = {}  # dots that would cover each other are stacked around the middle
    for value in values:
        column = round(x(value) / (2 * DOT))
        rank = columns[column] = columns.get(column, -1) + 1
        lift = min((rank + 1) // 2 * (DOT * 1.2), ROW / 2 - 5) * (-1 if rank % 2 else 1)
        dot = el("circle", cx=x(value), cy=y + lift, r=DOT, fill=colour, stroke=tone("ink"),
                 stroke_width=0.5, fill_opacity=0.75)  # fmt: skip
        parts.append(dot)
    middle = median(values)
    bar = path((x(middle), y - ROW / 2 + 4), (x(middle), y + ROW / 2 - 4))
    parts.append(el("path", d=bar, stroke=tone("ink"), stroke_width=2.5, fill="none"))
    near_end = x(middle) + 6 + width(f"{middle:.3f}") > WIDE - 8
    spot, anchor = (x(middle) - 6, "end") if near_end else (x(middle) + 6, "start")
    parts.append(label(spot, y - ROW / 2 + 12, f"{middle:.3f}", anchor=anchor, size=SIZES["small"]))
    return parts
