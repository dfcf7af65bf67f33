"""List and watch: a copy of a part of the store, near at hand, that keeps itself up to date.

First a *list*: all pairs, and the revision R at which they were so. Then a *watch* from there: what
has changed since, in order, each change once. Together nothing is missed and nothing is told twice.
If the watch falls so far behind that the history it needs is compacted away, the informer lists
again and works out itself what has changed (*relist*). Kubernetes' controllers live on this;
`resourceVersion` there is the mod_revision here.

A copy is always a little old. So whoever writes says which version he has seen (`replace`), and the
store refuses what was decided on an older one: optimistic concurrency, no locks.

Source: kubernetes client-go tools/cache/reflector.go (ListAndWatch), shared_informer.go; etcd
api_guarantees (watch). Differs: one thread, so handlers are called by `poll` and `wait`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kvlearn.errors import Compacted, TimedOut, Unavailable, WatchCanceled
from kvlearn.kv.requests import KeyValue, as_bytes, prefix_range
from kvlearn.recipes.line import PAUSE_S
from kvlearn.words import mod_revision, put

ADD, UPDATE, DELETE, RESYNC = "add", "update", "delete", "resync"
PAGE = 500  # pairs of one answer while it lists


@dataclass(frozen=True, slots=True)
class Change:
    """What became of a key: `new` is None for a delete, `old` for an add. `kind` is add, update,
    delete or resync (nothing has changed). `revision` is the store's when it was so."""

    kind: str
    new: KeyValue | None
    old: KeyValue | None
    revision: int

    @property
    def key(self) -> str:
        return (self.new or self.old).key_text

    def __str__(self) -> str:
        return f"{self.kind} {self.new or self.key} at {self.revision}"


class Informer:
    """A cache of all keys that begin with `prefix`, and handlers of what changes.

    Promised: `cache` is the store as it was at `revision`, whenever `poll` has returned; changes of
    a key come in order. Not promised: every change, since after a relist only the outcome is known;
    a key that went and came back in between is an update.

    Handlers are called with one change each, after the cache has taken it. If one raises, `poll`
    does, and the next `poll` goes on behind that change.

    >>> from kvlearn import Cluster
    >>> client = Cluster(3, seed=7).client()
    >>> informer = Informer(client, "pod/", on_add=lambda change: print(change))
    >>> _ = client.put("pod/a", "new"), informer.wait()
    add pod/a=new at 2
    >>> informer.replace("pod/a", "bound"), informer.replace("pod/a", "old news")
    (True, False)
    """

    def __init__(
        self,
        client: Any,
        prefix: str | bytes,
        on_add: Callable[[Change], Any] | None = None,
        on_update: Callable[[Change], Any] | None = None,
        on_delete: Callable[[Change], Any] | None = None,
        resync_s: float = 0.0,
        page: int = PAGE,
    ):
        self.prefix = as_bytes(prefix)
        self.cache: dict[bytes, KeyValue] = {}
        self.revision = 0  # of the store that the cache is a copy of; 0: nothing was listed yet
        self.lists = 0  # how often it has listed
        self.watcher: Any = None
        self._client = client
        self._handlers = {ADD: on_add, UPDATE: on_update, DELETE: on_delete, RESYNC: on_update}
        self._due: deque[tuple[str, KeyValue | None, bytes, int]] = deque()
        self._heard = 0
        self._listed = 0  # the revision of the last list
        self._resumed = 0  # how often the watch went on elsewhere without a loss
        self._page = page
        self._resync_s = resync_s
        self._resynced = client.channel.now()

    def __getitem__(self, key: str | bytes) -> KeyValue:
        return self.cache[as_bytes(key)]

    def __contains__(self, key: str | bytes) -> bool:
        return as_bytes(key) in self.cache

    def __len__(self) -> int:
        return len(self.cache)

    # Following --------------------------------------------------------------------------------

    def poll(self) -> list[Change]:
        """Take what is new, tell the handlers, and return it. Waits for nobody; but it lists if it
        has not yet, or has to again. Raises: TimedOut, Unavailable while it lists."""
        if self.watcher is not None:
            heard = self.watcher.revision
            self._take(self.watcher.events())
            if self._was_cut() or self.watcher.canceled:  # last: a real stream goes on meanwhile
                self.close()
            else:
                self._heard = max(self._heard, heard)
        changes = self._hand_out()
        if self.watcher is None:
            self._list()
            changes += self._hand_out()
        if self._resync_s and self._client.channel.now() >= self._resynced + self._resync_s:
            changes += self.resync()
        return changes

    def wait(
        self, until: Callable[[Informer], Any] | None = None, timeout_s: float = 5.0
    ) -> list[Change]:
        """Follow until something changes, or until `until(informer)` is true; what changed.

        Raises: TimedOut.
        """
        channel = self._client.channel
        give_up = channel.now() + timeout_s
        changes: list[Change] = []
        while True:
            try:
                changes += self.poll()
            except (Unavailable, TimedOut):
                pass  # it could not list: try again
            if until(self) if until else changes:
                return changes
            left = give_up - channel.now()
            if left <= 0:
                raise TimedOut("what was waited for did not come in time")
            self._listen(left)

    def _listen(self, timeout_s: float) -> None:
        if self.watcher is None:
            self._client.channel.wait(min(timeout_s, PAUSE_S))
            return
        try:
            self._take([self.watcher.recv(timeout_s)])
        except (TimedOut, Compacted, WatchCanceled):
            pass  # poll finds out

    def _was_cut(self) -> bool:
        """Whether the watch went on elsewhere, and a compaction since what was heard last may have
        taken a deletion before it was told."""
        resumed = self.watcher.resumed
        if resumed == self._resumed:
            return False
        try:
            options = dict(revision=self.revision, limit=1, keys_only=True)
            self._client.get(self.prefix, prefix=True, **options)
        except Compacted:
            return True
        self._resumed = resumed
        return False

    def _take(self, events: Iterable[Any]) -> None:
        for event in events:
            kv = event.kv
            if kv.mod_revision <= self._listed:
                continue
            new = kv if event.type == "put" else None
            self._due.append(("", new, kv.key, kv.mod_revision))
            self._heard = max(self._heard, kv.mod_revision)

    def _hand_out(self) -> list[Change]:
        changes = []
        while self._due:
            kind, new, key, revision = self._due.popleft()
            old = self.cache.pop(key, None)
            if new is not None:
                self.cache[key] = new
            if old is None and new is None:
                continue
            what = kind or (DELETE if new is None else UPDATE if old else ADD)
            change = Change(what, new, old, revision)
            changes.append(change)
            if handler := self._handlers[what]:
                handler(change)
        self.revision = max(self.revision, self._heard)
        return changes

    # Listing ----------------------------------------------------------------------------------

    def _list(self) -> None:
        pairs, revision = self._read_all()
        self.lists += 1
        found = {kv.key: kv for kv in pairs}
        for key in sorted(self.cache.keys() - found.keys()):
            self._due.append((DELETE, None, key, revision))
        for kv in pairs:
            if self.cache.get(kv.key) != kv:
                self._due.append(("", kv, kv.key, revision))
        self._heard = revision
        # Not from behind it: what a compaction at the very next revision took would not be missed.
        self._listed, self._resumed = revision, 0
        self.watcher = self._client.watch(self.prefix, prefix=True, start_revision=revision)

    def _read_all(self) -> tuple[list[KeyValue], int]:
        """All pairs as they were at one revision, page by page."""
        start, end = prefix_range(self.prefix)
        while True:
            pairs: list[KeyValue] = []
            revision, key = 0, start
            try:
                while True:
                    reply = self._client.get(key, end, revision=revision, limit=self._page)
                    revision = revision or reply.header.revision
                    pairs += reply.kvs
                    if not reply.more:
                        return pairs, revision
                    key = pairs[-1].key + b"\0"
            except Compacted:
                pass  # between two pages: begin again

    def resync(self) -> list[Change]:
        """Tell the update handler of every pair in the cache, as if it had changed: a controller
        that has missed to act gets another chance. Nothing is asked of the cluster."""
        self._resynced = self._client.channel.now()
        for key, kv in sorted(self.cache.items()):
            self._due.append((RESYNC, kv, key, self.revision))
        return self._hand_out()

    # Writing ----------------------------------------------------------------------------------

    def replace(self, key: str | bytes, value: str | bytes) -> bool:
        """Write `key` if it is still as the cache has it, or still missing if the cache has none.

        Returns whether it was written; if not, the cache is old: poll and decide anew. Raises:
        TimedOut if nobody knows; asking again is harmless, since it then is no longer as it was.
        """
        seen = self.cache.get(as_bytes(key))
        known = seen.mod_revision if seen else 0
        txn = self._client.txn().if_(mod_revision(key) == known).then(put(key, value))
        return txn.commit().succeeded

    def close(self) -> None:
        """Watch no longer; the cache stays as it is."""
        if self.watcher is not None:
            self.watcher.cancel()
            self.watcher = None

    def __enter__(self) -> Informer:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        prefix = self.prefix.decode(errors="replace")
        return f"<Informer {prefix}*: {len(self.cache)} keys at revision {self.revision}>"

    def _repr_html_(self) -> str:
        from html import escape

        rows = "".join(
            f"<tr><td>{escape(kv.key_text)}</td><td>{escape(kv.text)}</td>"
            f"<td>{kv.mod_revision}</td></tr>"
            for _, kv in sorted(self.cache.items())
        )
        head = "<tr><th>key</th><th>value</th><th>mod_revision</th></tr>"
        return f"<table>{head}{rows}</table><small>as of revision {self.revision}</small>"
