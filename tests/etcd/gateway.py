"""etcd's JSON side: one HTTP connection for questions, one WebSocket for each watch stream.

HTTP/1.1 cannot answer while a request is still being sent, so a stream that asks again and again
needs the WebSocket which etcd's gateway offers under the same path.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import socket
import struct
from typing import Any

TIMEOUT_S = 20.0  # nothing here takes a tenth of a second


class Unreachable(Exception):
    """Nobody answers there, or not any more."""


class Refused(Exception):
    """etcd's error answer: the number of the gRPC code and the text."""

    def __init__(self, code: int, text: str):
        self.code, self.text = code, text
        super().__init__(f"{code}: {text}")


class Connection:
    """Questions and answers over one connection that is kept."""

    def __init__(self, port: int):
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        try:
            self._http.connect()
        except OSError as error:
            raise Unreachable(str(error)) from error
        self._http.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, path: str, body: dict) -> dict:
        """The answer; of a stream its first one. Raises: Refused, Unreachable."""
        try:
            self._http.request("POST", path, json.dumps(body).encode())
            answer = self._http.getresponse().read()
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(repr(error)) from error
        return result_of(answer.splitlines()[0])

    def close(self) -> None:
        self._http.close()


def result_of(line: bytes) -> dict:
    """What a line of JSON answers. Raises: Refused."""
    answer = json.loads(line)
    error = answer.get("error")
    if isinstance(error, dict):  # in a stream
        raise Refused(error.get("grpc_code", 2), error.get("message", ""))
    if error:
        raise Refused(answer.get("code", 2), error)
    return answer.get("result", answer)


class WebSocket:
    """Messages in both directions (RFC 6455), as far as a client of etcd needs it."""

    def __init__(self, port: int, path: str):
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        except OSError as error:
            raise Unreachable(str(error)) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._data = b""
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
            "Sec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._data:
            self._more()
        head, self._data = self._data.split(b"\r\n\r\n", 1)
        if b" 101 " not in head.splitlines()[0]:
            raise Unreachable(head.decode(errors="replace"))

    def send(self, message: Any) -> None:
        """Send one JSON message as one masked text frame."""
        data = json.dumps(message).encode()
        assert len(data) < 1 << 16
        size = bytes([0x80 | len(data)]) if len(data) < 126 else struct.pack(">BH", 0xFE, len(data))
        # Masked with zeros, which changes nothing: masks are against caches, and here is none.
        self._socket.sendall(b"\x81" + size + b"\0\0\0\0" + data)

    def receive(self, timeout_s: float = TIMEOUT_S) -> dict | None:
        """The next message; None if none comes in time. Raises: Refused, Unreachable."""
        self._socket.settimeout(timeout_s)
        try:
            first, second = self._take(2, keep=True)
            size, head = second & 0x7F, 2
            if size >= 126:
                head = 4 if size == 126 else 10
                size = int.from_bytes(self._take(head, keep=True)[2:], "big")
            frame = self._take(head + size)
        except TimeoutError:
            return None
        if first & 0x0F == 8:
            raise Unreachable("the stream was closed")
        return result_of(frame[head:])

    def _take(self, size: int, keep: bool = False) -> bytes:
        while len(self._data) < size:
            self._more()
        taken = self._data[:size]
        if not keep:
            self._data = self._data[size:]
        return taken

    def _more(self) -> None:
        try:
            data = self._socket.recv(1 << 16)
        except TimeoutError:
            raise
        except OSError as error:
            raise Unreachable(str(error)) from error
        if not data:
            raise Unreachable("the connection was closed")
        self._data += data

    def close(self) -> None:
        self._socket.close()
