"""A gRPC server in this process whose methods are functions of a test."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from kvlearn.live.proto import rpc_pb2 as rpc

THREADS = 16


class Server:
    """Answers at `endpoint`. `methods`: name -> function(message or iterator, context); a method
    that is not named is UNIMPLEMENTED, but Status, with which a client looks who is there."""

    def __init__(self, credentials: Any = None, port: int = 0, **methods: Callable):
        self.methods = {"Status": lambda message, context: rpc.StatusResponse(), **methods}
        self.asked: list[tuple[str, Any]] = []  # of all but Status
        self._server = grpc.server(ThreadPoolExecutor(THREADS))
        self._server.add_generic_rpc_handlers((self,))
        if credentials is None:
            port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        else:
            port = self._server.add_secure_port(f"127.0.0.1:{port}", credentials)
        self.endpoint = f"127.0.0.1:{port}"
        self.stopped = threading.Event()  # for methods that wait
        self._server.start()

    def service(self, details: Any) -> Any:
        """gRPC asks for the handler of a path."""
        name = details.method.rpartition("/")[2]
        function = self.methods.get(name)
        if function is None:
            return None
        asked, answered, *streams = rpc.FILE.methods[details.method]

        def noted(message: Any, context: Any) -> Any:
            if name != "Status":
                self.asked.append((name, message))
            return function(message, context)

        kind = {
            (False, False): grpc.unary_unary_rpc_method_handler,
            (False, True): grpc.unary_stream_rpc_method_handler,
            (True, True): grpc.stream_stream_rpc_method_handler,
        }[tuple(streams)]
        return kind(noted, asked.FromString, answered.SerializeToString)

    def names(self) -> list[str]:
        """What was asked, in order."""
        return [name for name, _ in self.asked]

    def stop(self) -> None:
        """End all calls; nobody listens any more."""
        self.stopped.set()
        self._server.stop(0).wait()


def refuse(code: str, text: str) -> Callable:
    """A method that answers with an error."""

    def method(message: Any, context: Any) -> None:
        context.abort(grpc.StatusCode[code], text)

    return method
