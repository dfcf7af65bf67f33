"""A counter that every node keeps: what a put of one key makes of the key's version."""

from kvlearn.kv.requests import Put
from tests.stories.stage import KEY, Story


class Counter(Story):
    """A story about a counter."""

    def step(self, node: str | None = None) -> int:
        """Ask for one step, and do not wait; the operation's number."""
        request = Put(KEY, b"step", prev_kv=True)
        return self.cluster.submit(request, node or self.cluster.leader)

    def number(self, op_id: int) -> int:
        """Which step it was, as its client was told."""
        before = self.cluster.operation(op_id).answer.result.prev_kv
        return (before.version if before else 0) + 1

    def steps(self, count: int) -> list[int]:
        """Ask a leader for steps, each when the one before is done; their numbers as told."""
        told = []
        for _ in range(count):
            op_id = self.step()
            self.until(lambda: self.acknowledged(op_id))
            told.append(self.number(op_id))
        return told

    def counts(self, *names: str) -> list[int]:
        """What these nodes (or all) have counted."""
        stores = (self.cluster.nodes[name].store for name in names or self.names)
        pairs = (store.get(KEY) for store in stores)
        return [pair.version if pair else 0 for pair in pairs]
