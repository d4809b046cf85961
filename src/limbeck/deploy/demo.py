"""``limbeck demo``: a page on this machine that shows what teacher, control and student answer to a
drawing.

The server is bound to the loopback. It sends logits; the page softens them, so that the temperature
can be moved by hand.
"""

import base64
import io
import json
import sys
from collections.abc import Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from threading import Lock
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck._base import bundle_runtime as runtime
from limbeck._base.errors import ConfigError
from limbeck.data import Dataset
from limbeck.data.dataset import as_float
from limbeck.deploy.shown import Shown
from limbeck.report.examples import png_of

LARGEST_UPLOAD = 32 << 20
EXAMPLES = 12
INK = 0.2
"""A pixel is ink if it is brighter than this share of the brightest."""
PAGE = {
    "/": ("demo.html", "text/html"),
    "/demo.css": ("demo.css", "text/css"),
    "/demo.js": ("demo.js", "text/javascript"),
}
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
POLICY += "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class Demo:
    """The page's server.

    Args:
        models: what is shown, from left to right.
        data: for the shape of inputs, the classes, and some validation images to try.
        port: 0 for any that is free.

    Raises:
        ConfigError: inputs are no images, or the port is taken.
    """

    def __init__(self, models: Sequence[Shown], data: Dataset, *, port: int = 0):
        if (
            data.train.inputs.dtype != torch.uint8
            or len(data.shape) != 3
            or data.shape[0] not in (1, 3)
        ):
            raise ConfigError(
                f"limbeck demo shows images, and the inputs of {data.name} are none "
                f"({list(data.shape)})."
            )
        self.models, self.data = models, data
        self._facts = json.dumps(self._describe()).encode()
        self._lock = Lock()
        handler = type("Handler", (_Handler,), {"demo": self})
        try:
            self.server = _Server(("127.0.0.1", port), handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"port={port} cannot be used ({reason}); name another, or none for any."
            ) from None

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self.server.server_port}/"

    def serve(self) -> None:
        """Answer until interrupted."""
        with self.server:
            self.server.serve_forever()

    def answer(self, pixels: np.ndarray) -> list[list[float]]:
        """Logits of each model for an image uint8 ``[C, H, W]``."""
        inputs = as_float(torch.from_numpy(pixels)[None])
        with self._lock, torch.inference_mode():
            return [model.answer(inputs)[0].double().tolist() for model in self.models]

    @property
    def facts(self) -> bytes:
        """What the page needs to know, as JSON."""
        return self._facts

    def _describe(self) -> dict[str, Any]:
        channels, height, width = self.data.shape
        dark, fill = drawing_habits(self.data.train.inputs)
        rows = _one_of_each(self.data, EXAMPLES)
        examples = [
            {
                "label": self.data.class_names[int(self.data.val.labels[row])],
                "png": png_of(self.data.val.inputs[row].numpy()),
                "pixels": base64.b64encode(self.data.val.inputs[row].numpy().tobytes()).decode(),
            }
            for row in rows
        ]
        return {
            "data": self.data.name,
            "classes": self.data.class_names,
            "channels": channels,
            "height": height,
            "width": width,
            "dark": dark,
            "fill": fill,
            "examples": examples,
            "models": [{"role": m.role, "name": m.name, "about": m.about} for m in self.models],
        }


def drawing_habits(images: Tensor, most: int = 1000) -> tuple[bool, float]:
    """How things are drawn in a data set: light on dark or not, and how much of the image they
    fill.

    Args:
        images: uint8 ``[N, C, H, W]``.
        most: how many to look at.

    Returns:
        Whether the ground is dark, and the median over images of the longer side of what is drawn,
        as a share.
    """
    grey = images[:most].float().mean(1) / 255
    edge = torch.cat([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], 1)
    dark = bool(edge.mean() < 0.5)
    ink = (grey if dark else 1 - grey) > INK
    rows, columns = ink.any(2).float(), ink.any(1).float()
    spans = [_span(side) / side.shape[1] for side in (rows, columns)]
    return dark, round(float(torch.stack(spans).amax(0).median().clamp(min=0.1)), 3)


def _span(side: Tensor) -> Tensor:
    """From the first to the last 1 in each row."""
    places = torch.arange(1, side.shape[1] + 1, device=side.device)
    last = (side * places).amax(1)
    first = (side * places.flip(0)).amax(1)
    return (last + first - side.shape[1]).clamp(min=1)


def _one_of_each(data: Dataset, most: int) -> list[int]:
    """Rows of the validation split, as many classes as possible."""
    rows: list[int] = []
    labels = data.val.labels
    for turn in range(most):
        for k in range(data.classes):
            of_class = (labels == k).nonzero().flatten()
            if turn < len(of_class) and len(rows) < most:
                rows.append(int(of_class[turn]))
    return rows


class _Server(ThreadingHTTPServer):
    """Bound to the loopback; a browser that goes away is no error."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say what went wrong, unless the other side has hung up."""
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            print(f"a request failed: {type(error).__name__}: {error}", file=sys.stderr)


class _Handler(BaseHTTPRequestHandler):
    """Answers the page and nobody else: requests must name this host, and come from this page if
    from any.
    """

    demo: Demo
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "limbeck", ""
    timeout = 60

    def do_GET(self) -> None:
        """The page, its style and script, and the facts."""
        if not self._trusted():
            return
        if self.path == "/facts":
            self._send(HTTPStatus.OK, self.demo.facts, "application/json")
        elif self.path in PAGE:
            name, kind = PAGE[self.path]
            self._send(HTTPStatus.OK, files("limbeck.deploy").joinpath(name).read_bytes(), kind)
        elif self.path == "/favicon.ico":
            self._send(HTTPStatus.NO_CONTENT, b"", "image/x-icon")
        else:
            self.close_connection = True
            self._send(HTTPStatus.NOT_FOUND, b"nothing here", "text/plain")

    def do_POST(self) -> None:
        """``/answer`` takes the pixels of one input, ``/image`` an image file."""
        body = self._body() if self._trusted() else None
        if body is None:
            return
        if self.path == "/answer":
            pixels = np.frombuffer(body, np.uint8)
            if pixels.size != np.prod(self.demo.data.shape):
                self._fail(f"{pixels.size} bytes; an input has {list(self.demo.data.shape)}")
                return
            self._answer(pixels.reshape(self.demo.data.shape).copy())
        elif self.path == "/image":
            self._answer_file(body)
        else:
            self.close_connection = True
            self._send(HTTPStatus.NOT_FOUND, b"nothing here", "text/plain")

    def _answer_file(self, content: bytes) -> None:
        channels, height, width = self.demo.data.shape
        try:
            pixels = runtime.decode(
                io.BytesIO(content),
                size=(height, width),
                channels=channels,
                name="this file",
                crop_border=self.demo.data.crop_border,
            )
        except runtime.PictureError as error:
            self._fail(str(error))
            return
        self._answer(pixels)

    def _answer(self, pixels: np.ndarray) -> None:
        found = {"logits": self.demo.answer(pixels), "png": png_of(pixels)}
        self._send(HTTPStatus.OK, json.dumps(found).encode(), "application/json")

    def _trusted(self) -> bool:
        host = self.headers.get("Host", "")
        origin = self.headers.get("Origin")
        own = {f"{name}:{self.demo.server.server_port}" for name in ("127.0.0.1", "localhost")}
        if host in own and (origin is None or origin.removeprefix("http://") in own):
            return True
        self.close_connection = True  # what was sent along is not read
        self._send(HTTPStatus.FORBIDDEN, b"this page is for this machine alone", "text/plain")
        return False

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 12):
            self._fail("how long it is was not said")
        elif int(length) > LARGEST_UPLOAD:
            self._fail(f"this file is larger than {LARGEST_UPLOAD >> 20} MiB")
        else:
            return self.rfile.read(int(length))
        return None

    def _fail(self, reason: str) -> None:
        self.close_connection = True  # what was sent may not have been read
        self._send(
            HTTPStatus.BAD_REQUEST, json.dumps({"error": reason}).encode(), "application/json"
        )

    def _send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header(
            "Content-Type", f"{kind}; charset=utf-8" if kind.startswith("text/") else kind
        )
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of requests."""

    def log_error(self, format: str, *args: Any) -> None:
        """Say what went wrong."""
        print(format % args, file=sys.stderr)
