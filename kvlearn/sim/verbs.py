"""What a hand can do to a simulated cluster, carried out: nothing is looked at twice.

`Cluster` has a method for each verb, which refuses what makes no sense; then the verb goes into the
journal, as data, and here it is carried out. A run that is lived again comes straight here.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from kvlearn.events import LinksChanged
from kvlearn.raft.raft import Raft
from kvlearn.raft.types import ConfState
from kvlearn.sim.clock import VirtualClock

if TYPE_CHECKING:
    from kvlearn.sim.cluster import Cluster

HAND_S = 1e-6  # what one verb takes, in virtual seconds
CLIENT_VERBS = {"open_stream", "ask_stream", "close_stream", "hold_stream", "keep", "unkeep"}
CLIENT_VERBS |= {"pause_client", "resume_client", "end_client"}
WIRE_VERBS = {"partition", "isolate", "cut", "heal", "links", "drop", "deliver", "delay"}
WIRE_VERBS |= {"duplicate"}


def after_hand(clock: VirtualClock) -> float:
    """When a verb is done that a hand begins now, in virtual seconds.

    A hand is not infinitely quick: so `rewind(cluster.now)`, read before, undoes the verb. But
    nothing happens meanwhile, or the packet that was to be dropped might arrive.
    """
    gap = clock.queue[0][0] - clock.now if clock.queue else inf
    return clock.now + min(HAND_S, gap / 2)


def carry_out(cluster: Cluster, verb: str, arguments: tuple) -> Any:
    """Do to the cluster what the verb says; what it gives back is the verb's own."""
    if verb in ("ask", "give_up"):
        return _serve(cluster, verb, arguments)
    if verb in CLIENT_VERBS:
        return cluster._clients.do(verb, *arguments)
    if verb in WIRE_VERBS:
        return _rewire(cluster, verb, arguments)
    if verb == "add_node":
        return _start_fresh(cluster, *arguments)
    host = cluster._hosts[arguments[0]]
    match verb:
        case "crash":
            host.crash()
        case "restart":
            host.start(None)
        case "pause":
            host.pause()
        case "resume":
            host.resume()
        case "wipe":
            host.wipe()
        case "campaign" | "forget_leader":
            getattr(host, verb)()
        case "compact":
            host.compact(arguments[1])
        case "set_rate":
            host.set_rate(arguments[1])
            cluster.trace.add(
                cluster.now, host.name, LinksChanged("clock rate", arguments[1]), None
            )
        case "set_fsync":
            host.disk.fsync_s = arguments[1]
            cluster.trace.add(cluster.now, host.name, LinksChanged("fsync_s", arguments[1]), None)


def _start_fresh(cluster: Cluster, name: str, learner: bool) -> None:
    founders = cluster._founders.voters
    new = learner and name not in founders
    conf = ConfState(founders, learners=(name,) if new else ())
    known = cluster._hosts.get(name)
    raft = known.raft if known else cluster._made_with[3]
    kind = raft.get(name, Raft) if isinstance(raft, dict) else raft
    life = f"/{len(cluster._done)}" if known else ""
    running = [host.node for host in cluster._hosts.values() if host.node is not None]
    joins = max((node.machine.applied for node in running), default=0) or 1
    host = cluster._hosts[name] = cluster._new_host(name, conf, kind, life, joins)
    if known:
        host.boot = known.boot  # what was on its way to the old process is not for this one
        if known.own_clock.rate != 1.0:  # the new machine's clock is right
            cluster.trace.add(cluster.now, name, LinksChanged("clock rate", 1.0), None)
    host.start(None)


def _rewire(cluster: Cluster, verb: str, arguments: tuple) -> None:
    network, hosts = cluster._network, cluster._hosts
    match verb, *arguments:
        case "partition", groups:
            across = [(a, b) for g in groups for a in g for b in hosts if b not in g]
            why = "partition " + " ".join(f"({' '.join(group)})" for group in groups)
            network.cut(across, why, anew=True)
        case "isolate", name:
            both = [link for o in hosts if o != name for link in ((name, o), (o, name))]
            network.cut(both, f"{name} is isolated")
        case "cut", source, target, one_way:
            links = [(source, target)] + ([] if one_way else [(target, source)])
            network.cut(links, f"{source}{'→' if one_way else '↔'}{target} is cut")
        case ("heal",):
            network.heal()
        case "links", setting, new:
            setattr(network.links, setting, new)
            changed = LinksChanged(setting, getattr(network.links, setting))
            cluster.trace.add(cluster.now, "", changed, None)
        case "drop", number:
            network.drop(network.find(number))
        case "deliver", number:
            packet = network.find(number)
            network.take(packet)
            host = hosts.get(packet.message.target)
            host.receive(packet) if host else network.refuse(packet)
        case "delay", number, seconds:
            network.delay(network.find(number), seconds)
        case "duplicate", number:
            network.double(network.find(number))


def _serve(cluster: Cluster, verb: str, arguments: tuple) -> int | None:
    if verb == "give_up":
        return cluster._desk.give_up(arguments[0])
    client, node, request = arguments
    operation = cluster._desk.ask(client, node, request)
    if cluster._hosts[node].node is None:
        cluster._desk.refused(operation.op_id)
    else:
        cluster._hosts[node].request(operation.op_id, request, operation.seq)
    return operation.op_id
