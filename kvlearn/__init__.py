"""kvlearn: a Raft cluster and an etcd-like key-value store that you can hold in your hand.

This is the shop window. A name is loaded from its room when it is first asked for, so that
`import kvlearn` costs next to nothing and the command line starts on a bare Python:

    from kvlearn import Cluster

    cluster = Cluster(5, seed=7)
    client = cluster.client()
    client.put("colour", "blue")
    cluster.crash(cluster.wait_for_leader())
    client.get("colour").text

The floors of the house, and what to read first, are in README.md.
"""

# This file and __main__.py must be readable by any Python 3, however old: it is they who say that
# a newer one is needed. So they hold no annotations and no newer syntax.

__version__ = "0.1.0"

# name -> the room that it comes from; a name of its own room is that room
_WINDOW = {
    "Cluster": "kvlearn.sim",
    "Links": "kvlearn.sim",
    "Client": "kvlearn.client",
    "connect": "kvlearn.live",
    "Raft": "kvlearn.raft",
    "RaftConfig": "kvlearn.raft",
    "Trace": "kvlearn.trace",
    "show": "kvlearn.course",
    "check": "kvlearn.check",
    "course": "kvlearn.course",
    "StoreConfig": "kvlearn.kv.config",
    "value": "kvlearn.words",
    "version": "kvlearn.words",
    "create_revision": "kvlearn.words",
    "mod_revision": "kvlearn.words",
    "lease_of": "kvlearn.words",
    "put": "kvlearn.words",
    "get": "kvlearn.words",
    "delete": "kvlearn.words",
    "errors": "kvlearn.errors",
    "recipes": "kvlearn.recipes",
}
__all__ = sorted(_WINDOW)

# the packages that pyproject.toml names: one that is missing tells of a set-up that was not done
_PACKAGES = ("sortedcontainers", "jupyterlab", "ipywidgets", "anywidget", "graphviz", "pandas")
_PACKAGES += ("lmdb", "msgpack", "hpack", "aiohttp", "grpcio", "protobuf", "prometheus-client")
# module -> its package, where they differ
_MODULES = {"grpc": "grpcio", "google": "protobuf", "google.protobuf": "protobuf"}
_MODULES["prometheus_client"] = "prometheus-client"


def __getattr__(name):
    room = _WINDOW.get(name)
    if room is None:
        raise AttributeError("module 'kvlearn' has no attribute %r" % name)
    from importlib import import_module

    try:
        if name == "Trace":
            import_module("kvlearn.sim")  # a saved trace may hold any word of the vocabulary
        found = import_module(room)
    except ModuleNotFoundError as error:
        package = _MODULES.get(error.name, error.name)
        if package not in _PACKAGES:
            raise
        text = (
            "this Python lacks %s: in a clone run `python3 -m kvlearn lab` once and then use "
            ".venv/bin/python, or install it with `pip install %s`" % (package, package)
        )
        raise ImportError(text, name=error.name) from None
    if room != "kvlearn." + name:
        found = getattr(found, name)
    globals()[name] = found
    return found


def __dir__():
    return sorted(set(globals()) | set(__all__))
