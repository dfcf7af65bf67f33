"""Watch streams of a hand-cranked cluster: who listens to which node, and who does not read.

A stream is called `c1/w1` in the trace and `w1` where it is typed. What its node has to tell goes
out with the next thing that the node does, unless the stream is held back: then it waits at the
node, as it does for a client that is busy with other things.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kvlearn.kv.watches import Follow, WatchCancel, WatchCreate
from kvlearn.mvcc.watch import WatchResponse

if TYPE_CHECKING:
    from kvlearn.sim.bench import HandHost

CLIENT = "c1"  # whose streams they are


class HandStream:
    """One stream. `node` serves it, or none since that crashed; `follows`: how far the client has
    heard of each of its watchers."""

    def __init__(self, name: str, node: str):
        self.name = name
        self.node: str | None = node
        self.held = False
        self.heard: list[WatchResponse] = []  # all that came, oldest first
        self.follows: dict[int, Follow] = {}
        self._asked: list[WatchCreate] = []  # and not answered yet

    def asks(self, request: Any) -> None:
        """The client sends this."""
        if isinstance(request, WatchCreate):
            self._asked.append(request)
        elif isinstance(request, WatchCancel):
            self.follows.pop(request.watch_id, None)

    def takes(self, told: list[WatchResponse]) -> None:
        """The client hears this."""
        self.heard += told
        for response in told:
            if response.created and self._asked:
                self.follows[response.watch_id] = Follow(self._asked.pop(0))
            if follow := self.follows.get(response.watch_id):
                follow.take(response)
                if response.canceled:
                    del self.follows[response.watch_id]

    def again(self) -> list[WatchCreate]:
        """What to ask another node, so that it goes on where this one was."""
        wanted = [replace(follow.again, watch_id=id) for id, follow in self.follows.items()]
        wanted += self._asked
        self.follows, self._asked = {}, []
        return wanted


class HandStreams:
    """All streams, by the word that is typed."""

    def __init__(self) -> None:
        self.by_word: dict[str, HandStream] = {}

    def open(self, word: str, node: str) -> HandStream:
        """The stream of that word at that node. Raises: ValueError if another serves it."""
        stream = self.by_word.setdefault(word, HandStream(f"{CLIENT}/{word}", node))
        if stream.node is None:
            raise ValueError(f"the node that served {word} has crashed; `resume {word} {node}`")
        if stream.node != node:
            raise ValueError(f"{stream.node} serves {word}; another node takes another stream")
        return stream

    def known(self, word: str) -> HandStream:
        """Raises: ValueError for a word that no stream has."""
        if word not in self.by_word:
            known = ", ".join(self.by_word) or "none yet"
            raise ValueError(f"there is no stream {word!r}; there are: {known}")
        return self.by_word[word]

    def read(self, host: HandHost) -> None:
        """Take what a node has to tell to those who read."""
        for stream in self.by_word.values():
            if stream.node == host.name and not stream.held:
                while stream.name in host.node.hub.waiting:
                    stream.takes(host.node.hear(stream.name))

    def lost(self, node: str) -> None:
        """The node has crashed, and its streams with it."""
        for stream in self.by_word.values():
            if stream.node == node:
                stream.node = None
