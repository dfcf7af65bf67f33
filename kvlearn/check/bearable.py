"""What a cluster can bear: which losses and changes of members break no promise by themselves.

A crash, a pause, a cut are always bearable: Raft promises what it promises in spite of them. A
lost disk is another thing. The node has answered for entries and votes that it knows no more, so
coming back under its name it would break every promise, and no rule of Raft could help. What an
operator does instead is in order here, and all else is not:

```
  wipe n3          while a majority of the voters still has its disks, and runs
  remove n3        committed by that majority; no other change of members before it
  add_node n3      when nobody counts by n3 any more, and nothing of its old life is on its way;
                   else another name takes its place (etcd: always: a new member has a new number)
  add n3, promote  like any new member
```

>>> from kvlearn.sim import Cluster
>>> cluster = Cluster(3, seed=7)
>>> objection(cluster, set(), "wipe", "n3")
''
>>> cluster.wipe("n3")
>>> objection(cluster, {"n3"}, "restart", "n3")
'n3 has lost its disk: it would break what it promised before'
>>> objection(cluster, {"n3"}, "wipe", "n2")
'without n2 no majority of n1 n2 n3 has its disks and runs'

Source: etcd's "Disaster recovery" and "Runtime reconfiguration" guides (replace a failed machine).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kvlearn.kv.members import CHANGES, MemberChange, MemberRemove
from kvlearn.raft.confchange import ConfChange
from kvlearn.raft.messages import ForwardProposal
from kvlearn.raft.types import ConfState
from kvlearn.sim.cluster import Cluster


def objection(cluster: Cluster, lost: set[str], verb: str, *arguments: Any) -> str:
    """Why this must not be done to the cluster, in which the nodes `lost` have lost their disks;
    empty if it may."""
    match verb, *arguments:
        case "restart", name if name in lost:
            return f"{name} has lost its disk: it would break what it promised before"
        case "wipe", name:
            return _against_wipe(cluster, lost, name)
        case "add_node", name, *_ if name in lost:
            return _against_return(cluster, name)
        case "ask", _, _, _, request if isinstance(request, CHANGES):
            return _against_change(cluster, lost, request)
    return ""


def _against_wipe(cluster: Cluster, lost: set[str], name: str) -> str:
    """Would there still be a majority?"""
    if name in lost:
        return f"{name} has lost its disk already"
    if pending(cluster):
        return "a change of members is not applied everywhere yet"
    nodes, conf = cluster.nodes, membership(cluster)
    able = {n for n, node in nodes.items() if n != name and node.alive and not node.paused}
    for voters in filter(None, (conf.voters, conf.outgoing)):
        if name in voters and 2 * len(able.intersection(voters)) <= len(voters):
            return f"without {name} no majority of {' '.join(voters)} has its disks and runs"
    return ""


def _against_return(cluster: Cluster, name: str) -> str:
    """Has the world forgotten the node's old life?"""
    running = [node for node in cluster.nodes.values() if node.alive]
    if not running or name in max(running, key=lambda node: node.applied).conf.members:
        return f"nobody who runs knows that {name} was removed"
    for other, node in cluster.nodes.items():
        if other == name or not (node.log or node.base.index):
            continue  # it has nothing to tell
        if name in node.conf.members:
            return f"{other} still takes {name} for a member"
        if node.paused:
            return f"{other} is paused, and may find mail of the old {name} when it goes on"
    if any(name in (p.message.source, p.message.target) for p in cluster.in_flight):
        return f"a packet of the old {name} is on its way"
    return ""


def _against_change(cluster: Cluster, lost: set[str], request: Any) -> str:
    """While a lost disk counts, every change but the removal may take the majority away."""
    members = membership(cluster).members
    removes = isinstance(request, MemberRemove)
    if request == MemberChange():
        return ""  # to leave a joint configuration takes nobody's vote that counts later
    if lost.intersection(members) and not (removes and request.name in lost):
        return "a member that has lost its disk has to go first"
    if removes:
        return ""
    for name in named(request):
        if name in lost or name not in cluster.nodes:
            return f"{name} does not run, and cannot become a member"
    return ""


def named(request: Any) -> tuple[str, ...]:
    """The nodes that a request would make members."""
    if hasattr(request, "name"):
        return (request.name,)
    return (*request.add, *request.learners)


def membership(cluster: Cluster) -> ConfState:
    """The newest membership that any node counts by, running or not."""
    return max(cluster.nodes.values(), key=lambda node: node.applied).conf


def pending(cluster: Cluster) -> bool:
    """Whether a change of members may be under way that some node does not count by yet."""
    if any(node.paused for node in cluster.nodes.values()):
        return True  # nobody knows what is in its mail
    for packet in cluster.in_flight:
        message = packet.message
        if isinstance(message, ForwardProposal) and isinstance(message.data, ConfChange):
            return True
    return any(one for node in cluster.nodes.values() for one in changes_in(node, node.applied))


def changes_in(node: Any, after: int = 0) -> Iterator[ConfChange]:
    """The changes of members in a node's log behind index `after`."""
    for entry in node.log[max(0, after - node.base.index) :]:
        if isinstance(entry.data, ConfChange):
            yield entry.data
