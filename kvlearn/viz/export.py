"""A run as one HTML file that plays by itself: no Python, no network, the same panel.

The file holds the panel's JavaScript, its style, and every row of the run, packed; a browser opens
it from a disk. What changes a cluster is not in it: there is no cluster, only what happened.
"""

from __future__ import annotations

import base64
import html
import json
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from kvlearn.viz.asking import Desk
from kvlearn.viz.feed import Feed
from kvlearn.viz.moment import trace_of
from kvlearn.viz.panels import Bench, known_panes
from kvlearn.viz.theme import THEME
from kvlearn.viz.timeline_rows import micros

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark;
  --jp-content-font-color1: light-dark(#1f2328, #e6e8eb);
  --jp-content-font-color2: light-dark(#59636e, #a3abb5);
  --jp-border-color1: light-dark(#b4bac2, #5d656f);
  --jp-border-color2: light-dark(#d5d9de, #444b54);
  --jp-layout-color1: light-dark(#fff, #15181c);
  --jp-layout-color2: light-dark(#f0f1f3, #23282e);
  --jp-error-color1: light-dark(#c4202b, #ff7b72);
  --jp-success-color1: light-dark(#1a7f37, #56d364);
  --jp-brand-color1: light-dark(#1f6fc4, #6cb6ff); }}
body {{ margin: 0; padding: 16px; background: light-dark(#f6f7f8, #0c0e11);
  color: var(--jp-content-font-color1); font: 14px/1.5 system-ui, sans-serif; }}
main {{ max-width: 1800px; margin: auto; }}
{style}
</style>
</head>
<body>
<main id="bench"><p>This page plays a recorded run, and needs JavaScript for it.</p></main>
<script type="module">
{script}
const packed = Uint8Array.from(atob("{data}"), (sign) => sign.charCodeAt(0));
const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
const told = JSON.parse(await new Response(stream).text());
const root = document.getElementById("bench");
root.replaceChildren();
const nothing = () => {{}};
const model = {{ get: (name) => told[name], set: nothing, save_changes: nothing, on: nothing,
  off: nothing, send: nothing }};
const widget = kvlearnPanel();
widget.initialize({{ model }});
widget.render({{ model, el: root }});
</script>
</body>
</html>
"""


def export(
    subject: Any,
    path: str | Path | None = None,
    panes: Iterable[str] | str = "all",
    title: str = "A run of kvlearn",
) -> str:
    """Write the run of a cluster or a trace into one HTML file, and return its text.

    `panes`: which are open at first, as in `cluster.show`. The cursor stands at the beginning.
    """
    opened = known_panes(panes)
    trace = trace_of(subject)
    feed = Feed(trace, getattr(subject, "store", None))
    now = getattr(subject, "now", None)
    if not isinstance(now, (int, float)):
        now = trace[-1].time if len(trace) else 0.0
    opening = {
        "reset": feed.era,
        "seq": feed.read - 1,
        "now": micros(now),
        "state": feed.compiler.state(),
        "tables": {name: [[0, table]] for name, table in feed.compiler.tables.items()},
        "older": [row.wire() for row in feed.history],
        "complete": len(feed.history) == feed.read,
        "offline": True,
        "verdicts": Desk(trace, subject).verdicts(now=True),
    }
    told = {"theme": THEME, "opening": opening, "speed": "follow", "panes": opened}
    data = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
    script = Bench._esm.replace("export default", "const kvlearnPanel =").replace("</", "<\\/")
    page = PAGE.format(
        title=html.escape(title),
        style=Bench._css,
        script=script,
        data=base64.b64encode(zlib.compress(data, 9)).decode(),
    )
    if path is not None:
        Path(path).write_text(page, encoding="utf-8")
    return page
