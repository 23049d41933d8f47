"""A source of custom metrics that the API server asks, in the place of an adapter in front of Prometheus."""

import json
import ssl
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.harness.api import Api, Object, condition

GROUP, VERSION = "custom.metrics.k8s.io", "v1beta1"
_NAME = "custom-metrics"
_ROOT = f"/apis/{GROUP}/{VERSION}"


class CustomMetrics:
    """Tells a metric of each pod that is ready, as the custom metrics API; a context manager.

    The API server finds it as any aggregated API: by an APIService and a Service, here one that leads to
    loopback.
    """

    def __init__(self, api: Api, pki: Path, namespace: str, metric: str):
        """Plan a source of one metric of the pods in a namespace, behind a certificate in `pki`."""
        self.value = 0
        """What every pod tells from now on."""
        self._api = api
        self._namespace = namespace
        self._metric = metric
        source = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                answer = source._answer(self.path)
                body = json.dumps(answer if answer is not None else {}).encode()
                self.send_response(200 if answer is not None else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki / "server.crt", pki / "server.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> "CustomMetrics":
        """Serve, and wait until the API server passes requests on."""
        self._thread.start()
        service = {"type": "ExternalName", "externalName": "localhost"}
        placed = {"name": _NAME, "namespace": self._namespace}
        self._api.create({"apiVersion": "v1", "kind": "Service", "metadata": placed, "spec": service})
        self._api.create(self._registration())

        def available(registered: Object) -> bool:
            return condition(registered, "Available").get("status") == "True"

        self._api.wait_object("APIService", None, f"{VERSION}.{GROUP}", available, timeout=60)
        return self

    def __exit__(self, *_: object) -> None:
        """Take the API away, and serve no more."""
        self._api.delete("APIService", None, f"{VERSION}.{GROUP}", missing_ok=True)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _registration(self) -> Object:
        spec = {
            "group": GROUP,
            "version": VERSION,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"name": _NAME, "namespace": self._namespace, "port": self._server.server_port},
        }
        metadata = {"name": f"{VERSION}.{GROUP}"}
        return {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": metadata,
            "spec": spec,
        }

    def _answer(self, path: str) -> Object | None:
        asked = urlsplit(path)
        if asked.path == _ROOT:
            resource = {"name": f"pods/{self._metric}", "namespaced": True, "kind": "MetricValueList"}
            resources = [resource | {"singularName": "", "verbs": ["get"]}]
            common = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}"}
            return common | {"resources": resources}
        if unquote(asked.path) == f"{_ROOT}/namespaces/{self._namespace}/pods/*/{self._metric}":
            return self._values(parse_qs(asked.query).get("labelSelector", [""])[0])
        return None

    def _values(self, labels: str) -> Object:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        items = [
            {
                "describedObject": {
                    "apiVersion": "/v1",
                    "kind": "Pod",
                    "name": pod["metadata"]["name"],
                    "namespace": self._namespace,
                },
                "metricName": self._metric,
                "timestamp": now,
                "value": str(self.value),
            }
            for pod in self._api.list("Pod", self._namespace, labels=labels)
            if condition(pod, "Ready").get("status") == "True"
        ]
        return {
            "kind": "MetricValueList",
            "apiVersion": f"{GROUP}/{VERSION}",
            "metadata": {},
            "items": items,
        }
