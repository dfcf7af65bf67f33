"""How members talk: one stream a pair and direction, framed, over TCP or TLS.

Each member dials every other one and speaks on that connection; what it hears comes on connections
that the others have dialled. A connection begins with a greeting, so that strangers are told apart:

    dials    {"kvlearn": 2, "cluster": 9c…, "from": "n1", "to": "n2"}   one frame of JSON
    answers  {"ok": true}  or  {"refused": "cluster ID mismatch …"}
    then     length 4 | packet 8 | kind 1 | body,  again and again

`AppendEntries` (kind 1) carries entries as the bytes that the log on the disk holds, made once for
all followers; any other message (kind 0) is a value of the codec. A snapshot is a row of such
messages, each answered before the next (`InstallSnapshot`): no other message waits behind it.

A message that cannot leave is not kept: Raft says everything again that matters. If no connection
stands, the node hears so at once (`undelivered`); a connection that breaks is dialled again, soon
at first, then ever later up to half a second; the member hears that a peer is lost, because a
process that ends takes its connections with it.

Source: etcd server/etcdserver/api/rafthttp (stream.go, peer.go, transport.go); version and cluster
checks: http.go. Differs: HTTP there, and a second connection for small messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import struct
from collections.abc import Callable, Iterable
from ssl import SSLContext, SSLError
from typing import Any

from kvlearn.errors import StorageError
from kvlearn.live.codec import EntryBytes, decode, encode
from kvlearn.live.config import address
from kvlearn.mvcc.revision import KeyValue
from kvlearn.raft.messages import AppendEntries, ForNode, Message
from kvlearn.raft.types import Entry, EntryID, NodeId

PROTOCOL = 2  # of greetings and frames; 1 wrote values in another way
MAX_FRAME = 512 << 20  # bytes; more is a damaged length
MESSAGE_BYTES = 1 << 20  # of entries in one message, about: a heartbeat waits behind it (as etcd)
AHEAD_BYTES = 16 << 20  # of entries that wait for a peer: more have to wait for its answers
MAX_HELLO = 1 << 20  # and before a peer has said who it is
MAX_WAITING = 64 << 20  # bytes that wait for a peer which does not read: more is not sent
BACK_OFF_S = (0.02, 0.5)  # before dialling again: at first, and at most
HELLO_S = 5.0  # in which a greeting has to come
SILENT_S = 10  # after which a host that acknowledges nothing counts as gone
_frame = struct.Struct("<IQB")
_HELLO, _VALUE, _APPEND = 2, 0, 1
_HTTP = b"GET", b"POST", b"PUT", b"HEAD", b"PRI"  # how a client begins that took the wrong port
_NO_HTTP = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
    b"this port is for members; clients go to --listen-client-urls\n"
)
log = logging.getLogger(__name__)


class Stream(asyncio.Protocol):
    """One connection: frames in, frames out."""

    def __init__(self, on_frame: Callable, on_lost: Callable):
        self._on_frame, self._on_lost = on_frame, on_lost
        self._data = bytearray()
        self.transport: asyncio.Transport | None = None
        self.peer: NodeId | None = None  # whoever it is, after the greeting
        self.gone: asyncio.Future = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        self.transport = transport
        transport.set_write_buffer_limits(high=MAX_WAITING)
        _notice_silence(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        """Cut what came into frames."""
        held = self._data
        held += data
        at, end = 0, len(held)
        while end - at >= _frame.size:
            size, packet, kind = _frame.unpack_from(held, at)
            if size > (MAX_FRAME if self.peer else MAX_HELLO):
                self._refuse(bytes(held[:8]), size)
                return
            stop = at + _frame.size + size
            if stop > end:
                break
            body = bytes(memoryview(held)[at + _frame.size : stop])
            at = stop
            try:
                self._on_frame(self, packet, kind, body)
            except (StorageError, ValueError, TypeError, KeyError) as error:
                log.warning("a peer sends what is no message: %s: closed", error)
                self.close()
                return
        del held[:at]

    def _refuse(self, first: bytes, size: int) -> None:
        if first.split(b" ")[0] in _HTTP:
            log.warning("HTTP on the port for members: clients have a port of their own")
            self.transport.write(_NO_HTTP)
            self.transport.close()
        else:
            log.warning("a peer sends a frame of %d bytes: closed", size)
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        """It is gone."""
        self.transport = None
        if not self.gone.done():
            self.gone.set_result(None)
        self._on_lost(self)

    @property
    def waiting(self) -> int:
        """Bytes that the peer has not taken yet."""
        return self.transport.get_write_buffer_size() if self.transport else 0

    def close(self) -> None:
        """Hang up."""
        if self.transport is not None:
            self.transport.abort()


async def dial(url: str, hello: dict, tls: SSLContext | None) -> tuple[Stream, dict]:
    """Connect and greet: the connection, and what the other side answers ({}: it hung up).

    Raises: OSError (also what TLS does not like), ValueError for a greeting that is none.
    """
    where, loop = address(url), asyncio.get_running_loop()
    answer = loop.create_future()

    def heard(stream: Stream, packet: int, kind: int, body: bytes) -> None:
        if not answer.done():
            answer.set_result(body)

    def lost(stream: Stream) -> None:
        if not answer.done():
            answer.set_result(b"{}")

    secure = tls if where.tls else None
    _, stream = await loop.create_connection(
        lambda: Stream(heard, lost), where.host, where.port, ssl=secure
    )
    try:
        if stream.transport is None:
            raise ConnectionError("it hung up at once")
        greeting = json.dumps({"kvlearn": PROTOCOL, **hello}).encode()
        stream.transport.write(_framed(0, _HELLO, greeting))
        told = json.loads(await answer)
        if not isinstance(told, dict):
            raise ValueError(f"it answers {told!r}")
    except BaseException:
        stream.close()
        raise
    return stream, told


class Peer:
    """Whom this member speaks to: an address that is dialled again and again."""

    def __init__(self, owner: Transport, name: NodeId, urls: tuple[str, ...]):
        self.owner, self.name, self.urls = owner, name, urls
        self.stream: Stream | None = None  # stands, and was greeted
        self.refused = ""  # what it said instead of a greeting
        self.odd = ""  # what was wrong with its TLS, when that was told last
        self.sent_bytes = 0
        self.heard = asyncio.Event()  # it has dialled this member: so it is there
        self._task = owner.member.loop.create_task(self._dial())

    @property
    def stands(self) -> bool:
        """Whether there is a connection just now."""
        return self.stream is not None and self.stream.transport is not None

    async def _dial(self) -> None:
        wait_s = BACK_OFF_S[0]
        turn = 0
        while True:
            url = self.urls[turn % len(self.urls)]
            turn += 1
            try:
                async with asyncio.timeout(HELLO_S):  # wait_for may lose a cancellation (3.11)
                    stream = await self._greet(url)
            except (OSError, asyncio.TimeoutError, ValueError, RuntimeError) as error:
                self._failed(url, error)
            else:
                self.stream = stream
                wait_s = BACK_OFF_S[0]
                log.info("connected to %s at %s", self.owner.called(self.name), url)
                await stream.gone
                self.stream = None
                self.owner.member.lost(self.name)
            try:
                async with asyncio.timeout(wait_s):
                    await self.heard.wait()
            except asyncio.TimeoutError:
                wait_s = min(2 * wait_s, BACK_OFF_S[1])
            self.heard.clear()

    async def _greet(self, url: str) -> Stream:
        owner = self.owner
        stream, told = await dial(url, owner.hello(self.name), owner.client_tls)
        if not told.get("ok"):
            stream.close()
            self._refused(told)
            raise ConnectionError(self.refused or "it hung up")
        return stream

    def _failed(self, url: str, error: Exception) -> None:
        """A peer that is down is nothing to write of; a certificate that does not fit is, once."""
        is_odd = isinstance(error, SSLError) and str(error) != self.odd
        self.odd = str(error) if isinstance(error, SSLError) else self.odd
        tell = log.warning if is_odd else log.debug
        tell("no connection to %s at %s: %s", self.owner.called(self.name), url, error)

    def _refused(self, told: dict) -> None:
        if told.get("removed") is True:  # while this one was away, perhaps (etcd: 410 Gone)
            self.owner.member.removed()
        refused = str(told.get("refused", ""))
        if refused and refused != self.refused:
            log.warning("%s refuses this member: %s", self.owner.called(self.name), refused)
        self.refused = refused

    def close(self) -> None:
        """Speak to it no more."""
        self._task.cancel()
        if self.stream is not None:
            self.stream.close()
            self.stream = None


class Transport:
    """All peers of one member. Invariant: messages from one peer arrive in the order in which they
    were sent, or not at all."""

    def __init__(
        self,
        urls: dict[NodeId, tuple[str, ...]],
        client_tls: SSLContext | None = None,
        entry_bytes: EntryBytes | None = None,
    ):
        """`urls`: where members listen, to begin with; `update` brings news. `entry_bytes`: shared
        with the disk."""
        self.client_tls = client_tls
        self.entry_bytes = entry_bytes or EntryBytes()
        self.member: Any = None
        self.received_bytes: dict[NodeId, int] = {}
        self._urls = dict(urls)
        self._peers: dict[NodeId, Peer] = {}
        self._planned: dict[NodeId, int] = {}  # bytes of entries that `send` is about to get
        self._leaving: set[Peer] = set()  # removed members, which may still hear why
        self._heard: dict[Stream, NodeId] = {}  # connections that peers have dialled
        self._told: dict[NodeId, tuple[str, ...]] = {}  # where these say that they listen
        self._turned_away = ""  # why, the last time
        self._cut: set[NodeId] = set()  # from whom nothing is heard, and to whom nothing is sent

    def start(self, member: Any) -> None:
        """Dial the others."""
        self.member = member
        member.node.raft.fit = self.fit
        self.update(member.node)

    async def stop(self) -> None:
        """Hang up everywhere."""
        for peer in (*self._peers.values(), *self._leaving):
            peer.close()
        self._peers.clear()
        for stream in list(self._heard):
            stream.close()

    def update(self, node: Any) -> None:
        """The membership may have changed: dial who is new, drop who is gone."""
        directory, joins = node.machine.directory, node.raft.log.applied < node.raft.joins
        for one in directory.members:
            if not (joins and one.node in self._told):  # which is newer than what it knows
                self._urls[one.node] = one.peer_urls
        # Who is added later than this member knows of may lead already: it is answered, too.
        met = {name for name in self._told if directory.number(name) is None or joins}
        wanted = {name for name in met.union(node.raft.conf.members) if name != node.name}
        for name in sorted(wanted & self._urls.keys()):
            known = self._peers.get(name)
            if known is None or known.urls != self._urls[name]:
                if known is not None:
                    known.close()
                self._peers[name] = Peer(self, name, self._urls[name])
        for name in sorted(self._peers.keys() - wanted):
            # What tells it that it was removed may still be on its way.
            self._leaving.add(peer := self._peers.pop(name))
            self.member.loop.call_later(1.0, self._let_go, peer)

    def _let_go(self, peer: Peer) -> None:
        self._leaving.discard(peer)
        peer.close()
        if peer.name in self._peers:
            return
        for stream, name in list(self._heard.items()):
            if name == peer.name:  # one that has not heard of it dials again, and is told
                stream.close()

    def cut(self, peers: Iterable[NodeId]) -> None:
        """Hear and tell these nothing, as if the network were broken; none: as it should be."""
        self._cut = set(peers)

    def hello(self, to: NodeId) -> dict:
        """The greeting: who this is, and of which cluster."""
        cluster, own = f"{self.member.cluster_id:x}", self.member.node.name
        known = self.member.node.machine.directory.get(own)
        urls = known.peer_urls if known else self.member.config.initial_advertise_peer_urls
        who = {"from": own, "name": self.member.config.name, "to": to}
        return {"cluster": cluster, **who, "urls": list(urls)}

    def called(self, name: NodeId) -> str:
        """What a member calls itself, for people: Raft's n4 may have started as infra4."""
        known = self.member.node.machine.directory.get(name)
        return (known and known.name) or name

    @property
    def connected(self) -> tuple[NodeId, ...]:
        """Who can be reached just now."""
        return tuple(sorted(name for name, peer in self._peers.items() if peer.stands))

    @property
    def sent_bytes(self) -> dict[NodeId, int]:
        """Bytes so far, by peer."""
        return {name: peer.sent_bytes for name, peer in self._peers.items()}

    # Out --------------------------------------------------------------------------------------

    def fit(self, target: NodeId, wanted: tuple) -> tuple:
        """The first of these entries, or of a snapshot's records, that go into the next message;
        none of the entries while too much is on its way."""
        peer, size_of = self._peers.get(target), self._size_of
        if not wanted or peer is None or not peer.stands:
            return wanted
        planned = self._planned.get(target, 0)
        if planned + peer.stream.waiting > AHEAD_BYTES and isinstance(wanted[0], Entry):
            return ()
        size = 0
        for count, one in enumerate(wanted):
            size += size_of(one)
            if size > MESSAGE_BYTES and count:
                self._planned[target] = planned + MESSAGE_BYTES
                return wanted[:count]
        self._planned[target] = planned + size
        return wanted

    def _size_of(self, one: Any) -> int:
        if isinstance(one, Entry):
            return len(self.entry_bytes.of(one))
        return len(one[1].key) + len(one[1].value) if isinstance(one[1], KeyValue) else 0

    def send(self, messages: Iterable[Message], packets: Iterable[int] | None = None) -> list:
        """Send, in one write for each peer; returns what could not leave."""
        stuck, parts = [], {}
        self._planned.clear()
        sizes: dict[NodeId, int] = {}  # bytes that wait, and that are about to
        numbers = iter(packets) if packets is not None else None
        for message in messages:
            packet = next(numbers) if numbers is not None else 0
            target = message.target
            peer = self._peers.get(target)
            if target in self._cut:
                continue
            if peer is None or not peer.stands:
                stuck.append(message)
                continue
            if sizes.setdefault(target, peer.stream.waiting) > MAX_WAITING:
                stuck.append(message)
                continue
            frame = self._frame(message, packet)
            sizes[target] += len(frame)
            parts.setdefault(target, []).append(frame)
        for target, frames in parts.items():
            peer = self._peers[target]
            data = b"".join(frames)
            peer.sent_bytes += len(data)
            peer.stream.transport.write(data)
        return stuck

    def _frame(self, message: Message, packet: int) -> bytes:
        if type(message) is not AppendEntries:
            return _framed(packet, _VALUE, encode(message))
        prev, bytes_of = message.prev, self.entry_bytes.of
        body = (message.source, message.target, message.term, prev.term, prev.index)
        body += (message.commit, tuple(map(bytes_of, message.entries)))
        return _framed(packet, _APPEND, encode(body))

    # In ---------------------------------------------------------------------------------------

    def accept(self) -> Stream:
        """The protocol for a connection that somebody has dialled."""
        return Stream(self._on_frame, self._on_lost)

    def _on_frame(self, stream: Stream, packet: int, kind: int, body: bytes) -> None:
        if stream.peer is None:
            self._on_hello(stream, kind, body)
            return
        source = stream.peer
        self.received_bytes[source] = self.received_bytes.get(source, 0) + len(body) + _frame.size
        if source in self._cut:
            return
        message = self._append_entries(body) if kind == _APPEND else decode(body)
        if not isinstance(message, (Message, ForNode)):
            raise ValueError(f"a {type(message).__name__} is no message")
        if message.source != source or message.target != self.member.node.name:
            raise ValueError(f"{source} sends what is from {message.source} to {message.target}")
        self.member.receive(message, packet)

    def _append_entries(self, body: bytes) -> AppendEntries:
        source, target, term, prev_term, prev_index, commit, raw = decode(body)
        entries = tuple(map(self.entry_bytes.read, raw))
        return AppendEntries(source, target, term, EntryID(prev_term, prev_index), entries, commit)

    def _on_hello(self, stream: Stream, kind: int, body: bytes) -> None:
        if self.member.stopped.done():
            stream.close()
            return
        told = json.loads(body) if kind == _HELLO else {}
        if not isinstance(told, dict):
            raise ValueError(f"a greeting is no {told!r}")
        if told.get("ask") == "members":
            self._answer(stream, self.member.introduction())
            stream.transport.close()
            return
        refusal = self._refusal(told)
        removed = refusal == self._removed(told)
        self._answer(stream, {"refused": refusal, "removed": removed} if refusal else {"ok": True})
        if refusal:
            if refusal != self._turned_away:  # whoever dials again and again is told of once
                log.warning("a stranger was turned away: %s", refusal)
            self._turned_away = refusal
            stream.transport.close()
            return
        stream.peer = told["from"]
        self._heard[stream] = told["from"]
        self._meet(told["from"], told.get("urls"))
        if stream.peer in self._peers:
            self._peers[stream.peer].heard.set()

    def _meet(self, name: NodeId, urls: Any) -> None:
        """A member has dialled this one and told where it listens itself. Whoever joins begins with
        the founders, and would never answer a leader that is none of them (etcd: X-PeerURLs)."""
        node, known = self.member.node, self._peers.get(name)
        if not (isinstance(urls, list) and urls):
            return
        for url in urls:
            address(url)  # raises ValueError
        joins = node.raft.log.applied < node.raft.joins
        if name not in node.raft.conf.members or (joins and known and not known.stands):
            self._told[name] = self._urls[name] = tuple(urls)
            self.update(node)

    def _answer(self, stream: Stream, told: dict) -> None:
        stream.transport.write(_framed(0, _HELLO, json.dumps(told).encode()))

    def _refusal(self, told: dict) -> str:
        member = self.member
        mine = f"{member.cluster_id:x}"
        if told.get("kvlearn") != PROTOCOL:
            return f"it speaks another protocol: {told}"
        if told.get("cluster") != mine:
            return f"cluster ID mismatch: this is {mine}, not {told.get('cluster')}"
        if told.get("to") != member.node.name:
            return f"this is {member.node.name}, not {told.get('to')}"
        directory, source = member.node.machine.directory, told.get("from")
        if not (isinstance(source, str) and source):
            return f"{source!r:.40} is no name of a member"
        if directory.number(source) is not None and directory.get(source) is None:
            return self._removed(told)
        return ""

    @staticmethod
    def _removed(told: dict) -> str:
        name = told.get("name")  # no directory has it any more
        name = name if isinstance(name, str) and name else told.get("from")
        return f"{str(name)[:80]} was removed from the cluster"

    def _on_lost(self, stream: Stream) -> None:
        name = self._heard.pop(stream, None)
        if name is not None and self.member is not None:
            if name not in self._heard.values():
                self._told.pop(name, None)
            self.member.lost(name)


def _notice_silence(sock: Any) -> None:
    """A host that is gone without a word sends nothing, not even that it is: give up when it has
    acknowledged nothing for so long, and ask when there is nothing to be acknowledged."""
    for level, option, value in (
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", SILENT_S // 2),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 1),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 1000 * SILENT_S),
    ):
        if hasattr(socket, option):  # not every system has all of them
            with contextlib.suppress(OSError, AttributeError):
                sock.setsockopt(level, getattr(socket, option), value)


def _framed(packet: int, kind: int, body: bytes) -> bytes:
    return _frame.pack(len(body), packet, kind) + body

