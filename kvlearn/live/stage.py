"""A real cluster to look at and to break, in a notebook: its picture, and buttons.

    [n1 | n2 | n3]  [crash] [restart] [pause] [resume] [isolate] [heal all]
    ring and logs, drawn anew when something has happened

It shows what the members have told so far; time is real and does not go back. For the pictures of
any other moment there is the trace: `ring(live.trace, at=2.5)`.

Verbs and drawing run in a thread, so that the notebook goes on meanwhile. Drawing rests at least
four times as long as it took.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter
from typing import TYPE_CHECKING, Any

import ipywidgets

from kvlearn.errors import KVLearnError
from kvlearn.trace import Trace

if TYPE_CHECKING:
    from kvlearn.live.local_cluster import LocalCluster

REST_S = 0.4  # between two pictures, at least
REST = 4.0  # times what the last picture took
VERBS = {  # verb -> what its tool tip says; all but heal are about the chosen member
    "crash": "end its process at once (kill -9)",
    "restart": "start it again with what its disk kept",
    "pause": "stop it where it is (SIGSTOP)",
    "resume": "let it go on (SIGCONT)",
    "isolate": "cut its links to the other members",
    "heal": "let all links work again",
}


class Panel(ipywidgets.VBox):
    """The panel of one cluster. It follows until it or the cluster is closed."""

    def __init__(self, cluster: LocalCluster):
        self.cluster = cluster
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="panel")
        self._shown: Trace | None = None
        self._closed = False
        self._task: asyncio.Task | None = None
        self.nodes = ipywidgets.ToggleButtons(options=cluster.names)
        self.nodes.style.button_width = "auto"
        self.buttons = {verb: self._button(verb, tip) for verb, tip in VERBS.items()}
        self.told = ipywidgets.Label()
        self.picture = ipywidgets.HTML()
        row = ipywidgets.HBox([self.nodes, *self.buttons.values()])
        row.layout.flex_flow = "row wrap"
        super().__init__([row, self.told, self.picture])
        self.draw()
        try:
            self._task = asyncio.get_running_loop().create_task(self._follow())
        except RuntimeError:
            pass  # no notebook: it is drawn when asked (`draw`)

    def _button(self, verb: str, tip: str) -> ipywidgets.Button:
        made = ipywidgets.Button(description=verb, tooltip=tip)
        made.layout.width = "auto"
        made.on_click(lambda _: self.do(verb))
        return made

    def do(self, verb: str) -> None:
        """What a click does: carry the verb out on the chosen member, and say how that went."""
        node = self.nodes.value
        self.told.value = f"{verb} {'' if verb == 'heal' else node} …"
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.told.value = self._done(verb, node)
            self.draw()
            return
        self._enable(False)
        done = loop.run_in_executor(self._thread, self._done, verb, node)
        done.add_done_callback(self._tell)

    def _done(self, verb: str, node: str) -> str:
        verbs = {"heal": lambda _: self.cluster.heal()}
        try:
            verbs.get(verb, getattr(self.cluster, verb, None))(node)
        except (KVLearnError, ValueError) as error:
            return str(error)
        return ""

    def _tell(self, done: asyncio.Future) -> None:
        self._enable(True)
        error = done.exception()
        self.told.value = done.result() if error is None else f"{type(error).__name__}: {error}"

    def _enable(self, enabled: bool) -> None:
        for button in self.buttons.values():
            button.disabled = not enabled

    def draw(self) -> None:
        """Show what the members have told by now."""
        self.picture.value = self._drawn() or self.picture.value

    def _drawn(self) -> str:
        """The picture, if there is news."""
        trace = self.cluster.trace
        if trace is self._shown:
            return ""
        self._shown = trace
        return self.cluster.picture().html()

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        took_s = 0.0
        while not self._closed and not self.cluster.closed:
            await asyncio.sleep(max(REST_S, REST * took_s))
            began = perf_counter()
            try:
                drawn = await loop.run_in_executor(self._thread, self._drawn)
            except (KVLearnError, ValueError, OSError) as error:
                self.told.value = f"no picture: {error}"
            else:
                self.picture.value = drawn or self.picture.value
            took_s = perf_counter() - began
        if self.cluster.closed:
            self._enable(False)
            self.told.value = "the cluster is closed"

    def close(self, *more: Any) -> None:
        """End the panel; the cluster goes on."""
        self._closed = True
        if self._task is not None:
            self._task.cancel()
        self._thread.shutdown(wait=False)
        super().close(*more)
