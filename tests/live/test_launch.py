"""A member from its configuration to its end: what is opened, refused, given free."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys

import pytest

pytest.importorskip("msgpack", reason="members talk in MessagePack")
pytest.importorskip("lmdb", reason="a member's store is in LMDB")

from kvlearn.errors import RequestError
from kvlearn.kv.requests import Put, Range
from kvlearn.live import connect, identity
from kvlearn.live.config import MemberConfig
from kvlearn.live.launch import CannotStart, serve, status

FREE = "http://127.0.0.1:0"
QUICK = dict(heartbeat_ms=20, election_ms=200)


def alone(folder, **more) -> MemberConfig:
    """A cluster of one, on ports that the system chooses."""
    told = dict(name="n1", data_dir=folder, listen_client_urls=FREE, listen_peer_urls=FREE)
    return MemberConfig(**{**told, **QUICK, **more})


def run(test) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


async def ask(running, request):
    """What the member answers."""
    answer = asyncio.get_running_loop().create_future()
    running.member.ask(request, answer.set_result)
    return await answer


async def fetch(url: str, path: str, context=None) -> tuple[int, str]:
    """Status and body of a GET over HTTP/1.1."""
    host, port = url.partition("://")[2].split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body.decode()


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen()
        except OSError:
            return False
        return True


def test_one_port_speaks_grpc_and_http_and_what_was_written_is_there_after_a_restart(tmp_path):
    async def test():
        async with await serve(alone(tmp_path / "n1")) as running:
            url = running.config.listen_client_urls[0]
            assert not url.endswith(":0") and running.config.advertise_client_urls == (url,)
            with connect(url, write=True) as client:
                await asyncio.to_thread(client.put, "a", "1")
                assert (await asyncio.to_thread(client.get, "a")).text == "1"
            code, body = await fetch(url, "/health")
            assert code == 200 and json.loads(body) == {"health": "true"}
            code, body = await fetch(url, "/metrics")
            assert code == 200 and "etcd_server_has_leader 1.0" in body
            assert status(running.member)["role"] == "leader"
            first = running.member.id, running.member.cluster_id
        async with await serve(alone(tmp_path / "n1")) as again:
            answer = await ask(again, Range(b"a"))
            assert answer.result.kvs[0].value == b"1"
            assert (again.member.id, again.member.cluster_id) == first

    run(test)


def test_http_on_ports_of_its_own_leaves_the_client_port_to_grpc(tmp_path):
    async def test():
        config = alone(tmp_path / "n1", listen_client_http_urls=FREE)
        async with await serve(config) as running:
            code, body = await fetch(running.config.listen_client_http_urls[0], "/version")
            assert code == 200 and "etcdserver" in body
            with pytest.raises((OSError, IndexError)):  # the connection is closed at once
                await fetch(running.config.listen_client_urls[0], "/version")

    run(test)


def test_a_port_for_metrics_tells_how_the_member_is_and_nothing_else(tmp_path):
    async def test():
        async with await serve(alone(tmp_path / "n1", listen_metrics_urls=FREE)) as running:
            [url] = running.config.listen_metrics_urls
            assert not url.endswith(":0")
            await ask(running, Put(b"a", b"1"))  # from then on there is a leader
            code, body = await fetch(url, "/metrics")
            assert code == 200 and "etcd_server_has_leader" in body
            assert await fetch(url, "/health") == (200, '{"health":"true"}')
            for path in ("/version", "/v3/kv/range", "/"):
                assert (await fetch(url, path))[0] == 404
            code, body = await fetch(running.config.listen_client_urls[0], "/metrics")
            assert code == 200, "clients see it as before"

    run(test)


def test_a_start_that_needs_certificates_says_so_whatever_the_port_is_for(tmp_path):
    for field in ("listen_metrics_urls", "listen_client_http_urls"):
        with pytest.raises(ValueError, match="asks for TLS: give --cert-file"):
            alone(tmp_path / "n1", **{field: ("https://127.0.0.1:1",)})


def test_the_end_gives_everything_free_and_tells_those_who_wait(tmp_path):
    async def test():
        running = await serve(alone(tmp_path / "n1"))
        ports = [
            int(url.rpartition(":")[2])
            for url in (*running.config.listen_client_urls, *running.config.listen_peer_urls)
        ]
        assert not any(map(is_free, ports))
        waits = asyncio.ensure_future(ask(running, Put(b"a", b"1")))
        await asyncio.sleep(0)
        await running.stop()
        answer = await waits
        assert isinstance(answer.failure, RequestError) and answer.failure.code == "UNAVAILABLE"
        assert all(map(is_free, ports))
        await running.stop()  # does no harm

    run(test)


def test_a_second_process_on_the_same_folder_is_told_so(tmp_path):
    async def test():
        async with await serve(alone(tmp_path / "n1")):
            with pytest.raises(CannotStart, match="n1 is in use by process"):
                await serve(alone(tmp_path / "n1"))

    run(test)


@pytest.mark.parametrize("which", ["listen_client_urls", "listen_peer_urls"])
def test_a_busy_port_is_told_with_its_flag_and_nothing_is_left_open(tmp_path, which):
    async def test():
        with socket.create_server(("127.0.0.1", 0)) as taken:
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
            with pytest.raises(CannotStart, match="is in use") as refused:
                await serve(alone(tmp_path / "n1", **{which: url}))
            assert which.replace("_", "-") in str(refused.value)
        async with await serve(alone(tmp_path / "n1")) as running:
            assert running.member.node.name == "n1"

    run(test)


def test_a_damaged_log_is_refused(tmp_path):
    async def test():
        async with await serve(alone(tmp_path / "n1")) as running:
            for k in range(20):
                await ask(running, Put(b"k%d" % k, b"v" * 100))
        log = min((tmp_path / "n1" / "wal").glob("*.wal"))
        data = bytearray(log.read_bytes())
        data[data.index(b"k3") + 40] ^= 1
        log.write_bytes(data)
        with pytest.raises(CannotStart, match="wal"):
            await serve(alone(tmp_path / "n1"))

    run(test)


def test_folders_that_are_mixed_up_are_refused(tmp_path):
    cluster = {"n1": "http://127.0.0.1:1", "n2": "http://127.0.0.1:2"}

    def member(name: str, folder: str) -> MemberConfig:
        return alone(
            tmp_path / folder,
            name=name,
            listen_peer_urls=FREE,
            initial_advertise_peer_urls=cluster[name],
            initial_cluster=cluster,
        )

    async def test():
        await (await serve(member("n2", "b"))).stop()
        with pytest.raises(CannotStart, match="b is n2's, not n1's: give each member"):
            await serve(member("n1", "b"))

    run(test)


def test_what_the_folder_says_counts_more_than_the_flags(tmp_path, caplog):
    async def test():
        async with await serve(alone(tmp_path / "n1")) as running:
            number = running.member.cluster_id
        other = alone(tmp_path / "n1", initial_cluster_token="another")
        async with await serve(other) as running:
            assert running.member.cluster_id == number
        assert "the flags speak of another cluster" in caplog.text

    run(test)


def test_who_was_not_added_cannot_join(tmp_path, monkeypatch):
    monkeypatch.setattr(identity, "JOIN_S", 0.05)

    async def test():
        async with await serve(alone(tmp_path / "n1")) as running:
            peer = running.config.listen_peer_urls
            with socket.create_server(("127.0.0.1", 0)) as mine:
                own = f"http://127.0.0.1:{mine.getsockname()[1]}"
            stranger = MemberConfig(
                name="n2",
                data_dir=tmp_path / "n2",
                listen_client_urls=FREE,
                listen_peer_urls=own,
                initial_cluster={"n1": peer, "n2": own},
                initial_cluster_state="existing",
            )
            with pytest.raises(CannotStart, match="n2 cannot join: .*member add n2"):
                await serve(stranger)

    run(test)


def test_a_member_starts_without_what_only_some_need():
    """aiohttp and prometheus_client load with the first HTTP/1.1 connection, grpc never."""
    code = "import sys, kvlearn.cli.node, kvlearn.live.launch; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"aiohttp", "prometheus_client", "grpc", "pandas", "ipywidgets", "IPython"}


# TLS ----------------------------------------------------------------------------------------


@pytest.fixture
def papers(tmp_path):
    """Certificate, key and authority, as files."""
    trustme = pytest.importorskip("trustme", reason="makes certificates")
    authority = trustme.CA()
    own = authority.issue_cert("127.0.0.1", "localhost")
    files = {name: str(tmp_path / f"{name}.pem") for name in ("cert", "key", "ca")}
    own.cert_chain_pems[0].write_to_path(files["cert"])
    own.private_key_pem.write_to_path(files["key"])
    authority.cert_pem.write_to_path(files["ca"])
    return files


def test_clients_and_peers_over_tls(tmp_path, papers):
    cert = dict(cert_file=papers["cert"], key_file=papers["key"], trusted_ca_file=papers["ca"])
    both = {**cert, **{f"peer_{name}": path for name, path in cert.items()}}

    async def test():
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
        urls = [f"https://127.0.0.1:{sock.getsockname()[1]}" for sock in sockets]
        for sock in sockets:
            sock.close()
        cluster = {f"n{k}": (url,) for k, url in enumerate(urls, start=1)}
        running = [
            await serve(
                MemberConfig(
                    name=name,
                    data_dir=tmp_path / name,
                    listen_client_urls="https://127.0.0.1:0",
                    listen_peer_urls=url,
                    initial_cluster=cluster,
                    **QUICK,
                    **both,
                )
            )
            for name, url in cluster.items()
        ]
        try:
            endpoints = [one.config.listen_client_urls[0] for one in running]
            told = dict(ca_file=papers["ca"], cert_file=papers["cert"], key_file=papers["key"])
            with connect(endpoints, write=True, timeout_s=20, **told) as client:
                await asyncio.to_thread(client.put, "a", "1")
                assert (await asyncio.to_thread(client.get, "a")).text == "1"
        finally:
            for one in running:
                await one.stop()

    run(test)


def test_a_certificate_that_is_none_is_named(tmp_path, papers):
    async def test():
        config = alone(tmp_path / "n1", cert_file=papers["key"], key_file=papers["key"])
        with pytest.raises(CannotStart, match="key.pem"):
            await serve(config)

    run(test)


# Who has lost its memory --------------------------------------------------------------------


def test_a_founder_whose_folder_was_emptied_does_not_begin_again(tmp_path):
    async def test():
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
        urls = [f"http://127.0.0.1:{sock.getsockname()[1]}" for sock in sockets]
        for sock in sockets:
            sock.close()
        cluster = {f"n{k}": (url,) for k, url in enumerate(urls, start=1)}

        def config(name: str) -> MemberConfig:
            told = dict(listen_peer_urls=cluster[name], initial_cluster=cluster)
            return alone(tmp_path / name, name=name, **told)

        running = {name: await serve(config(name)) for name in cluster}
        try:
            with connect(running["n2"].config.listen_client_urls, write=True) as client:
                await asyncio.to_thread(client.put, "a", "1")
            known = running["n2"].member.node.machine
            while not all(one.client_urls for one in known.directory.members):
                await asyncio.sleep(0.01)  # n1 has told where its clients are served
            await running["n1"].stop()
            shutil.rmtree(tmp_path / "n1")
            for _ in range(2):  # the first try leaves nothing that the second might believe
                with pytest.raises(CannotStart, match="n1 has run before, .*member remove"):
                    await serve(config("n1"))
        finally:
            for one in running.values():
                await one.stop()

    run(test)
