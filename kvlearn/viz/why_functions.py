"""Which function did what no rule decides: a record of the store, a message, a step of the core.

A rule weighs something and could have decided otherwise; a function carries out what follows. Its
code can be shown all the same, under a name with a dot.

>>> sorted(FUNCTIONS)[:3]
['Compare.holds', 'KVMachine.apply', 'KeyIndex.find']
>>> function_named("Store.compact").__name__
'compact'
"""

from __future__ import annotations

from typing import Any

from kvlearn import events as ev
from kvlearn.kv import txn
from kvlearn.kv.machine import KVMachine
from kvlearn.kv.txn import Compare
from kvlearn.lease import Lessor
from kvlearn.mvcc.key_index import KeyIndex
from kvlearn.mvcc.store import Store
from kvlearn.mvcc.watch import WatchHub
from kvlearn.raft import admission
from kvlearn.raft import messages as msg
from kvlearn.raft.raft import Raft

_OWNERS: dict[str, Any] = {
    **{one.__name__: one for one in (Raft, KVMachine, Store, KeyIndex, Compare, Lessor, WatchHub)},
    "txn": txn,
    "admission": admission,
}

# A function -> the section that speaks of what it does.
FUNCTIONS: dict[str, str] = {
    "KeyIndex.put": "etcd mvcc",
    "KeyIndex.tombstone": "etcd mvcc",
    "KeyIndex.find": "etcd mvcc",
    "Store.compact": "etcd mvcc",
    "Store.readable": "etcd mvcc",
    "Compare.holds": "etcd api",
    "txn.choose": "etcd api",
    "KVMachine.apply": "Raft paper, section 5.3",
    "Lessor.started": "etcd lessor",
    "WatchHub.create": "etcd api",
    "WatchHub.cancel": "etcd api",
    "WatchHub.close": "etcd api",
    "Raft._abort_transfer": "thesis 3.10",
    "Raft._answer_old": "Raft paper, section 5.1",
    "Raft._append_own": "Raft paper, section 5.3",
    "Raft._ask_voters": "Raft paper, section 5.2",
    "Raft._broadcast_heartbeat": "Raft paper, section 5.2",
    "Raft._can_stand": "etcd raft",
    "Raft._count_by": "thesis 4.1",
    "Raft._hand_over": "thesis 3.10",
    "Raft._hear": "Raft paper, section 5.2",
    "Raft._on_append": "Raft paper, section 5.3",
    "Raft._on_append_response": "Raft paper, section 5.3",
    "Raft._on_forward": "Raft paper, section 8",
    "Raft._on_heartbeat": "Raft paper, section 5.2",
    "Raft._on_request_vote": "Raft paper, section 5.2",
    "Raft._on_snapshot": "Raft paper, section 7",
    "Raft._on_vote_response": "Raft paper, section 5.2",
    "Raft._send_append": "Raft paper, section 5.3",
    "Raft._send_snapshot": "Raft paper, section 7",
    "Raft._serve_read": "thesis 6.4",
    "Raft._settle_terms": "Raft paper, section 5.1",
    "Raft._stand": "Raft paper, section 5.2",
    "Raft.campaign": "thesis 9.6",
    "Raft.compact": "Raft paper, section 7",
    "Raft.forget_leader": "etcd raft",
    "Raft.propose": "Raft paper, section 8",
    "Raft.read_index": "thesis 6.4",
    "Raft.transfer_leadership": "thesis 3.10",
    "admission.refusal_of": "etcd raft",
    "admission._refusal_of_change": "thesis 4.1",
}

# An event, a reason code or a message that no rule decides -> the function that made it.
DONE_BY: dict[type | str, str] = {
    "TERM_OLD": "Raft._answer_old",
    "HIGHER_TERM": "Raft._settle_terms",
    "LEADER_HEARD": "Raft._hear",
    "LEADER_FORGOTTEN": "Raft.forget_leader",
    "REMOVED": "Raft._count_by",
    "TRANSFER_ABORTED": "Raft._abort_transfer",
    "NOT_MEMBER": "Raft._can_stand",
    "CHANGE_UNAPPLIED": "Raft._can_stand",
    "TRANSFERRING": "admission.refusal_of",
    "TOO_MUCH_UNCOMMITTED": "admission.refusal_of",
    "CHANGE_WRONG": "admission._refusal_of_change",
    "LEARNER_BEHIND": "admission._refusal_of_change",
    "UNHEALTHY": "admission._refusal_of_change",
    ev.BecameCandidate: "Raft._stand",
    ev.AskedPreVote: "Raft.campaign",
    ev.TransferStarted: "Raft.transfer_leadership",
    ev.TransferAborted: "Raft._abort_transfer",
    ev.ConfChanged: "Raft._count_by",
    ev.LogCompacted: "Raft.compact",
    ev.Progressed: "Raft._on_append_response",
    ev.Applied: "KVMachine.apply",
    ev.StreamClosed: "WatchHub.close",
    msg.RequestVote: "Raft._ask_voters",
    msg.VoteResponse: "Raft._on_request_vote",
    msg.AppendEntries: "Raft._send_append",
    msg.AppendResponse: "Raft._on_append",
    msg.Heartbeat: "Raft._broadcast_heartbeat",
    msg.HeartbeatResponse: "Raft._on_heartbeat",
    msg.ForwardProposal: "Raft.propose",
    msg.ProposalRefused: "Raft._on_forward",
    msg.ReadIndex: "Raft.read_index",
    msg.ReadIndexResponse: "Raft._serve_read",
    msg.TransferLeader: "Raft.transfer_leadership",
    msg.TimeoutNow: "Raft._hand_over",
    msg.InstallSnapshot: "Raft._send_snapshot",
    msg.SnapshotResponse: "Raft._on_snapshot",
}


def function_named(name: str) -> Any:
    """The function. Raises: KeyError for a name that is none of `FUNCTIONS`."""
    if name not in FUNCTIONS:
        raise KeyError(f"no rule and no function is called {name!r}")
    owner, _, method = name.partition(".")
    return getattr(_OWNERS[owner], method)
