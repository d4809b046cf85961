"""Server of the demo page, for this machine only."""

import io
import json
import sys
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from threading import BoundedSemaphore
from typing import Any, Protocol

import numpy as np

from limbeck._base.errors import ConfigError
from limbeck._base.printable import printable
from limbeck._base.runtime.errors import RuntimeFailure
from limbeck._base.runtime.images import decode
from limbeck.data import Dataset
from limbeck.report import palette
from limbeck.report.examples import png_of

MAX_UPLOAD = 32 << 20
MAX_CONNECTIONS, MAX_BODIES = 64, 4
"""Number of connections at a time, and of requests whose content is in memory at a time."""
TIMEOUT = 60
"""Seconds to wait for a request, and for all of its content."""
_CHUNK = 1 << 16
PAGE = {
    "/": ("demo.html", "text/html"),
    "/demo.css": ("demo.css", "text/css"),
    "/demo.js": ("demo.js", "text/javascript"),
}
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)


class Classifiers(Protocol):
    """The models behind the page."""

    data: Dataset
    facts: bytes

    def answer(self, pixels: np.ndarray) -> list[list[float]]:
        """Logits of each model for one image, uint8 ``[C, H, W]``."""


class Server(ThreadingHTTPServer):
    """Server on the loopback interface."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *args: Any):
        super().__init__(*args)
        self._connections = BoundedSemaphore(MAX_CONNECTIONS)
        self.bodies = BoundedSemaphore(MAX_BODIES)
        """Slots of requests with content."""

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer a connection in a thread; further connections wait in the queue."""
        self._connections.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._connections.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer a connection, and then allow another one."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print an error, unless the browser closed the connection."""
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            print(printable(f"A request failed: {type(error).__name__}: {error}"), file=sys.stderr)


def make_server(classifiers: Classifiers, port: int) -> Server:
    """Create the server.

    Args:
        classifiers: Models behind the page.
        port: Port of the server. 0 for any free port.

    Raises:
        ConfigError: If the port is not available.
    """
    handler = type("Handler", (_Handler,), {"classifiers": classifiers})
    try:
        return Server(("127.0.0.1", port), handler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"port={port} cannot be used ({reason}). Choose another port, or leave it out to use "
            "any free port."
        ) from None


class _Handler(BaseHTTPRequestHandler):
    """Handler of the page's requests. It refuses other hosts and the pages of other sites."""

    classifiers: Classifiers
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "limbeck", ""
    timeout = TIMEOUT

    def do_GET(self) -> None:
        """Send the page, its style and script, or the facts."""
        if not self._is_trusted():
            return
        if self.path == "/facts":
            self._send(HTTPStatus.OK, self.classifiers.facts, "application/json")
        elif self.path in PAGE:
            name, content_type = PAGE[self.path]
            content = files("limbeck.deploy").joinpath(name).read_bytes()
            if content_type == "text/css":
                content = palette.css().encode() + content
            self._send(HTTPStatus.OK, content, content_type)
        elif self.path == "/favicon.ico":
            self._send(HTTPStatus.NO_CONTENT, b"", "image/x-icon")
        else:
            self._refuse_path()

    def do_POST(self) -> None:
        """Classify the pixels of one input (``/answer``) or an image file (``/image``)."""
        if not self._is_trusted():
            return
        server: Any = self.server
        with server.bodies:
            body = self._read_body()
            if body is None:
                return
            if self.path == "/answer":
                self._answer_pixels(body)
            elif self.path == "/image":
                self._answer_file(body)
            else:
                self._refuse_path()

    def _answer_pixels(self, body: bytes) -> None:
        shape = self.classifiers.data.shape
        pixels = np.frombuffer(body, np.uint8)
        if pixels.size != np.prod(shape):
            self._send_error_message(
                f"{pixels.size} bytes were sent, but an input has the shape {list(shape)}"
            )
            return
        self._answer(pixels.reshape(shape).copy())

    def _answer_file(self, body: bytes) -> None:
        channels, height, width = self.classifiers.data.shape
        try:
            pixels = decode(
                io.BytesIO(body),
                size=(height, width),
                channels=channels,
                name="this file",
                crop_border=self.classifiers.data.crop_border,
                value_range=self.classifiers.data.value_range,
            )
        except RuntimeFailure as error:
            self._send_error_message(str(error))
            return
        self._answer(pixels)

    def _answer(self, pixels: np.ndarray) -> None:
        reply = {"logits": self.classifiers.answer(pixels), "png": png_of(pixels)}
        self._send(HTTPStatus.OK, json.dumps(reply).encode(), "application/json")

    def _is_trusted(self) -> bool:
        """Whether a request is addressed to this host and does not come from another site."""
        port = self.server.server_port  # type: ignore[attr-defined]
        own_hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        host = self.headers.get("Host", "")
        origin = self.headers.get("Origin")
        if host in own_hosts and (origin is None or origin.removeprefix("http://") in own_hosts):
            return True
        self.close_connection = True  # the body of the request is not read
        self._send(
            HTTPStatus.FORBIDDEN, b"This page is available on this machine only.", "text/plain"
        )
        return False

    def _read_body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 12):
            self._send_error_message("the length of the request is missing or invalid")
        elif int(length) > MAX_UPLOAD:
            self._send_error_message(f"this file is larger than {MAX_UPLOAD >> 20} MiB")
        else:
            return self._receive(int(length))
        return None

    def _receive(self, length: int) -> bytes:
        """Read the content of a request.

        Raises:
            ConnectionError: If the client closes the connection, or takes too long.
        """
        deadline = time.monotonic() + TIMEOUT
        content = bytearray()
        while len(content) < length:
            chunk = self.rfile.read1(min(_CHUNK, length - len(content)))
            if not chunk or time.monotonic() > deadline:
                raise ConnectionAbortedError("the content of a request is incomplete")
            content += chunk
        return bytes(content)

    def _refuse_path(self) -> None:
        self.close_connection = True
        self._send(HTTPStatus.NOT_FOUND, b"Page not found.", "text/plain")

    def _send_error_message(self, reason: str) -> None:
        self.close_connection = True  # the body of the request may not have been read
        content = json.dumps({"error": reason}).encode()
        self._send(HTTPStatus.BAD_REQUEST, content, "application/json")

    def _send(self, status: HTTPStatus, content: bytes, content_type: str) -> None:
        if content_type.startswith("text/"):
            content_type = f"{content_type}; charset=utf-8"
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Do not log requests."""

    def log_error(self, format: str, *args: Any) -> None:
        """Print errors."""
        print(printable(format % args), file=sys.stderr)
