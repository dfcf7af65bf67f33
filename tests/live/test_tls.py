"""TLS between clients and members and among members: three real processes, and etcd's beside them.

The flags are the same for both, so every test is played on both; what they let in, what they turn
away and who a certificate makes of a client has to be the same.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

pytest.importorskip("grpc", reason="clients of real members speak gRPC")
pytest.importorskip("lmdb", reason="a member's store is in LMDB")
trustme = pytest.importorskip("trustme", reason="makes certificates")

from kvlearn.cli.bench_peers import Members
from kvlearn.errors import PermissionDenied, RequestError, Unavailable
from kvlearn.live import LocalCluster, connect
from tests.etcd.server import find_etcd
from tests.live.etcdctl import MISSING, Done, find_etcdctl, run, until


@pytest.fixture(scope="module")
def papers(tmp_path_factory):
    """Certificates and keys, as files: `server`, `admin`, `ann` (a name in it), of one authority
    `ca`; `stranger` of another, `elsewhere`."""
    folder = tmp_path_factory.mktemp("papers")
    authorities = {"ca": trustme.CA(), "elsewhere": trustme.CA()}
    for name, one in authorities.items():
        one.cert_pem.write_to_path(folder / f"{name}.pem")
    ours, theirs = authorities.values()
    made = {
        "server": ours.issue_cert("127.0.0.1", "localhost"),
        "admin": ours.issue_cert("admin@example.org"),
        "ann": ours.issue_cert("ann@example.org", common_name="ann"),
        "stranger": theirs.issue_cert("127.0.0.1", common_name="root"),
    }
    for name, one in made.items():
        one.cert_chain_pems[0].write_to_path(folder / f"{name}.pem")
        one.private_key_pem.write_to_path(folder / f"{name}.key")
    return folder


def command_of(kind: str) -> list[str]:
    if kind == "kvlearn":
        return [sys.executable, "-m", "kvlearn.cli.node"]
    if (etcd := find_etcd()) is None:
        pytest.skip("no etcd found; install etcd-server, or set KVLEARN_ETCD to the program")
    return [etcd]


class Secured(Members):
    """Members n1 … that are started by flags alone. `own`: flags of single members."""

    def __init__(self, kind: str, papers: Path, folder: Path, size: int, *flags: str, **own):
        self.papers = papers
        self.etcdctl = find_etcdctl() or pytest.skip(MISSING)
        schemes = "https", "https" if any("peer-cert" in flag for flag in flags) else "http"
        own = {name: self._told(more) for name, more in own.items()}
        told = self._told(flags)
        super().__init__(command_of(kind), size, *told, folder=folder, schemes=schemes, own=own)
        self.start()

    def _told(self, flags: Iterable[str]) -> list[str]:
        return ["--bcrypt-cost=4", *(flag.replace("@", f"{self.papers}/") for flag in flags)]

    def shown(self, who: str) -> list[str]:
        """What etcdctl is told to show, and to believe."""
        files = [f"--cert={self.papers}/{who}.pem", f"--key={self.papers}/{who}.key"] if who else []
        return [f"--cacert={self.papers}/ca.pem", *files]

    def do(
        self,
        *words: str,
        who: str = "admin",
        at: str = "",
        flags: list[str] | None = None,
        within_s: int = 10,
    ) -> Done:
        """etcdctl with the papers of somebody; turned away, it tries until its time is up."""
        endpoints = self.endpoint(at) if at else ",".join(map(self.endpoint, self.names))
        papers = self.shown(who) if flags is None else flags
        patience = [f"--command-timeout={within_s}s", f"--dial-timeout={within_s}s"]
        return run([self.etcdctl, f"--endpoints={endpoints}", *patience, *papers, *words])

    def wait(self) -> Secured:
        """Until all members serve."""
        for name in self.names:
            until(
                lambda: self.do("endpoint", "health", at=name, within_s=2).status == 0,
                f"{name} does not serve: {self.log(name)[-3000:]}",
            )
        return self

    def files(self, who: str = "") -> dict[str, str]:
        """Arguments of `connect`."""
        told = {"ca_file": f"{self.papers}/ca.pem"}
        if who:
            told |= {
                "cert_file": f"{self.papers}/{who}.pem",
                "key_file": f"{self.papers}/{who}.key",
            }
        return told


SERVER = ("--cert-file=@server.pem", "--key-file=@server.key")
CLIENTS = ("--trusted-ca-file=@ca.pem", "--client-cert-auth")
PEERS = (
    *("--peer-cert-file=@server.pem", "--peer-key-file=@server.key"),
    *("--peer-trusted-ca-file=@ca.pem", "--peer-client-cert-auth"),
)


def made(request, papers, tmp_path_factory, size: int, *flags: str, **own):
    cluster = Secured(request.param, papers, tmp_path_factory.mktemp("tls"), size, *flags, **own)
    request.addfinalizer(cluster.stop)
    return cluster


@pytest.fixture(scope="module", params=["kvlearn", "etcd"])
def three(request, papers, tmp_path_factory):
    """Everybody shows a certificate: clients, members and peers."""
    return made(request, papers, tmp_path_factory, 3, *SERVER, *CLIENTS, *PEERS).wait()


@pytest.fixture(scope="module", params=["kvlearn", "etcd"])
def one(request, papers, tmp_path_factory):
    """The member alone shows a certificate."""
    return made(request, papers, tmp_path_factory, 1, *SERVER).wait()


# Who gets in --------------------------------------------------------------------------------


def test_etcdctl_with_a_certificate_through_every_member(three):
    for k, name in enumerate(three.names):
        assert three.do("put", "colour", str(k), at=name).out == "OK\n"
        for other in three.names:
            assert three.do("get", "colour", at=other).out == f"colour\n{k}\n"
    members = three.do("member", "list").out
    assert members.count("https://") == 6 and "http://" not in members
    health = str(three.do("endpoint", "health", "--cluster"))
    assert health.count("https://") == health.count("is healthy") == 3


@pytest.mark.parametrize(
    ("who", "why"),
    [("", "bad certificate|certificate required"), ("stranger", "bad certificate|unknown")],
)
def test_without_the_right_certificate_nobody_gets_in(three, who, why):
    done = three.do("get", "colour", who=who, at="n1", within_s=1)
    assert done.status and not done.out and re.search(why + "|deadline", done.err), done
    with connect(f"https://{three.endpoint('n1')}", timeout_s=1, **three.files(who)) as client:
        with pytest.raises(RequestError, match="ask for a certificate that it trusts"):
            client.get("colour")


def test_a_client_that_believes_somebody_else_does_not_talk_to_a_member(three):
    flags = [flag.replace("ca.pem", "elsewhere.pem") for flag in three.shown("admin")]
    done = three.do("get", "colour", at="n1", flags=flags, within_s=1)
    assert done.status and re.search("unknown authority|deadline", done.err), done
    wrong = {**three.files("admin"), "ca_file": str(three.papers / "elsewhere.pem")}
    with connect(f"https://{three.endpoint('n1')}", timeout_s=1, **wrong) as client:
        with pytest.raises(Unavailable, match="certificate"):
            client.get("colour")


def test_one_that_shows_a_certificate_asks_for_none(one):
    assert one.do("put", "colour", "blue", who="").out == "OK\n"
    with connect(f"https://{one.endpoint('n1')}", timeout_s=20, **one.files()) as client:
        assert client.get("colour").text == "blue"


def test_plain_words_to_a_port_that_speaks_tls(one):
    done = one.do("get", "colour", flags=[], within_s=1)
    assert done.status and not done.out, done
    with connect(f"http://{one.endpoint('n1')}", timeout_s=1) as client:
        with pytest.raises(Unavailable, match="may speak TLS: write https://"):
            client.get("colour")


def test_tls_to_a_port_that_speaks_plainly(papers, etcdctl):
    with LocalCluster(1, trace=False) as live:
        live.wait_for_leader(30)
        url = f"https://{live.endpoints[0]}"
        with connect(url, timeout_s=1, ca_file=f"{papers}/ca.pem") as client:
            with pytest.raises(Unavailable, match="does not speak TLS: write http://"):
                client.get("colour")
        done = run([etcdctl, f"--endpoints={url}", "--command-timeout=1s", "get", "colour"])
        assert done.status and not done.out
        assert "it speaks TLS, and this port does not: use http://" in live.log("n1")


@pytest.fixture(scope="module")
def etcdctl():
    return find_etcdctl() or pytest.skip(MISSING)


# HTTP ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def curl():
    return shutil.which("curl") or pytest.skip("no curl found; install curl")


def test_curl_over_https(one, three, curl):
    def fetch(cluster: Secured, *words: str, scheme: str = "https") -> Done:
        url = f"{scheme}://{cluster.endpoint('n1')}"
        return run([curl, "-sS", "--max-time", "10", *words[:-1], url + words[-1]])

    believe = ["--cacert", f"{one.papers}/ca.pem"]
    assert fetch(one, *believe, "/health").out.strip() == '{"health":"true"}'
    put = ["-d", '{"key": "YQ==", "value": "MQ=="}', "/v3/kv/put"]
    assert '"revision"' in fetch(one, *believe, *put).out
    assert fetch(one, "/health").status == 60, "nobody vouches for it"
    assert "etcdserver" not in str(fetch(one, "/version", scheme="http"))

    show = ["--cert", f"{three.papers}/admin.pem", "--key", f"{three.papers}/admin.key"]
    assert '"etcdserver"' in fetch(three, *believe, *show, "/version").out
    assert fetch(three, *believe, "/version").status


# Users by certificate -----------------------------------------------------------------------


def test_a_certificate_names_its_user_once_users_matter(three):
    root = ["--user=root:r"]
    for words in (
        *("user add root:r", "user add ann --no-password", "role add own"),
        *("role grant-permission own readwrite own/ --prefix", "user grant-role ann own"),
        *("put secret 1", "auth enable"),
    ):
        assert three.do(*words.split()).status == 0, words
    try:
        for name in three.names:
            assert three.do("put", "own/a", name, who="ann", at=name).out == "OK\n"
            assert three.do("get", "own/a", who="ann", at=name).out == f"own/a\n{name}\n"
            denied = three.do("get", "secret", who="ann", at=name)
            assert denied.status and "permission denied" in denied.err
            nameless = three.do("get", "secret", who="admin", at=name)
            # etcd looks for a user whose name is empty
            assert re.search("user name is empty|permission denied", nameless.err)
            # a token counts more than a certificate
            assert three.do("get", "secret", *root, who="ann", at=name).out == "secret\n1\n"
        urls = [f"https://{three.endpoint(name)}" for name in three.names]
        with connect(urls, write=True, timeout_s=20, **three.files("ann")) as client:
            client.put("own/b", "1")
            with pytest.raises(PermissionDenied):
                client.get("secret")
    finally:
        assert three.do("auth", "disable", *root).status == 0


# Members among themselves -------------------------------------------------------------------


def test_a_member_that_is_killed_finds_the_others_again_over_tls(three):
    three.kill("n2")
    # etcd may have lost its leader, and then it takes longer than one command waits.
    until(lambda: three.do("put", "while", "away", at="n3").out == "OK\n", "no put at n3")
    three.start("n2")
    three.wait()
    assert three.do("get", "while", at="n2").out == "while\naway\n"


@pytest.fixture(scope="module", params=["kvlearn", "etcd"])
def suspicious(request, papers, tmp_path_factory):
    """n1 and n2 trust each other; n3 shows a certificate that nobody knows."""
    false = [flag.replace("@server", "@stranger") if "peer" in flag else flag for flag in PEERS]
    return made(
        request, papers, tmp_path_factory, 3, *SERVER, *PEERS, n3=(*SERVER, *false)
    )  # fmt: skip


def test_a_member_with_a_foreign_certificate_is_kept_out(suspicious):
    for name in ("n1", "n2"):
        until(
            lambda: suspicious.do("endpoint", "health", at=name, who="", within_s=2).status == 0,
            name,
        )
    assert suspicious.do("put", "a", "1", at="n1", who="").out == "OK\n"
    done = suspicious.do("get", "a", at="n3", who="", within_s=1)
    assert done.status and not done.out
    until(lambda: "certificate" in suspicious.log("n1"), suspicious.log("n1")[-3000:])
