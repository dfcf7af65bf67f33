"""From a configuration to a member that serves: what is opened, in which order, and how it ends.

    data directory   locked, repaired, read        a second process on it is told so
    ports            bound and listening           a busy one is told before anything starts
    member           the node, its clock, its peers
    services         gRPC, JSON and metrics on the client ports

What was opened is closed in the opposite order, also when the start fails midway. The first signal
(SIGTERM, SIGINT) ends it in order: clients are told to go elsewhere, what is applied is forced to
the disk. The second ends it at once, which loses nothing that was acknowledged either.

A member that was started by a program has a *lifeline*: its standard input. When that ends, whoever
started it is gone, and it ends, too. Until then orders come there, one line of JSON each:

    {"id": 1, "op": "status"}  ->  {"id": 1, "role": "leader", "term": 2, …}
    {"id": 2, "op": "cut", "peers": ["n2"]}

Source: etcd server/embed/etcd.go (StartEtcd), server/etcdmain/etcd.go; pkg/osutil.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import astuple, replace
from typing import Any

from kvlearn.errors import KVLearnError, StorageError
from kvlearn.live import logs
from kvlearn.live.codec import EntryBytes
from kvlearn.live.config import Address, MemberConfig, Tls, Urls, address
from kvlearn.live.identity import FIRST, Identity, check_first_time, found, join
from kvlearn.live.member import Member
from kvlearn.live.port import CannotListen, bound, listen, tls_context
from kvlearn.live.rpc import Services
from kvlearn.live.storage import Storage
from kvlearn.live.transport import Transport
from kvlearn.raft.raft import FOLLOWER

GRACE_S = 0.5  # for answers that are on their way, when the member has ended
ROOM_BYTES = 512 << 10  # for what a gRPC message has around the largest request
STOP_S = 5.0  # for an end in order; then it ends anyway
log = logging.getLogger(__name__)


class CannotStart(KVLearnError):
    """One sentence: what keeps the member from starting, and what to do."""


DOORS = {  # what a listening socket is for -> where the configuration has its URLs
    "client": "listen_client_urls",
    "http": "listen_client_http_urls",
    "metrics": "listen_metrics_urls",
    "peer": "listen_peer_urls",
}


class Doors:
    """Listening sockets, by what they are for (`DOORS`)."""

    def __init__(self, config: MemberConfig):
        """Raises: CannotStart, and then nothing is open."""
        self.sockets: list[tuple[str, Address, socket.socket]] = []
        try:
            for use, field in DOORS.items():
                for where in map(address, getattr(config, field)):
                    self.sockets.append((use, where, bound(where.bind, where.port)))
        except CannotListen as error:
            self.close()
            raise CannotStart(f"{error} (--{field.replace('_', '-')})") from None
        except BaseException:
            self.close()
            raise

    def of(self, use: str) -> list[tuple[Address, socket.socket]]:
        """The sockets for one use, with the addresses that were asked for."""
        return [(where, sock) for kind, where, sock in self.sockets if kind == use]

    def urls(self, use: str) -> Urls:
        """Where they listen, with the ports that the system chose for port 0."""
        return tuple(
            f"http{'s' * where.tls}://{where._replace(port=sock.getsockname()[1])}"
            for where, sock in self.of(use)
        )

    def close(self) -> None:
        """Close what nobody took over."""
        for _, _, sock in self.sockets:
            sock.close()


def settled(config: MemberConfig, doors: Doors) -> MemberConfig:
    """The configuration with the ports that the system chose, where it says 0."""
    client, peer = doors.urls("client"), doors.urls("peer")
    more: dict[str, Any] = {field: doors.urls(use) for use, field in DOORS.items()}
    if all(urls == getattr(config, field) for field, urls in more.items()):
        return config
    if config.advertise_client_urls == config.listen_client_urls:
        more["advertise_client_urls"] = client
    if config.initial_advertise_peer_urls == config.listen_peer_urls:
        more["initial_advertise_peer_urls"] = peer
        more["initial_cluster"] = {**config.initial_cluster, config.name: peer}
    return replace(config, **more)


def server_tls(tls: Tls) -> ssl.SSLContext | None:
    """What a listening side shows, and asks for. Raises: ValueError."""
    return tls_context(*astuple(tls)) if tls else None


def peer_client_tls(tls: Tls) -> ssl.SSLContext:
    """What a member shows to those that it dials, and whom it believes. Raises: ValueError."""
    return tls_context(*astuple(tls), server=False)


# A member that serves -----------------------------------------------------------------------


class Running:
    """A member that serves. `config` has the ports that the system chose; `stopped` is done when
    the member is, with the error that stopped it."""

    def __init__(self, config: MemberConfig, member: Member, opened: AsyncExitStack):
        self.config, self.member = config, member
        self._opened = opened

    @property
    def stopped(self) -> asyncio.Future:
        return self.member.stopped

    async def stop(self) -> None:
        """End in order: no new connections, clients are sent elsewhere, the disk is told all."""
        await self._opened.aclose()

    async def __aenter__(self) -> Running:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.stop()


async def serve(config: MemberConfig) -> Running:
    """Start a member and serve its clients and peers.

    Raises: CannotStart with one sentence, and then nothing is left open.
    """
    async with AsyncExitStack() as opened:
        try:
            tls = peer_client_tls(config.peer_tls)
            peers_tls, clients_tls = server_tls(config.peer_tls), server_tls(config.tls)
            made = EntryBytes()  # an entry is encoded once, for the disk and for all peers
            storage = Storage(config.data_dir, made, config.store().quota_bytes)
            opened.callback(storage.close)
            if founder := _new_founder(config, storage):
                # before it listens: founders that start together would wait for each other
                await check_first_time(founder, config, tls)
            doors = Doors(config)
            opened.callback(doors.close)
            config = settled(config, doors)
            identity = await _identity(config, storage, tls)
            transport = Transport(identity.urls, tls, made)
            member = Member(config, storage, transport, identity.arguments())
        except (StorageError, ValueError) as error:
            raise CannotStart(str(error)) from None
        opened.push_async_callback(member.stop)
        await _listen_to_peers(opened, doors, transport, peers_tls)
        await member.start()
        await _listen_to_clients(opened, doors, member, clients_tls)
        opened.push_async_callback(member.stop)  # the first to go: it ends what waits for it
        urls = {"urls": config.listen_client_urls, "peers": config.listen_peer_urls}
        log.info("ready to serve client requests", extra=urls)
        return Running(config, member, opened.pop_all())


def _new_founder(config: MemberConfig, storage: Storage) -> Identity | None:
    """Who it is, if it founds a cluster and its folder knows of no term yet; a restored one is as
    new as an empty one."""
    if storage.is_new:
        return found(config) if config.is_new else None
    identity = Identity.load(storage.facts)
    return identity if identity.restored and storage.hard_state.term <= FIRST.term else None


async def _identity(config: MemberConfig, storage: Storage, tls: ssl.SSLContext) -> Identity:
    """Who the member is: what its folder says, or else what its flags say.

    Raises: StorageError.
    """
    if not storage.is_new:
        identity = Identity.load(storage.facts)
        _compare(config, identity)
        return identity
    identity = found(config) if config.is_new else await join(config, tls)
    storage.identify(**identity.save())
    return identity


def _compare(config: MemberConfig, identity: Identity) -> None:
    """What the folder says counts, not the flags (etcd too); but two folders mixed up is an error.

    Raises: StorageError.
    """
    others = config.initial_cluster.keys() - {config.name}
    if identity.node in others and config.name in identity.urls:
        raise StorageError(
            f"{config.data_dir} is {identity.node}'s, not {config.name}'s: give each member the "
            "--data-dir that it began with"
        )
    known, told = identity.cluster_id, found(config, identity.restored).cluster_id
    if config.is_new and told != known and not identity.joins:
        what = "the flags speak of another cluster than the data directory, which counts"
        log.warning(what, extra={"cluster": f"{known:x}", "of_the_flags": f"{told:x}"})


async def _listen_to_peers(
    opened: AsyncExitStack, doors: Doors, transport: Transport, tls: ssl.SSLContext | None
) -> None:
    loop = asyncio.get_running_loop()
    for where, sock in doors.of("peer"):
        server = await loop.create_server(
            transport.accept, sock=sock, ssl=tls if where.tls else None
        )
        opened.callback(server.close)


async def _listen_to_clients(
    opened: AsyncExitStack, doors: Doors, member: Member, tls: ssl.SSLContext | None
) -> None:
    """gRPC and HTTP/1.1 on the client ports; HTTP, or only what says how the member is, on ports
    of their own, if there are such."""
    services, http = Services(member), doors.of("http")
    gateway = _Gateway(services)
    opened.push_async_callback(gateway.close)
    for where, sock in doors.of("client"):
        port = await listen(
            where.bind,
            where.port,
            services.open,
            None if http else gateway.protocol,
            tls if where.tls else None,
            sock=sock,
            max_message_bytes=member.config.max_request_bytes + ROOM_BYTES,
        )
        opened.push_async_callback(port.close, GRACE_S)
    others = [(gateway.protocol, *door) for door in http]
    others += [(gateway.monitor, *door) for door in doors.of("metrics")]
    for protocol, where, sock in others:
        server = await member.loop.create_server(
            protocol, sock=sock, ssl=tls if where.tls else None
        )
        opened.callback(server.close)


class _Gateway:
    """The JSON gateway, loaded when the first connection wants it: it takes as long as all else."""

    def __init__(self, services: Services):
        self._services = services
        self._gateway: Any = None

    def monitor(self) -> asyncio.Protocol:
        """The protocol of a connection that sees /metrics and /health alone."""
        return self.protocol(monitor=True)

    def protocol(self, monitor: bool = False) -> asyncio.Protocol:
        """A connection's protocol."""
        if self._gateway is None:
            from kvlearn.live.gateway import Gateway
            from kvlearn.live.metrics import registry_of

            services = self._services
            self._gateway = Gateway(services, registry_of(services.member, services.methods))
        return self._gateway.protocol(monitor)

    async def close(self) -> None:
        """End its connections."""
        if self._gateway is not None:
            await self._gateway.close(GRACE_S)


# The program --------------------------------------------------------------------------------


def run(config: MemberConfig, lifeline: bool = False, silent: Iterable[str] = ()) -> int:
    """Serve until a signal comes, the lifeline ends or the member fails; the exit status.

    Raises: CannotStart.
    """
    logs.set_up(config.name, config.log_level, config.log_format, sys.stderr)
    for flag in silent:
        log.warning("this flag of etcd changes nothing here", extra={"flag": flag})
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(_serve_until_told(config, lifeline))


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's, where it is installed; None: asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve_until_told(config: MemberConfig, lifeline: bool) -> int:
    end = asyncio.get_running_loop().create_future()
    _on_signals(end)
    running = await serve(config)
    collect_rarely()
    running.stopped.add_done_callback(lambda stopped: _set(end, "the member stopped"))
    if lifeline:
        Lifeline(running.member, lambda: _set(end, "standard input ended")).start()
    why = await end
    failed = running.stopped.exception() if running.stopped.done() else None
    log.info("stopping", extra={"why": why})
    try:
        await asyncio.wait_for(running.stop(), STOP_S)
    except asyncio.TimeoutError:
        log.error("could not stop in order", extra={"within_s": STOP_S})
        sys.stderr.flush()
        os._exit(1)  # a thread that waits for a disk cannot be cancelled
    if failed is not None:
        raise CannotStart(f"{config.name} stopped: {failed}")
    log.info("stopped")
    return 0


def collect_rarely() -> None:
    """A call leaves nothing behind that Python's collector would have to find, and to look for it
    among all that a store holds costs a fifth of the throughput: so it looks more rarely."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def _set(end: asyncio.Future, why: str) -> None:
    if not end.done():
        end.set_result(why)


def _on_signals(end: asyncio.Future) -> None:
    """The first signal ends in order, the second at once."""
    loop = asyncio.get_running_loop()
    heard = []

    def told(number: int, *_: Any) -> None:
        if heard:
            os._exit(128 + number)
        heard.append(number)
        loop.call_soon_threadsafe(_set, end, signal.Signals(number).name)

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, told, number)
        except NotImplementedError:  # Windows
            signal.signal(number, told)


class Lifeline:
    """Standard input: orders, one line each; its end is the member's."""

    def __init__(self, member: Member, end: Callable[[], None]):
        self.member, self._end = member, end

    def start(self) -> None:
        """Say that the member serves, and listen, in a thread: a pipe is not every loop's file."""
        self._say({"ready": True})
        threading.Thread(target=self._listen, name="lifeline", daemon=True).start()

    def _listen(self) -> None:
        tell = self.member.loop.call_soon_threadsafe
        try:
            # Not sys.stdin: Python cannot end while a thread waits in there.
            with open(0, "rb", buffering=0, closefd=False) as orders:
                for line in orders:
                    tell(self._obey, line)
            tell(self._end)
        except RuntimeError:
            pass  # the loop has ended before

    def _obey(self, line: bytes) -> None:
        number = None
        try:
            order = json.loads(line)
            number = order["id"]
            answer = self._done(order)
        except (ValueError, KeyError, TypeError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        self._say({"id": number, **answer})

    def _done(self, order: dict[str, Any]) -> dict[str, Any]:
        match order["op"]:
            case "status":
                return status(self.member)
            case "cut":
                self.member.transport.cut(order["peers"])
                return {}
        raise ValueError(f"there is no order {order['op']!r}")

    @staticmethod
    def _say(told: dict[str, Any]) -> None:
        try:
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()
        except OSError:
            pass  # nobody listens any more, and then standard input ends, too


def status(member: Member) -> dict[str, Any]:
    """What a member believes just now, as a row of `Cluster.status()`."""
    node, raft = member.node, member.node.raft
    role = raft.role
    if role == FOLLOWER and (node.name in raft.conf.learners or node.is_outside):
        role = "learner" if node.name in raft.conf.learners else "outside"
    return {
        "node": node.name,
        "role": role,
        "term": raft.term,
        "vote": raft.vote,
        "leader": raft.leader,
        "last": str(raft.log.last),
        "commit": raft.log.committed,
        "applied": node.machine.applied,
        "revision": node.machine.revision,
    }
