"""A cluster in virtual time: everything real but clock, disk and network, which are data here.

The nodes are the same as those of a real cluster. What surrounds them is simulated, so that a
second lasts a millisecond, every fault can be had at the wanted instant, and the same seed tells
the same story twice.

```
clock.py    virtual time: one queue of data        network.py  packets, links, cuts
disk.py     fsync, torn tails                      host.py     the four lines around a node
desk.py     where clients ask                      cluster.py  the whole, with its verbs

bench.py    a cluster that is cranked by hand      script.py   transcripts of it: play, diff
commands.py what a transcript can say              telling.py  how it tells what happened
```

Source: the idea is FoundationDB's; Ongaro's thesis, chapter 8 and RaftScope, for Raft.
"""

from kvlearn.sim.cluster import Cluster
from kvlearn.sim.desk import Operation
from kvlearn.sim.network import Links, Packet

__all__ = ["Cluster", "Links", "Operation", "Packet"]
