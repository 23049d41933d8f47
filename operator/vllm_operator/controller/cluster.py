"""The one door to the Kubernetes client: reads and writes of single objects.

Answers are plain JSON. The client's typed models are passed by: they validate after the write has
happened, and cost more CPU than the request. Its `call_api` gives authentication, TLS and connections.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from socket import socket
from typing import Any
from urllib.parse import urlencode

from aiohttp import ClientError, ClientTimeout, TCPConnector
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.rest import RESTResponse

from vllm_operator.api.meta import GROUP, VERSION
from vllm_operator.api.seen import Manifest, Ref
from vllm_operator.controller.outcome import ApiError
from vllm_operator.controller.paths import path_of
from vllm_operator.desired.canonical import encode
from vllm_operator.desired.names import FIELD_MANAGER

REQUEST_TIMEOUT_SECONDS = 15
LOG_SECONDS = 3
CONNECTIONS = 32
UIDS_PAGE = 100
"""Objects that one answer of `uids` brings, with all that their managedFields say. Python keeps for good most
of what the largest answer took, and so ever fewer requests are not worth a larger one.
"""

# A charset, because the client calls json.dumps itself for every dict and for the bare content type, and
# what that writes above U+FFFF the API server refuses. It cuts the parameter off (k8s.io/apiserver
# v0.36.3, pkg/endpoints/handlers/patch.go), and the client passes bytes through.
_APPLY = "application/apply-patch+yaml; charset=utf-8"
_METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_JSON_PATCH = "application/json-patch+json"

_METHODS = {"APPLY": "PATCH", "LIST": "GET", "WATCH": "GET"}
"""Methods of the verbs that HTTP does not have: verbs are those of the API server's own metrics."""


class Cluster:
    """Reads and writes single objects of a cluster, through the sockets that are made by `sockets`.

    `requested` is told of every request: its verb, and the code of the answer or `error`.
    """

    def __init__(
        self,
        configuration: Configuration,
        requested: Callable[[str, str], None],
        sockets: Callable[[Any], socket] | None = None,
    ) -> None:
        self._requested = requested
        self._client = ApiClient(configuration)
        self._client.user_agent = FIELD_MANAGER
        self._connector = TCPConnector(
            limit=CONNECTIONS, ssl=self._client.rest_client.ssl_context, socket_factory=sockets
        )
        # Proxies of the environment are meant for the way out, not for the API server; kopf ignores them too.
        configuration.client_session_kwargs = {"trust_env": False, "connector": self._connector}

    async def close(self) -> None:
        """End all connections."""
        await self._client.close()  # type: ignore[no-untyped-call]
        await self._connector.close()

    async def served(self) -> bool:
        """Whether our resources are known to the API server: the CRDs are installed. Raises ApiError."""
        try:
            await self._call("GET", f"/apis/{GROUP}/{VERSION}")
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    async def get(self, ref: Ref, namespace: str) -> Manifest | None:
        """An object, or None when there is none. Raises ApiError."""
        try:
            return await self._call("GET", path_of(ref[0], namespace, ref[1]))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def uids(self, kind: str, namespace: str | None, selector: str = "") -> tuple[set[str], int]:
        """The uids of all objects of a kind, in one namespace or in all, and the resourceVersion at which
        these were all. Raises ApiError.
        """
        found: set[str] = set()
        async for answer in self._pages(kind, namespace, selector, _METADATA_ONLY):
            found |= {item["metadata"]["uid"] for item in answer["items"] or ()}
        return found, int(answer["metadata"]["resourceVersion"])

    async def try_list(self, kind: str, namespace: str) -> None:
        """List no more than one object, to see whether that may be done. Raises ApiError."""
        await self._call("LIST", path_of(kind, namespace), {"limit": "1"}, accept=_METADATA_ONLY)

    async def objects(self, kind: str, namespace: str | None, selector: str) -> tuple[list[Manifest], int]:
        """All objects of a kind, and the resourceVersion at which these were all. Raises ApiError."""
        found: list[Manifest] = []
        async for answer in self._pages(kind, namespace, selector, "application/json"):
            found += answer["items"] or ()
        return found, int(answer["metadata"]["resourceVersion"])

    async def _pages(
        self, kind: str, namespace: str | None, selector: str, accept: str
    ) -> AsyncGenerator[Manifest, None]:
        query = {"limit": str(UIDS_PAGE), "labelSelector": selector}
        while True:
            answer = await self._call("LIST", path_of(kind, namespace), query, accept=accept)
            yield answer
            query["continue"] = answer["metadata"].get("continue", "")
            if not query["continue"]:
                return

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object by an apply without force. Raises ApiError, with 409 if others hold its fields.

        Never by POST: what was created by POST a later apply does not remove.
        """
        return await self._apply(manifest, force=False)

    async def apply(self, manifest: Manifest, uid: str) -> Manifest:
        """Apply to the very object that has this uid. Raises ApiError, with 409 or 422 if it is another."""
        metadata = {**manifest["metadata"], "uid": uid}
        try:
            return await self._apply({**manifest, "metadata": metadata}, force=True)
        except ApiError as error:
            if error.status == 422 and "metadata.uid" in error.fields:
                raise ApiError(409, error.message) from error  # made anew meanwhile: nobody's mistake
            raise

    async def _apply(self, manifest: Manifest, *, force: bool, subresource: str = "") -> Manifest:
        metadata = manifest["metadata"]
        path = path_of(
            manifest["kind"], metadata["namespace"], metadata["name"], *filter(None, [subresource])
        )
        query = {"fieldManager": FIELD_MANAGER, "force": str(force).lower(), "fieldValidation": "Strict"}
        return await self._call("APPLY", path, query, body=encode(manifest).encode(), content_type=_APPLY)

    async def overwrite(self, manifest: Manifest, uid: str, *path: str) -> Manifest:
        """Set one field of the very object that has this uid to the manifest's, whoever owns parts of it.

        For lists in which an apply cannot remove what others have put in our place. Raises ApiError.
        """
        value: Any = manifest
        for part in path:
            value = value[part]
        operations = [
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "replace", "path": "/" + "/".join(path), "value": value},
        ]
        metadata = manifest["metadata"]
        where = path_of(manifest["kind"], metadata["namespace"], metadata["name"])
        query = {"fieldManager": FIELD_MANAGER}
        return await self._call("PATCH", where, query, body=operations, content_type=_JSON_PATCH)

    async def apply_status(self, manifest: Manifest) -> Manifest:
        """Apply the whole status of one of our resources. Raises ApiError."""
        return await self._apply(manifest, force=True, subresource="status")

    async def delete(self, ref: Ref, namespace: str, uid: str) -> None:
        """Delete the very object that has this uid; it may be gone already. Raises ApiError."""
        options = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        body = {"apiVersion": "v1", "kind": "DeleteOptions", **options}
        try:
            await self._call("DELETE", path_of(ref[0], namespace, ref[1]), body=body)
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    async def post_event(self, namespace: str, event: Manifest) -> None:
        """Post an Event. Raises ApiError."""
        await self._call("POST", path_of("Event", namespace), body=event)

    async def post(self, manifest: Manifest) -> Manifest:
        """Create what is nobody's but ours, and never applied. Raises ApiError, with 409 if it exists."""
        return await self._call(
            "POST", path_of(manifest["kind"], manifest["metadata"]["namespace"]), body=manifest
        )

    async def put(self, manifest: Manifest) -> Manifest:
        """Replace an object. Raises ApiError, with 409 if it is of another resourceVersion by now."""
        metadata = manifest["metadata"]
        path = path_of(manifest["kind"], metadata["namespace"], metadata["name"])
        return await self._call("PUT", path, body=manifest)

    async def watch(self, ref: Ref, namespace: str, version: str) -> AsyncGenerator[Manifest | None, None]:
        """All changes of one object since a version, None for its deletion, until the API server ends it.

        A connection that is dead does not end it: whoever waits here knows for how long. Raises ApiError.
        """
        query = {"watch": "true", "fieldSelector": f"metadata.name={ref[1]}", "resourceVersion": version}
        patience = ClientTimeout(total=None, sock_connect=REQUEST_TIMEOUT_SECONDS)
        with _faults():
            answer = await self._send(
                "WATCH", path_of(ref[0], namespace), query, headers={}, timeout=patience
            )
            try:
                if answer.status >= 300:
                    raise ApiError.read(answer.status, await answer.read(), "")  # type: ignore[no-untyped-call]
                async for line in answer.response.content:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        raise ApiError(event["object"].get("code", 500), event["object"].get("message", ""))
                    yield event["object"] if event["type"] != "DELETED" else None
            finally:
                answer.response.close()

    async def events_about(self, namespace: str, uid: str) -> list[Manifest]:
        """The Events about the object that has this uid. Raises ApiError."""
        query = {"fieldSelector": f"involvedObject.uid={uid}"}
        answer = await self._call("LIST", f"/api/v1/namespaces/{namespace}/events", query)
        items: list[Manifest] = answer["items"] or []
        return items

    async def last_lines(self, namespace: str, pod: str, container: str) -> str:
        """The last lines of a container's log. Raises ApiError, OSError or TimeoutError."""
        query = {"container": container, "tailLines": "10", "limitBytes": "65536"}
        # The API server asks the node, which may be dead.
        async with asyncio.timeout(LOG_SECONDS):
            data = await self._ask("GET", f"{path_of('Pod', namespace, pod)}/log", query)
        return data.decode(errors="replace")

    async def _call(
        self,
        verb: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: bytes | Manifest | list[Manifest] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Manifest:
        data = await self._ask(verb, path, query, body=body, content_type=content_type, accept=accept)
        answer: Manifest = json.loads(data)
        return answer

    async def _ask(
        self,
        verb: str,
        path: str,
        query: Mapping[str, str] | None = None,
        *,
        body: bytes | Manifest | list[Manifest] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> bytes:
        headers = {"Content-Type": content_type, "Accept": accept}
        with _faults():
            response = await self._send(
                verb, path, query, body=body, headers=headers, timeout=REQUEST_TIMEOUT_SECONDS
            )
            data: bytes = await response.read()  # type: ignore[no-untyped-call]
        if response.status >= 300:
            raise ApiError.read(response.status, data, response.headers.get("Retry-After", ""))
        return data

    async def _send(
        self,
        verb: str,
        path: str,
        query: Mapping[str, str] | None,
        *,
        timeout: float | ClientTimeout,
        headers: Mapping[str, str],
        body: bytes | Manifest | list[Manifest] | None = None,
    ) -> RESTResponse:
        client, method = self._client, _METHODS.get(verb, verb)
        sent = {**client.default_headers, **headers}
        await client.update_params_for_auth(sent, None, ["BearerToken"], path, method, None)
        url = f"{client.configuration.host}{path}{'?' + urlencode(query) if query else ''}"
        code = "error"
        try:
            answer = await client.call_api(method, url, sent, body, _request_timeout=timeout)
            code = str(answer.status)
        finally:
            self._requested(verb, code)
        return answer


@contextmanager
def _faults() -> Iterator[None]:
    """Raise faults of the connection as OSError, which not all of the client's are."""
    try:
        yield
    except ClientError as error:
        raise ConnectionError(str(error) or type(error).__name__) from error
