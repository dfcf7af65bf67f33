"""Raft: how a few machines agree on one log, although each of them may stop at any moment.

The problem. Several nodes shall carry out the same commands in the same order. Messages between
them may be late, lost, doubled or overtaken; a node may stop and come back with what its disk
holds; nobody lies. As long as a majority runs and can talk, work goes on.

The idea. Time is cut into *terms*, numbered upwards, with at most one *leader* each. The leader
puts commands into its log and has the others copy it. An entry that is on a majority is
*committed*: it is never lost again, because whoever wants to lead needs a majority's votes, any two
majorities share a member, and that member votes only for a log at least as up-to-date as its own.

The seam. This package has no clock, no disk and no network. What holds it, the host, calls in:

    raft.tick(n)                 n ticks of the clock have passed
    raft.step(message)           a message arrived
    raft.propose(data)           somebody wants `data` in the log
    raft.read_index(context)     somebody wants to read, and to be sure

and then does what `raft.ready()` says, in this order:

    1  save ready.snapshot, ready.entries and ready.hard_state; wait until they are durable
    2  send ready.messages       (those that promise nothing, `after_save` false, may leave at 1)
    3  apply ready.committed     and serve ready.reads
    4  raft.advance(ready)

A cluster of one, turned by hand:

>>> from random import Random
>>> story = []
>>> raft = Raft("n1", ConfState(voters=("n1",)), RaftConfig(), Random(7), emit=story.append)
>>> raft.tick(20)                     # no leader is heard: it votes for itself
>>> raft.role, raft.term
('candidate', 1)
>>> raft.advance(raft.ready())        # its vote is on the disk: a majority of one
>>> raft.role, raft.term
('leader', 1)
>>> raft.propose("x=1")
>>> ready = raft.ready()
>>> [str(entry) for entry in ready.entries], ready.committed
(['1@1(no-op)', '2@1(x=1)'], ())
>>> raft.advance(ready)               # its disk has them, and again that is a majority
>>> [str(entry) for entry in raft.ready().committed]
['1@1(no-op)', '2@1(x=1)']

The map, in the order of reading:

    types.py      term, index, entry 7@2, what must be on disk
    messages.py   what nodes say to each other
    quorum.py     majorities, as arithmetic
    log.py        one list, three cursors
    progress.py   what a leader knows of a follower
    reads.py      how reads share a round
    config.py     how patient a node is
    confchange.py changes of the membership, as arithmetic
    rules.py      what a node knows, and the rules: what safety hangs on
    admission.py  what a leader does not take
    raft.py       all of it together: what a node does

Source: Ongaro, Ousterhout: In Search of an Understandable Consensus Algorithm (extended version),
here "paper"; Ongaro: Consensus: Bridging Theory and Practice, here "thesis"; etcd-io/raft.
"""

from kvlearn.raft.config import RaftConfig
from kvlearn.raft.raft import Raft
from kvlearn.raft.types import ConfState, Entry, EntryID, HardState, ReadState, Ready

__all__ = ["ConfState", "Entry", "EntryID", "HardState", "Raft", "RaftConfig", "ReadState", "Ready"]
