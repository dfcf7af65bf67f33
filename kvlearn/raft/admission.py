"""What a leader does not take into its log, and why.

An entry in the log is a promise to decide about it. So what cannot be decided soon, or must not be
proposed now, is refused at the door, and whoever asked hears why.

Source: etcd-io/raft raft.go (stepLeader, MsgProp); etcd server/etcdserver/server.go
(mayAddMember, mayRemoveMember, isLearnerReady). Differs: etcd puts an empty entry in the place of a
change of members that comes too early, and nobody hears why.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kvlearn.errors import ConfChangeError
from kvlearn.events import facts
from kvlearn.raft.confchange import GONE, VOTER, ConfChange, changed
from kvlearn.raft.rules import Rules
from kvlearn.raft.types import NodeId

Refusal = tuple[str, tuple]  # a reason code and its facts


def refusal_of(raft: Rules, data: Any) -> Refusal | None:
    """Why this leader does not take the proposal, or None if it does."""
    if raft.transferee is not None:
        return "TRANSFERRING", facts(to=raft.transferee)
    if not raft.conf.votes(raft.id):
        return "REMOVED", facts(conf=raft.conf)
    waiting, limit = raft.log.last_index - raft.log.committed, raft.config.max_uncommitted
    if waiting >= limit:
        return "TOO_MUCH_UNCOMMITTED", facts(waiting=waiting, limit=limit)
    return _refusal_of_change(raft, data) if isinstance(data, ConfChange) else None


def _refusal_of_change(raft: Rules, change: ConfChange) -> Refusal | None:
    if not raft.may_reconfigure():
        return "CHANGE_PENDING", facts(index=raft.conf_index, applied=raft.log.applied)
    try:
        changed(raft.conf, change)
    except ConfChangeError as error:
        return "CHANGE_WRONG", facts(why=error)
    for one in change.changes:
        if one.role == GONE and raft.config.strict_reconfig and (ill := _needed(raft, one.node)):
            return "UNHEALTHY", ill
        if one.role != VOTER or raft.conf.votes(one.node):
            continue
        if one.node in raft.conf.learners:
            match, last = raft.progress[one.node].match, raft.log.last_index
            if 10 * match < 9 * last:  # etcd's measure of being in sync
                return "LEARNER_BEHIND", facts(node=one.node, match=match, last=last)
        if raft.config.strict_reconfig and (silent := _silent(raft)):
            return "UNHEALTHY", silent
    return None


def _needed(raft: Rules, node: NodeId) -> tuple | None:
    """A silent voter, where those that are left without `node` would be no majority any more."""
    silent = [dict(known)["node"] for known in _all_silent(raft)]
    voters = [voter for voter in raft.conf.voters if voter != node]
    if not raft.conf.votes(node) or node in silent or 2 * len(silent) < len(voters):
        return None
    return _silent(raft)


def _silent(raft: Rules) -> tuple | None:
    """The first voter that has not answered for an election timeout, as facts."""
    return next(_all_silent(raft), None)


def _all_silent(raft: Rules) -> Iterator[tuple]:
    for voter in filter(raft.conf.votes, raft.peers):
        ticks = raft.now - raft.progress[voter].heard
        if ticks >= raft.config.election_ticks:
            yield facts(node=voter, ticks=ticks)
