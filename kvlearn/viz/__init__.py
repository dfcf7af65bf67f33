"""Pictures and panels: the story of a run, drawn.

Every picture is a function of the trace and of a place in it, nothing else:

    trace ──fold──▶ Moment ──draw──▶ Svg

A `Moment` is everything that can be seen after one record: roles, terms, logs, timers, messages on
their way. It is folded from the records alone, so the same function draws a simulated run, a run of
real processes and a trace that was loaded from a file, and stepping back is drawing an earlier
moment. An `Svg` shows itself in a page (where it follows the theme), in a file (on its own card),
and as text, with the same facts.

    picture(cluster)              ring and logs together: what a bare `cluster` shows
    ring(cluster)                 the nodes, their roles and timers, and the messages between them
    logs(cluster)                 what each node has in its log, and what of it is committed
    spacetime(cluster)            who told whom what and when
    lanes(cluster)                which client asked what when, and what it was told
    lanes(check.linearizable(cluster))   the same with the order that explains every answer
    states(cluster)               the role state machine, with the transitions that this run took
    quorums(5), meetings(5)       majorities as sets that must meet
    revisions(cluster)            the store's history: a lane a key, revisions from left to right
    trees(cluster)                its two trees: key -> revisions, and revision -> record in pages
    streams(cluster)              watches: what each was told, and how far it is
    leases(cluster)               how much time is left, which keys hang on it, and how it came so
    fork(cluster)                 the last transaction: what it saw and which branch it took
    members(cluster)              who is a member, how far each is, and how it came to be so
    verdicts(cluster)             a lamp for every promise, and the event that broke it
    causes(trace, 42)             what had to happen so that record 42 could, as a graph
    why(trace, 42)                why record 42 happened: one sentence, the rule and its section
    read_paths(paths)             what reads set in motion, side by side, and `read_costs` its table
    ladder(), availability()      how many nodes may be down, and how often no majority is up
    ring(trace, at=2.5)           the same at 2.5 s; `seq=` takes a record's number

One language for all: a node is a disc whose ring tells its role, a term has a colour and a number,
committed is a solid edge and not committed a dashed one, a message is a dot or an arrow, lost ones
are dashed and end in a cross. `theme.py` holds colours and sizes, for the panels' JavaScript too.

What to read: `moment.py` and `fold.py` (the fold), then `ring.py` (a picture), then `svg.py` (what
a picture is).
"""

from __future__ import annotations

# Here and now, not when first asked for: modules and functions share their names, and the function
# must win. The panels need a widget library and are loaded by whoever wants them.
from kvlearn.viz.causes import causes
from kvlearn.viz.compare import Difference, compare
from kvlearn.viz.dot import Graph, render_dot
from kvlearn.viz.forks import fork, fork_now
from kvlearn.viz.lanes import lanes
from kvlearn.viz.leases import leases
from kvlearn.viz.logs import logs
from kvlearn.viz.members import members
from kvlearn.viz.moment import Moment, Timeline
from kvlearn.viz.picture import picture
from kvlearn.viz.quorums import availability, downtime, ladder, meetings, quorums
from kvlearn.viz.reads import ReadPath, read_costs, read_paths
from kvlearn.viz.revisions import revisions
from kvlearn.viz.ring import ring
from kvlearn.viz.spacetime import spacetime
from kvlearn.viz.states import states
from kvlearn.viz.store_fold import StoreMoment, look_store
from kvlearn.viz.streams import streams
from kvlearn.viz.svg import Svg
from kvlearn.viz.trees import trees, trees_dot
from kvlearn.viz.verdicts import lamps, verdicts
from kvlearn.viz.why import Why, why

__all__ = [
    "Difference",
    "Graph",
    "Moment",
    "ReadPath",
    "StoreMoment",
    "Svg",
    "Timeline",
    "Why",
    "availability",
    "causes",
    "compare",
    "downtime",
    "fork",
    "fork_now",
    "ladder",
    "lamps",
    "lanes",
    "leases",
    "logs",
    "look_store",
    "meetings",
    "members",
    "picture",
    "quorums",
    "read_costs",
    "read_paths",
    "render_dot",
    "revisions",
    "ring",
    "spacetime",
    "states",
    "streams",
    "trees",
    "trees_dot",
    "verdicts",
    "why",
]
