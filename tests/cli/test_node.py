"""`kvlearn node`: etcd's flags, one sentence for what cannot be, and an end in order."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

pytest.importorskip("msgpack", reason="members talk in MessagePack")

from kvlearn.cli import node
from kvlearn.live.config import MemberConfig

PEER = "http://127.0.0.1:2380"


def read(*argv: str, **surroundings: str) -> MemberConfig:
    grammar = node.parser()
    return node.configured(node.read(list(argv), surroundings, grammar).fields, grammar)


def test_flags_are_etcds_with_one_dash_or_two():
    config = read(
        *("-name", "n1", "--data-dir=d", "--listen-peer-urls", PEER, "--pre-vote=false"),
        *("--initial-cluster", f"n1={PEER},n2=http://a:1,n2=http://a:2", "--client-cert-auth"),
        *("--experimental-watch-progress-notify-interval", "5s", "--election-timeout=2000"),
    )
    assert (config.name, str(config.data_dir), config.election_ms) == ("n1", "d", 2000)
    assert config.initial_cluster == {"n1": (PEER,), "n2": ("http://a:1", "http://a:2")}
    assert config.client_cert_auth and not config.pre_vote and config.watch_progress_s == 5.0


def test_variables_count_less_than_what_is_typed():
    config = read("--name", "n2", ETCD_NAME="n1", ETCD_HEARTBEAT_INTERVAL="50", ETCDCTL_API="3")
    assert (config.name, config.heartbeat_ms) == ("n2", 50)


def test_every_field_has_a_flag_and_comes_back_from_it(tmp_path):
    paper = tmp_path / "paper.pem"
    paper.write_text("")
    url = "https://127.0.0.1:{}".format
    given = MemberConfig(
        name="n1",
        data_dir=tmp_path,
        listen_client_urls=(url(1), url(2)),
        advertise_client_urls=url(3),
        listen_client_http_urls=url(4),
        listen_metrics_urls=url(9),
        listen_peer_urls=url(5),
        initial_advertise_peer_urls=url(6),
        initial_cluster={"n1": url(6), "n2": (url(7), url(8))},
        initial_cluster_state="existing",
        initial_cluster_token="t",
        heartbeat_ms=20,
        max_txn_ops=7,
        election_ms=200,
        pre_vote=False,
        strict_reconfig_check=False,
        snapshot_count=5,
        max_request_bytes=6,
        quota_backend_bytes=-1,
        auto_compaction_mode="revision",
        auto_compaction_retention="7",
        lease_checkpoint=True,
        watch_progress_s=1.5,
        cert_file=str(paper),
        key_file=str(paper),
        trusted_ca_file=str(paper),
        client_cert_auth=True,
        peer_cert_file=str(paper),
        peer_key_file=str(paper),
        peer_trusted_ca_file=str(paper),
        peer_client_cert_auth=True,
        auth_token_ttl_s=8,
        bcrypt_cost=4,
        log_level="warn",
        log_format="text",
        trace_file=str(tmp_path / "t.jsonl"),
    )
    usual = MemberConfig()
    same = [n for n in given.__dataclass_fields__ if getattr(given, n) == getattr(usual, n)]
    assert same == ["auth_token"], "of which there is one kind"
    assert read(*given.flags()) == given
    assert "election" not in " ".join(read().flags()), "what is as usual is left out"


def test_flags_that_change_nothing_here_are_noted():
    told = node.read(["--logger=zap", "--name", "n1", "--enable-v2"], {}, node.parser())
    assert told.silent == ["--logger", "--enable-v2"] and told.fields == {"name": "n1"}
    told = node.read(["--enable-pprof", "--name=n1"], {}, node.parser())
    assert told.silent == ["--enable-pprof"], "a flag without a value is one, too"
    told = node.read(["--enable-v2=false"], {}, node.parser())
    assert told.silent == ["--enable-v2"]


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--nmae", "x"], "unrecognized arguments: --nmae x; did you mean --name?"),
        (["--bogus"], "unrecognized arguments: --bogus\n"),  # no guess at a flag without effect
        (["--auto-tls"], "--auto-tls is not offered: make a certificate"),
        (["-discovery=http://x"], "--discovery is not offered: name the founders"),
        (["--heartbeat-interval", "soon"], "--heartbeat-interval: a whole number, not 'soon'"),
        (["--pre-vote=maybe"], "--pre-vote: true or false, not 'maybe'"),
        (["--initial-cluster", "n1"], "n1=http://host:port,n2=…, not 'n1'"),
        (["--listen-client-urls", "x:1"], "--listen-client-urls: a URL starts with http://"),
        (["--experimental-watch-progress-notify-interval=5"], "not a duration such as"),
        (["stray"], "unrecognized arguments: stray"),
    ],
)
def test_what_does_not_fit_is_told_with_status_2(argv, told, capsys):
    with pytest.raises(SystemExit, match="2"):
        read(*argv)
    assert told in capsys.readouterr().err


def test_no_flag_is_both_taken_and_refused():
    taken = {*node.FLAGS, *node.NO_EFFECT, "lifeline"}
    assert not taken & node.INSTEAD.keys() and not set(node.FLAGS) & set(node.NO_EFFECT)
    assert set(node.ALIASES.values()) <= node.FLAGS.keys()


# The program --------------------------------------------------------------------------------


def command(folder, *more: str) -> list[str]:
    free = "http://127.0.0.1:0"
    urls = ["--listen-client-urls", free, "--listen-peer-urls", free]
    told = ["--data-dir", str(folder / "n1"), "--name", "n1", *urls, *more]
    return [sys.executable, "-m", "kvlearn", "node", *told]


def start(folder, *more: str, **streams) -> subprocess.Popen:
    return subprocess.Popen(command(folder, *more), stderr=subprocess.PIPE, text=True, **streams)


def until(process: subprocess.Popen, message: str) -> dict:
    """The log's first line with that message."""
    for line in process.stderr:
        told = json.loads(line)
        if told["msg"] == message:
            return told
    raise AssertionError(f"it ended with status {process.wait()} and never said {message!r}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_and_ends_in_order(tmp_path, number):
    process = start(tmp_path)
    try:
        ready = until(process, "ready to serve client requests")
        assert (ready["level"], ready["member"]) == ("info", "n1") and ready["ts"].endswith("Z")
        with urllib.request.urlopen(f"{ready['urls'][0]}/version", timeout=20) as answer:
            assert b"etcdserver" in answer.read()
        process.send_signal(number)
        assert until(process, "stopping")["why"] == number.name
        until(process, "stopped")
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.communicate()


def test_the_second_signal_ends_it_at_once(tmp_path):
    process = start(tmp_path, "--lifeline", stdin=subprocess.PIPE)
    try:
        until(process, "ready to serve client requests")
        os.kill(process.pid, signal.SIGSTOP)  # so that both are there when it looks
        for number in (signal.SIGINT, signal.SIGTERM):
            process.send_signal(number)
        os.kill(process.pid, signal.SIGCONT)
        assert process.wait(20) in (128 + signal.SIGTERM, 128 + signal.SIGINT)
    finally:
        process.kill()
        process.communicate()


def test_it_ends_with_its_lifeline_and_obeys_until_then(tmp_path):
    process = start(tmp_path, "--lifeline", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert json.loads(process.stdout.readline()) == {"ready": True}
        for order in ({"id": 1, "op": "status"}, {"id": 2, "op": "dance"}, "what?"):
            process.stdin.write(json.dumps(order) + "\n")
        process.stdin.flush()
        answers = [json.loads(process.stdout.readline()) for _ in range(3)]
        assert answers[0]["id"] == 1 and answers[0]["node"] == "n1"
        assert answers[1] == {"id": 2, "error": "ValueError: there is no order 'dance'"}
        assert answers[2]["error"].startswith("TypeError")
        process.stdin.close()
        assert until(process, "stopping")["why"] == "standard input ended"
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def test_what_keeps_it_from_starting_is_one_sentence_with_status_1(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        argv = command(tmp_path, "--listen-peer-urls", f"http://127.0.0.1:{port}")
        done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith(f"kvlearn: port {port} of 127.0.0.1 is in use")
    assert done.stderr.endswith("(--listen-peer-urls)\n") and done.stderr.count("\n") == 1
    (tmp_path / "n1" / "lock").unlink()
    (tmp_path / "file").write_text("")
    argv = command(tmp_path / "file")
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "Traceback" not in done.stderr
