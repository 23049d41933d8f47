"""A small synchronous client of a real API server, for tests; errors carry the server's own words."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.harness.kinds import KINDS
from tests.harness.kubeconfig import read_kubeconfig

Object = dict[str, Any]
Objects = list[Object]
T = TypeVar("T")

MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
# The server reads an apply body as YAML, which refuses or changes these characters when they come raw.
_NOT_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
_SHOWN = 6000


class ApiError(Exception):
    """The API server said no."""

    def __init__(self, method: str, path: str, code: int, status: Mapping[str, Any]):
        """Keep the HTTP code, the reason (such as `AlreadyExists`) and the server's message."""
        self.code = code
        self.reason = str(status.get("reason", ""))
        self.message = str(status.get("message", ""))
        self.details = status.get("details") or {}
        super().__init__(f"{method} {path}: {code} {self.reason}: {self.message}")


def encode(value: object) -> bytes:
    """Write JSON that a YAML reader takes unchanged, whatever the strings hold."""
    text = json.dumps(value, ensure_ascii=False)
    return _NOT_YAML.sub(lambda found: f"\\u{ord(found.group()):04x}", text).encode()


class Api:
    """Talks to the API server of a kubeconfig; usable from several threads, and a context manager."""

    def __init__(self, kubeconfig: Path):
        """Connect to the kubeconfig's current context."""
        connection = read_kubeconfig(kubeconfig)
        self.url = connection.server
        self.warnings: list[str] = []
        self._last: tuple[str, Object] = ("nothing was asked", {})
        headers = {"Authorization": f"Bearer {connection.token}"} if connection.token else {}
        self._client = httpx.Client(
            base_url=connection.server,
            headers=headers,
            verify=connection.ssl_context(),
            timeout=60.0,
            limits=httpx.Limits(max_connections=200),
            trust_env=False,
        )

    def __enter__(self) -> "Api":
        """Return the client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        content_type: str = "application/json",
        parameters: Mapping[str, str] | None = None,
    ) -> Object:
        """Send one request and return the answer, or raise `ApiError` with the server's message."""
        content = None if body is None else encode(body)
        headers = {"Content-Type": content_type} if body is not None else {}
        query = dict(parameters or {})
        answer = self._client.request(method, path, content=content, headers=headers, params=query)
        self.warnings += answer.headers.get_list("Warning")
        decoded = _decode(answer)
        self._last = (f"{method} {path} -> {answer.status_code}", decoded)
        if answer.is_error:
            raise ApiError(method, path, answer.status_code, decoded)
        return decoded

    def create(self, obj: Object, dry_run: bool = False) -> Object:
        """Create an object and return it as stored."""
        path = _kind(obj).path(obj["metadata"].get("namespace"))
        return self.request("POST", path, obj, parameters={"dryRun": "All"} if dry_run else None)

    def apply(
        self,
        obj: Object,
        manager: str = "test",
        *,
        force: bool = False,
        subresource: str | None = None,
        dry_run: bool = False,
    ) -> Object:
        """Apply an object (server-side) as a field manager; a conflict is an error unless forced."""
        metadata = obj["metadata"]
        path = _kind(obj).path(metadata.get("namespace"), metadata["name"], subresource)
        parameters = {"fieldManager": manager, "force": str(force).lower(), "fieldValidation": "Strict"}
        if dry_run:
            parameters["dryRun"] = "All"
        return self.request("PATCH", path, obj, APPLY_PATCH, parameters)

    def get(self, kind: str, namespace: str | None, name: str) -> Object | None:
        """Return an object, or None when there is none of that name."""
        try:
            return self.request("GET", KINDS[kind].path(namespace, name))
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def list(self, kind: str, namespace: str | None = None, labels: str = "", fields: str = "") -> Objects:
        """Return the objects of a kind, of all namespaces if none is given; selectors are as in kubectl."""
        parameters = {"labelSelector": labels, "fieldSelector": fields}
        chosen = {key: value for key, value in parameters.items() if value}
        answer = self.request("GET", KINDS[kind].path(namespace), parameters=chosen)
        items: Objects = answer["items"]
        return [{"apiVersion": KINDS[kind].api_version, "kind": kind} | item for item in items]

    def delete(
        self,
        kind: str,
        namespace: str | None,
        name: str,
        *,
        propagation: str | None = None,
        grace_seconds: int | None = None,
        missing_ok: bool = False,
    ) -> None:
        """Delete an object; `propagation` is Background, Foreground or Orphan."""
        options = {"propagationPolicy": propagation, "gracePeriodSeconds": grace_seconds}
        body = {key: value for key, value in options.items() if value is not None}
        try:
            self.request("DELETE", KINDS[kind].path(namespace, name), body)
        except ApiError as error:
            if not (missing_ok and error.code == 404):
                raise

    def patch(
        self, kind: str, namespace: str | None, name: str, body: Object, subresource: str | None = None
    ) -> Object:
        """Merge-patch an object and return it as stored; None as a value removes a field."""
        return self.request("PATCH", KINDS[kind].path(namespace, name, subresource), body, MERGE_PATCH)

    def patch_status(self, kind: str, namespace: str | None, name: str, status: Object) -> Object:
        """Merge-patch an object's status."""
        return self.patch(kind, namespace, name, {"status": status}, "status")

    def scale(self, kind: str, namespace: str, name: str, replicas: int) -> Object:
        """Ask for a number of replicas through the scale subresource, as `kubectl scale` does."""
        return self.patch(kind, namespace, name, {"spec": {"replicas": replicas}}, "scale")

    def token(self, namespace: str, service_account: str, seconds: int = 86400) -> str:
        """Return a fresh token of a ServiceAccount."""
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": seconds},
        }
        path = KINDS["ServiceAccount"].path(namespace, service_account, "token")
        return str(self.request("POST", path, body)["status"]["token"])

    def watch(
        self, kind: str, namespace: str | None, seconds: int = 30, since: str | None = None
    ) -> Iterator[tuple[str, Object]]:
        """Yield (event type, object) until the time limit.

        Without `since`, a resourceVersion, all objects there are come first, as ADDED.
        """
        parameters = {"watch": "true", "timeoutSeconds": str(seconds)}
        if since is not None:
            parameters["resourceVersion"] = since
        path = KINDS[kind].path(namespace)
        with self._client.stream("GET", path, params=parameters, timeout=seconds + 30.0) as answer:
            if answer.is_error:
                answer.read()
                raise ApiError("WATCH", path, answer.status_code, _decode(answer))
            for line in answer.iter_lines():
                event = json.loads(line)
                yield event["type"], event["object"]

    def wait_for(self, predicate: Callable[[], T | None], timeout: float = 30.0, message: str = "") -> T:
        """Return the predicate's first true answer; after `timeout` seconds fail and show what was read last.

        A predicate may also assert: its last assertion is then part of the failure.
        """
        deadline = time.monotonic() + timeout
        while True:
            reason = ""
            try:
                if answer := predicate():
                    return answer
            except AssertionError as error:
                reason = f"\nlast assertion: {error}"
            if time.monotonic() > deadline:
                late = f"not within {timeout:.0f} s: {message}"
                asked, answered = self._last
                raise AssertionError(f"{late}{reason}\nlast read: {asked} {_shown(answered)}")
            time.sleep(0.05)

    def wait_object(
        self,
        kind: str,
        namespace: str | None,
        name: str,
        predicate: Callable[[Object], object] = bool,
        *,
        timeout: float = 30.0,
        message: str = "",
    ) -> Object:
        """Return an object as soon as it exists and the predicate holds for it."""

        def found() -> Object | None:
            obj = self.get(kind, namespace, name)
            return obj if obj is not None and predicate(obj) else None

        return self.wait_for(found, timeout, message or f"{kind} {namespace}/{name}")

    def wait_gone(self, kind: str, namespace: str | None, name: str, timeout: float = 30.0) -> None:
        """Wait until there is no object of that name."""
        message = f"{kind} {namespace}/{name} gone"
        self.wait_for(lambda: self.get(kind, namespace, name) is None, timeout, message)


def condition(obj: Object, kind: str) -> Object:
    """Return the condition of a type from an object's status, or an empty dict."""
    conditions: list[Object] = obj.get("status", {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == kind), {})


def _kind(obj: Object) -> Any:
    return KINDS[obj["kind"]]


def _decode(answer: httpx.Response) -> Object:
    try:
        decoded = answer.json()
    except ValueError:
        return {"message": answer.text}
    return decoded if isinstance(decoded, dict) else {"value": decoded}


def _shown(obj: Object) -> str:
    def without_noise(item: Object) -> Object:
        return {key: value for key, value in item.items() if key != "managedFields"}

    text = json.dumps(json.loads(json.dumps(obj), object_hook=without_noise), indent=1, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + " ..."
