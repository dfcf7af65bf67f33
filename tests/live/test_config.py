"""What a member may be told, and what is refused with a sentence that helps."""

from __future__ import annotations

import pytest

from kvlearn.live.config import MemberConfig, address, duration

PEER = "http://127.0.0.1:2380"


def test_the_usual_is_etcds():
    config = MemberConfig()
    assert config.name == "default" and str(config.data_dir) == "default.kvlearn"
    assert config.initial_cluster == {"default": ("http://localhost:2380",)}
    assert config.advertise_client_urls == config.listen_client_urls == ("http://localhost:2379",)
    raft, store = config.raft(), config.store()
    assert (raft.tick_s, raft.election_ticks, raft.max_election_ticks) == (0.1, 10, 19)
    assert raft.pre_vote and raft.check_quorum and raft.strict_reconfig
    assert store.min_ttl_s == 2 and store.quota_bytes == 2 << 30 and not store.compact_every_s


def test_what_is_listened_to_is_advertised_unless_said_otherwise():
    config = MemberConfig(
        listen_client_urls="http://0.0.0.0:1, http://0.0.0.0:2",
        advertise_client_urls="http://db.example:1/",
        listen_peer_urls=[PEER],
    )
    assert config.listen_client_urls == ("http://0.0.0.0:1", "http://0.0.0.0:2")
    assert config.advertise_client_urls == ("http://db.example:1",)
    assert config.initial_advertise_peer_urls == (PEER,)
    assert config.initial_cluster == {"default": (PEER,)}


def test_localhost_is_one_socket():
    assert address("http://localhost:2379").bind == "127.0.0.1"
    assert str(address("https://[::1]:2379")) == "[::1]:2379"


@pytest.mark.parametrize(
    ("told", "store"),
    [
        (dict(auto_compaction_retention="2"), dict(compact_every_s=7200.0)),
        (dict(auto_compaction_retention="1h30m"), dict(compact_every_s=5400.0)),
        (
            dict(auto_compaction_mode="revision", auto_compaction_retention="1000"),
            dict(compact_behind=1000, compact_every_s=0.0),
        ),
        (dict(quota_backend_bytes=-1), dict(quota_bytes=1 << 62)),
        (dict(lease_checkpoint=True), dict(checkpoint_s=300.0)),
        (dict(election_ms=5000), dict(min_ttl_s=8)),
    ],
)
def test_the_core_is_told_the_same(told, store):
    made = MemberConfig(**told).store()
    assert {name: getattr(made, name) for name in store} == store


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (dict(name="a b"), "--name is a word"),
        (dict(listen_client_urls=()), "need at least one URL"),
        (dict(listen_client_urls="127.0.0.1:2379"), "--listen-client-urls: a URL starts with"),
        (dict(listen_client_urls="http://127.0.0.1"), "names a host and a port"),
        (dict(listen_client_urls="http://127.0.0.1:99999"), "not a URL such as"),
        (dict(listen_client_urls=PEER + "/x"), "ends with its port"),
        (dict(listen_client_urls="http://db.example:1"), "expected IP in URL for binding"),
        (dict(listen_client_urls=(1,)), "is a list of URLs"),
        (dict(initial_cluster={"n2": PEER}), "does not name this member: add default="),
        (dict(initial_cluster={"default": PEER}), "make them the same"),
        (
            dict(listen_peer_urls=PEER, initial_cluster={"default": PEER, "n2": PEER}),
            "to both default and n2",
        ),
        (dict(listen_peer_urls=PEER, initial_cluster={"default": PEER, "n2": ()}), "no URL of n2"),
        (dict(initial_cluster_state="old"), "new or existing, not 'old'"),
        (dict(heartbeat_ms=0), "--heartbeat-interval is a whole number above 0"),
        (dict(election_ms=400), "at least 5 times --heartbeat-interval"),
        (dict(election_ms=60_000), "at most 50000 ms"),
        (dict(bcrypt_cost=3), "from 4 to 31"),
        (dict(auth_token="jwt"), "--auth-token is one of simple"),
        (dict(log_level="loud"), "--log-level is one of debug"),
        (dict(auto_compaction_retention="soon"), "hours, or a duration"),
        (dict(auto_compaction_mode="revision", auto_compaction_retention="5m"), "of revisions"),
        (dict(cert_file="a"), "--cert-file and --key-file go together"),
        (dict(peer_key_file="a"), "--peer-cert-file and --peer-key-file go together"),
        (dict(listen_client_urls="https://127.0.0.1:1"), "asks for TLS: give --cert-file"),
        (dict(listen_peer_urls="https://127.0.0.1:1"), "asks for TLS: give --peer-cert-file"),
        (dict(trusted_ca_file="/no/such.pem"), "--trusted-ca-file: there is no file"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_do(told, why):
    with pytest.raises(ValueError) as refused:
        MemberConfig(**told)
    assert why in str(refused.value)


@pytest.mark.parametrize("text", ["", "5", "5x", "m5", "5m!", "-5m"])
def test_what_is_no_duration(text):
    with pytest.raises(ValueError, match="not a duration"):
        duration(text)
