"""A proxy in front of a tracking server that fails as a test requests."""

import http.client
import threading
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


class Fault(StrEnum):
    """The proxy's reaction to a request."""

    NONE = "none"
    ERROR = "answers 500"
    HANG = "hangs"
    CLOSE = "closes the connection"
    LOSE_RESPONSE = "executes the request and loses the response"


class FaultyProxy:
    """Forwards requests to a server, or fails; `requests` records them with their headers."""

    def __init__(self, server: str) -> None:
        self.fault = Fault.NONE
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.released = threading.Event()
        self.server = urlsplit(server).netloc
        handler = type("Handler", (_Handler,), {"proxy": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self.port = int(self._http.server_address[1])
        self.address = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self.released.set()
        self._http.shutdown()
        self._http.server_close()


class _Handler(BaseHTTPRequestHandler):
    proxy: FaultyProxy

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.proxy.requests.append((self.command, self.path, dict(self.headers)))
        fault = self.proxy.fault
        if fault is Fault.HANG:
            self.proxy.released.wait(60)
        if fault in (Fault.HANG, Fault.CLOSE):
            self.close_connection = True
            return
        if fault is Fault.ERROR:
            self._answer(500, b"out of order", {})
            return
        try:
            status, answer, headers = self._forward(body)
        except OSError:
            self.close_connection = True
            return
        if fault is Fault.LOSE_RESPONSE:
            self.close_connection = True
            return
        self._answer(status, answer, headers)

    def _forward(self, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        connection = http.client.HTTPConnection(self.proxy.server, timeout=60)
        try:
            kept = {name: value for name, value in self.headers.items() if name.lower() != "accept-encoding"}
            connection.request(self.command, self.path, body, kept)
            response = connection.getresponse()
            content = {"Content-Type": response.headers.get("Content-Type", "application/json")}
            return response.status, response.read(), content
        finally:
            connection.close()

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *values: Any) -> None:
        """Print nothing."""

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the library's names
