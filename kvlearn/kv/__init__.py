"""What can be asked of the store, and how the log carries it out.

Raft agrees on a log of commands and does not look into them; the store keeps versions and knows
nothing of nodes. This package stands between the two. `requests.py` has the words that clients,
logs and traces share, with etcd's field names; `machine.py` takes committed commands, one by one,
and does to the store what they say.

Three rules keep all nodes equal. Commands are applied in the order of the log. The outcome of each,
a refusal too, depends on the log alone: not on the time, not on who was asked. And how far the log
was applied is stored together with what it wrote, so that no crash makes a node do a thing twice.

The map, in the order of reading:

    requests.py    put, range, delete, and their answers
    txn.py         comparisons and operations that are carried out as one
    leases.py      requests about leases and compaction; what only the leader's clock can answer
    watches.py     what a stream of watches asks, and how a client follows one
    members.py     requests about who is a member
    auth.py        users, roles, and which keys a role may read or write
    upkeep.py      how a node is: status, hash, alarms
    kinds.py       which way a request goes
    machine.py     what the log does to the store and to the leases
    chores.py      what time alone makes a node do
    config.py      the limits

Source: etcd api/etcdserverpb/rpc.proto, server/etcdserver/apply.
"""

from kvlearn.kv.machine import KVMachine
from kvlearn.kv.requests import (
    Answer, Command, DeleteRange, DeleteResult, Header, Put, PutResult, Range, RangeResult,
)  # fmt: skip
from kvlearn.mvcc.revision import KeyValue

__all__ = [
    "Answer",
    "Command",
    "DeleteRange",
    "DeleteResult",
    "Header",
    "KVMachine",
    "KeyValue",
    "Put",
    "PutResult",
    "Range",
    "RangeResult",
]
