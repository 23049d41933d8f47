"""A server that answers as vLLM does to whoever asks it for its models and a token, on loopback.

It stands where a Service would lead, or in place of the proxy that leads there: it takes whole addresses too.
"""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

TOKEN = b'data: {"object": "text_completion", "choices": [{"text": " there"}]}\n\ndata: [DONE]\n\n'


class Answering:
    """Answers on `port` while the context lasts; what it answers may be changed meanwhile."""

    def __init__(self, *models: str) -> None:
        self.models: Any = {"object": "list", "data": [{"id": model} for model in models]}
        """Body of /v1/models: JSON, or bytes as they are."""
        self.status = {"/v1/models": 200, "/v1/completions": 200}
        self.headers: dict[str, str] = {}
        self.token = TOKEN
        self.asked: list[tuple[str, str, Any]] = []
        """Method, target and body of every request."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "Answering":
        """Begin to answer."""
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        answering = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                models = answering.models
                self._answer(models if isinstance(models, bytes) else json.dumps(models).encode())

            def do_POST(self) -> None:
                self._answer(answering.token)

            def _answer(self, body: bytes) -> None:
                sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                answering.asked.append((self.command, self.path, json.loads(sent) if sent else None))
                self.send_response(answering.status["/v1/" + self.path.rsplit("/", 1)[-1]])
                for name, value in answering.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # who has read enough leaves
                    self.wfile.write(body)

            def log_request(self, *_: object) -> None:
                """Say nothing."""

        return Handler
