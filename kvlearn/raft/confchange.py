"""Changes of the membership, as arithmetic on values.

One voter more or less at a time is a *simple* change: a majority of the old voters and one of the
new share a member, so nobody can lead without the others' knowing. Larger changes go through a
*joint* configuration, in which both majorities must agree:

```
   (n1 n2 n3)  -- +n4 -n1 -->  (n2 n3 n4)&&(n1 n2 n3)  -- leave -->  (n2 n3 n4)
      simple                          joint                             simple
```

>>> three = ConfState(("n1", "n2", "n3"))
>>> print(changed(three, ConfChange((Change("n4"),))))
(n1 n2 n3 n4)
>>> joint = changed(three, ConfChange((Change("n4"), Change("n1", GONE))))
>>> print(joint)
(n2 n3 n4)&&(n1 n2 n3) auto-leave
>>> print(changed(joint, ConfChange()))
(n2 n3 n4)

Source: paper section 6; thesis 4.1, 4.3; etcd-io/raft confchange/confchange.go.
"""

from __future__ import annotations

from typing import Any

from kvlearn.errors import ConfChangeError
from kvlearn.raft.types import ConfState, NodeId
from kvlearn.values import value

VOTER, LEARNER, GONE = "voter", "learner", "gone"
AUTO, IMPLICIT, EXPLICIT = "auto", "implicit", "explicit"
_SIGNS = {VOTER: "+", LEARNER: "~", GONE: "-"}


@value
class Change:
    """What `node` shall be. Prints `+n4` (voter), `~n4` (learner), `-n4` (no member)."""

    node: NodeId
    role: str = VOTER

    def __str__(self) -> str:
        return f"{_SIGNS[self.role]}{self.node}"


@value
class ConfChange:
    """What a log entry holds that changes the membership; without changes it leaves a joint one.

    `transition`: AUTO is simple where one change allows it and joint otherwise; IMPLICIT is joint,
    and the leader leaves it by itself; EXPLICIT is joint until somebody proposes to leave it.
    `asked` is opaque to Raft: who waits for the answer.
    """

    changes: tuple[Change, ...] = ()
    transition: str = AUTO
    asked: Any = None

    def __str__(self) -> str:
        how = "" if self.transition == AUTO else f" ({self.transition})"
        return " ".join(map(str, self.changes)) + how if self.changes else "leave joint"


def changed(conf: ConfState, change: ConfChange) -> ConfState:
    """The configuration after the change.

    Raises: ConfChangeError for what would leave no voter, or does not fit a joint configuration.
    """
    if not change.changes:
        return _left(conf)
    if conf.outgoing:
        raise ConfChangeError("JOINT", f"{conf} is joint: leave it before the next change")
    joint = change.transition != AUTO or len(change.changes) > 1
    outgoing = conf.voters if joint else ()
    voters, learners, following = set(conf.voters), set(conf.learners), set[NodeId]()
    for one in change.changes:
        for group in (voters, learners, following):
            group.discard(one.node)
        if one.role == VOTER:
            voters.add(one.node)
        elif one.role == LEARNER:
            # Whoever still votes in the outgoing half cannot be a learner yet.
            (following if one.node in outgoing else learners).add(one.node)
    if not voters:
        raise ConfChangeError("NO_VOTERS", "at least one voter must remain")
    auto_leave = joint and change.transition != EXPLICIT
    return ConfState(*map(_sorted, (voters, outgoing, learners, following)), auto_leave)


def _left(conf: ConfState) -> ConfState:
    if not conf.outgoing:
        raise ConfChangeError("NOT_JOINT", f"{conf} is not joint: there is nothing to leave")
    return ConfState(conf.voters, (), _sorted({*conf.learners, *conf.learners_next}))


def _sorted(nodes) -> tuple[NodeId, ...]:
    return tuple(sorted(nodes))
