"""A cluster in virtual time: everything real but clock, disk and network, which are data here.

The nodes are the same as those of a real cluster. What surrounds them is simulated, so that a
second lasts a millisecond, every fault can be had at the wanted instant, and the same seed tells
the same story twice.

```
clock.py    virtual time: one queue of data        network.py  packets, links, cuts
disk.py     fsync, torn tails                      host.py     the four lines around a node
desk.py     where clients ask                      cluster.py  the whole, with its verbs
clients.py  watches and leases go on               verbs.py    what a verb does

journal.py  a run, written down: live it again     sharing.py  a run as a short code
branches.py runs by name, in a file                squeeze.py  few bits for what is expected
told.py     values in a code

bench.py    a cluster that is cranked by hand      script.py   transcripts of it: play, diff
commands.py what a transcript can say              telling.py  how it tells what happened
```

Source: the idea is FoundationDB's; Ongaro's thesis, chapter 8 and RaftScope, for Raft.
"""

from kvlearn.sim.branches import load_branches, save_branches
from kvlearn.sim.cluster import Cluster
from kvlearn.sim.desk import Operation
from kvlearn.sim.journal import Journal
from kvlearn.sim.network import Links, Packet

__all__ = ["Cluster", "Journal", "Links", "Operation", "Packet", "load_branches", "save_branches"]
