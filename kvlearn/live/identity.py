"""Who a member is: of which cluster, and under which name in Raft.

A member that *founds* a cluster computes it from what all founders are told alike: their names,
URLs and the token. One that *joins* asks those who are members already, and finds itself by its
peer URLs, which somebody has added (`member add`) before. Either way it is written down before
anything else happens: a restart reads it, and what the flags say then matters no more (etcd too).
One whose folder was emptied is refused: it would vote a second time.

Source: etcd server/etcdserver/bootstrap.go, cluster_util.go (getClusterFromRemotePeers,
isMemberBootstrapped). Differs: etcd refuses founders only, not members that were added.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any

from kvlearn.errors import StorageError
from kvlearn.kv.directory import MemberInfo, cluster_id_of, founded
from kvlearn.live.config import MemberConfig
from kvlearn.live.transport import dial
from kvlearn.raft.types import ConfState, EntryID, NodeId
from kvlearn.values import from_json, to_json

JOIN_S = 10.0  # for a member that was added to be known to those who are asked
ASK_S = 2.0  # for one of them to answer
FIRST = EntryID(term=1, index=1)  # what a restored snapshot stands for in the log
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Identity:
    """What a data directory remembers about whose it is. `joins`: 0 for a founder. `restored`: the
    sum of the snapshot that a founder began with (see restore.py)."""

    node: NodeId
    cluster_id: int
    founders: tuple[MemberInfo, ...]
    joins: int = 0
    restored: str = ""

    @property
    def urls(self) -> dict[NodeId, tuple[str, ...]]:
        """Where the founders listen, or did."""
        return {one.node: one.peer_urls for one in self.founders}

    def arguments(self) -> dict[str, Any]:
        """What the Node has to know of it."""
        conf = ConfState(tuple(sorted(one.node for one in self.founders)))
        known = dict(conf=conf, name=self.node, cluster_id=self.cluster_id)
        return known | dict(founders=self.founders, joins=self.joins)

    def save(self) -> dict:
        """As plain JSON data."""
        data = {"node": self.node, "cluster_id": self.cluster_id, "joins": self.joins}
        data |= {"restored": self.restored} if self.restored else {}
        return data | {"founders": to_json(self.founders)}

    @classmethod
    def load(cls, data: dict) -> Identity:
        """What `save` gave."""
        known = data["node"], data["cluster_id"], from_json(data["founders"]), data["joins"]
        return cls(*known, data.get("restored", ""))


def found(config: MemberConfig, restored: str = "") -> Identity:
    """The identity of a founder. One that begins with a snapshot belongs to those alone that begin
    with the same, so its sum is behind the token."""
    directory = founded(config.initial_cluster, config.initial_cluster_token + restored)
    founders = directory.founders
    return Identity(config.name, cluster_id_of(founders), founders, restored=restored)


async def check_first_time(
    own: Identity, config: MemberConfig, tls: SSLContext | None = None
) -> None:
    """A founder whose folder is new has to be one that never ran: who has voted and stored, and
    knows nothing of it any more, could vote again and lose what was acknowledged. So the others
    are asked; those who do not answer say nothing. Those of another cluster will not talk to it,
    mostly because only one of the two was restored from a snapshot.

    Raises: StorageError if one of them knows it.
    """
    others = [url for name, urls in own.urls.items() if name != own.node for url in urls]
    asked = (asyncio.wait_for(_introduction(url, tls), ASK_S) for url in others)
    for url, told in zip(others, await asyncio.gather(*asked, return_exceptions=True)):
        if not isinstance(told, dict):
            continue
        if told["cluster"] != own.cluster_id:
            what = "%s is of another cluster: founders begin with the same token and snapshot"
            ids = {"its": f"{told['cluster']:x}", "own": f"{own.cluster_id:x}"}
            log.warning(what, url, extra=ids)
            continue
        for one in from_json(told["members"]):
            if one.node == own.node:
                _check_new(one, config)


def _check_new(one: MemberInfo, config: MemberConfig) -> None:
    """Raises: StorageError for a member that has told its clients' URLs: it has run before."""
    if one.client_urls:
        urls = ",".join(config.initial_advertise_peer_urls)
        raise StorageError(
            f"{config.name} has run before, and {config.data_dir} is empty or restored anew: what "
            "it promised is lost. Bring its folder back, or let another take its place: etcdctl "
            f"member remove {one.id:x}, then member add {config.name} --peer-urls={urls}, and "
            "start it in an empty folder with --initial-cluster-state=existing"
        )


async def join(config: MemberConfig, tls: SSLContext | None = None) -> Identity:
    """The identity of a member that was added to a running cluster.

    Raises: StorageError if those who are asked do not know of it, or cannot be reached.
    """
    own = set(config.initial_advertise_peer_urls)
    others = [u for n, urls in config.initial_cluster.items() if n != config.name for u in urls]
    give_up = asyncio.get_running_loop().time() + JOIN_S
    why = "--initial-cluster names nobody else"
    while others:
        for url in others:
            try:
                told = await asyncio.wait_for(_introduction(url, tls), ASK_S)
            except (OSError, ValueError, asyncio.TimeoutError) as error:
                why = f"{url} does not answer ({error or 'time is up'})"
                continue
            for one in from_json(told["members"]):
                if not own.isdisjoint(one.peer_urls):
                    _check_new(one, config)
                    founders = from_json(told["founders"])
                    return Identity(one.node, told["cluster"], founders, max(told["applied"], 1))
            why = f"the cluster at {url} has no member with the peer URLs {', '.join(sorted(own))}"
        if asyncio.get_running_loop().time() > give_up:
            break
        await asyncio.sleep(0.2)
    raise StorageError(
        f"{config.name} cannot join: {why}. Add it first (etcdctl member add {config.name} "
        f"--peer-urls={','.join(sorted(own))}), and name the others in --initial-cluster"
    )


async def _introduction(url: str, tls: SSLContext | None) -> dict:
    stream, told = await dial(url, {"ask": "members"}, tls)
    stream.close()
    if not {"members", "founders", "cluster", "applied"} <= told.keys():
        raise ValueError(f"it answers {told}")
    return told
