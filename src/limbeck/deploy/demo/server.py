"""Server of the demo page, for this machine only."""

import json
import sys
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from threading import BoundedSemaphore
from typing import Any, Protocol

from limbeck._base.errors import ConfigError, DataError
from limbeck._base.printable import printable
from limbeck._base.runtime.errors import RuntimeFailure
from limbeck.deploy.demo.inputs import DemoInput, FieldError, Reader
from limbeck.report import palette

MAX_UPLOAD = 32 << 20
MAX_CONNECTIONS, MAX_BODIES = 64, 4
"""Number of connections at a time, and of requests whose content is in memory at a time."""
TIMEOUT = 60
"""Seconds to wait for a request, and for all of its content."""
_CHUNK = 1 << 16
SCRIPTS = ("page", "dom", "requests", "answers", "image", "text", "table")
PAGE = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript") for name in SCRIPTS},
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


class Answers(Protocol):
    """What the page asks for."""

    facts: bytes
    readers: Mapping[str, Reader]

    def answer(self, example: DemoInput) -> dict[str, Any]:
        """Return the outputs of each model for one input, and the facts about the input."""


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


def make_server(answers: Answers, port: int) -> Server:
    """Create the server.

    Args:
        answers: Models behind the page.
        port: Port of the server. 0 for any free port.

    Raises:
        ConfigError: If the port is not available.
    """
    handler = type("Handler", (_Handler,), {"answers": answers})
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

    answers: Answers
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "limbeck", ""
    timeout = TIMEOUT

    def do_GET(self) -> None:
        """Send the page, its style and script, or the facts."""
        if not self._is_trusted():
            return
        if self.path == "/facts":
            self._send(HTTPStatus.OK, self.answers.facts, "application/json")
        elif self.path in PAGE:
            name, content_type = PAGE[self.path]
            content = files("limbeck.deploy.demo").joinpath(name).read_bytes()
            if content_type == "text/css":
                content = palette.css().encode() + content
            self._send(HTTPStatus.OK, content, content_type)
        elif self.path == "/favicon.ico":
            self._send(HTTPStatus.NO_CONTENT, b"", "image/x-icon")
        else:
            self._refuse_path()

    def do_POST(self) -> None:
        """Answer one input."""
        if not self._is_trusted():
            return
        read = self.answers.readers.get(self.path)
        if read is None:
            self._refuse_path()
            return
        server: Any = self.server
        with server.bodies:
            body = self._read_body()
            if body is not None:
                self._answer(read, body)

    def _answer(self, read: Reader, body: bytes) -> None:
        try:
            reply = self.answers.answer(read(body))
        except FieldError as error:
            self._send_error_message(str(error), field=error.number)
        except (DataError, RuntimeFailure) as error:
            self._send_error_message(str(error))
        else:
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

    def _send_error_message(self, reason: str, **facts: Any) -> None:
        self.close_connection = True  # the body of the request may not have been read
        content = json.dumps({"error": reason, **facts}).encode()
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
