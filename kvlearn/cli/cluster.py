"""`kvlearn cluster`: a real cluster on this machine, one process a member, until Ctrl-C.

    kvlearn cluster --size 3 --data-dir d

Prints the endpoints, which etcdctl and every other client of etcd can use. The same command starts
the same cluster again, with all that it knows. More flags are those of `kvlearn node`, and go to
all members (`--election-timeout 500`).
"""

from __future__ import annotations

import signal
import sys
import time

from kvlearn.cli import Parser, node
from kvlearn.cli.environment import Stop
from kvlearn.live.local_cluster import MOST_NODES, LocalCluster, PortInUse
from kvlearn.live.process import MemberDown

BASE_PORT = 2379  # etcd's own, so that etcdctl finds it without being told
LOOK_S = 0.1  # between two looks at whether all members are there
BACK = " (to have it back: Ctrl-C, and the same command again)"
KEPT = "kvlearn: --base-port {} changes nothing: the cluster of this folder keeps its ports"
OWN = {  # fields of a member that are not the same for all
    *("name", "data_dir", "trace_file", "listen_client_http_urls", "initial_cluster_state"),
    *("listen_client_urls", "advertise_client_urls", "listen_peer_urls"),
    *("initial_advertise_peer_urls", "initial_cluster", "initial_cluster_token"),
    "listen_metrics_urls",
}


def parser() -> Parser:
    """The command line's grammar."""
    made = Parser("cluster", "A real cluster on this machine; Ctrl-C ends it.", epilog=EPILOG)
    made.add_argument("--size", type=int, default=3, help=f"members, 1 to {MOST_NODES} (3)")
    made.add_argument("--data-dir", help="all that they keep (a folder that goes when it ends)")
    made.add_argument(
        "--base-port",
        type=int,
        help=f"n1 serves there and talks to peers on the next, and so on ({BASE_PORT} if it and "
        "those behind it are free, or else free ones)",
    )
    made.add_argument("--trace", action="store_true", help="write all events to DATA_DIR/events")
    return made


EPILOG = "More flags are those of `kvlearn node`, for all members."


def main(argv: list[str]) -> int:
    """Run until Ctrl-C or SIGTERM. Raises: Stop for what keeps it from starting."""
    grammar = parser()
    asked, rest = grammar.parse_known_args(argv)
    flags = node.read(rest, {}, _more(grammar))
    strange = sorted(OWN & flags.fields.keys())
    if strange or flags.lifeline:
        flag = strange[0].replace("_", "-") if strange else "lifeline"
        grammar.error(f"--{flag} differs from member to member: see `kvlearn node`")
    if asked.trace and not asked.data_dir:
        grammar.error("--trace needs a --data-dir that stays")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with _started(asked, flags.fields) as cluster:
            leader = cluster.wait_for_leader(30.0)
            print(told(cluster, leader, asked.data_dir), flush=True)
            if asked.base_port and not cluster.endpoints[0].endswith(f":{asked.base_port}"):
                print(KEPT.format(asked.base_port), file=sys.stderr)
            _watch(cluster, BACK if asked.data_dir else "")
    except (MemberDown, ValueError, OSError) as error:
        raise Stop(str(error)) from None
    except KeyboardInterrupt:
        print("\nkvlearn: all members have ended", file=sys.stderr)
    return 0


def _more(grammar: Parser) -> node.NodeParser:
    """The grammar of a member's flags; what it complains about is a `kvlearn cluster`."""
    made = node.parser()
    made.prog, made.usage = grammar.prog, grammar.format_usage().removeprefix("usage: ").strip()
    made.others = [option for action in grammar._actions for option in action.option_strings]
    return made


def _started(asked, fields) -> LocalCluster:
    """On the ports of etcd, if nobody has them. Raises: MemberDown, ValueError."""
    if asked.base_port is None:
        try:
            return LocalCluster(
                asked.size, asked.data_dir, base_port=BASE_PORT, trace=asked.trace, **fields
            )
        except PortInUse as error:  # etcd's own may well be there
            what, _, _ = str(error).partition(":")
            print(f"kvlearn: {what}, so free ones are taken", file=sys.stderr)
    return LocalCluster(
        asked.size, asked.data_dir, base_port=asked.base_port, trace=asked.trace, **fields
    )


def _interrupt(*_) -> None:
    raise KeyboardInterrupt


def told(cluster: LocalCluster, leader: str, data_dir: str | None) -> str:
    """What a user has to know."""
    members = [
        f"  {name}  http://{cluster.endpoint(name)}  process {cluster.pid(name)}"
        for name in cluster.names
    ]
    stays = f"the same command starts it again from {data_dir}" if data_dir else "nothing is kept"
    return "\n".join(
        [
            f"kvlearn: {leader} leads",
            *members,
            "",
            f"  export ETCDCTL_API=3 ETCDCTL_ENDPOINTS={','.join(cluster.endpoints)}",
            "  etcdctl put colour blue; etcdctl get colour; etcdctl endpoint status -w table",
            "",
            f"kvlearn: Ctrl-C ends it ({stays})",
        ]
    )


def _watch(cluster: LocalCluster, back: str) -> None:
    """Tell when a member ends by itself, and how it comes `back`; the others go on."""
    gone: set[str] = set()
    while True:
        for name in cluster.names:
            if name not in gone and not cluster.is_alive(name):
                gone.add(name)
                told = f"{name} is down: {cluster.last_words(name)}"
                print(f"kvlearn: {told}{back}", file=sys.stderr)
        if len(gone) == len(cluster.names):
            raise Stop("all members have ended")
        time.sleep(LOOK_S)
