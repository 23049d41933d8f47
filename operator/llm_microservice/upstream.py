"""The way to vLLM. Nothing else here speaks httpx."""

import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager

import httpx

from llm_microservice.problems import broken, late, unavailable
from llm_microservice.settings import Settings

PASSED_ON = ("x-request-id", "traceparent", "tracestate")
"""Headers of a client that vLLM reads: it names requests and goes on with traces by them."""


@contextmanager
def _told() -> Iterator[None]:
    """Say in our words what httpx says."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        if distrust := _distrust(error):
            raise broken(f"vLLM's certificate is not trusted: {distrust.verify_message}") from error
        raise unavailable("vLLM cannot be reached: it is starting, or stopped") from error
    except httpx.TimeoutException as error:
        raise late("vLLM has sent nothing for too long") from error
    except httpx.HTTPError as error:
        raise broken("vLLM broke off its answer") from error


def _distrust(error: BaseException | None) -> ssl.SSLCertVerificationError | None:
    """The certificate's fault behind an error, if it is one: that does not pass while one waits."""
    while error and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__context__
    return error if isinstance(error, ssl.SSLCertVerificationError) else None


class Upstream:
    """One pool of connections to vLLM.

    No proxy of the environment, no redirects. A connection serves one request and is not kept: one that is
    kept stays with the pod that a Service has once chosen, so that a new replica would get no work; and a
    restarted vLLM leaves no dead ones behind. How many there are at once the gate bounds.
    """

    def __init__(self, settings: Settings):
        """Nothing is asked yet: vLLM need not be there."""
        self._own = {b"authorization": f"Bearer {settings.api_key}".encode()} if settings.api_key else {}
        self._client = httpx.AsyncClient(
            base_url=settings.endpoint,
            # Compressed answers would be held back until they can be unpacked.
            headers={"User-Agent": "llm-microservice", "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(settings.read_timeout, connect=settings.connect_timeout, pool=None),
            # A connection that fails has carried nothing, and another may reach another pod.
            transport=httpx.AsyncHTTPTransport(
                verify=ssl.create_default_context(cafile=settings.ca_file) if settings.ca_file else True,
                retries=1,
                trust_env=False,
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            ),
            trust_env=False,
            follow_redirects=False,
        )

    async def close(self) -> None:
        """Close the pool."""
        await self._client.aclose()

    @property
    def has_key(self) -> bool:
        """Whether there is a key of our own."""
        return bool(self._own)

    @asynccontextmanager
    async def ask(
        self, path: str, body: AsyncIterator[bytes], length: int, client: Mapping[str, str]
    ) -> AsyncIterator[httpx.Response]:
        """Send a request of this length, with headers of its client, and yield the answer as it begins.

        Raises Problem, for what breaks inside the `with` too.
        """
        names = PASSED_ON if self._own else (*PASSED_ON, "authorization")
        # In bytes: as text httpx takes ASCII only.
        headers = {name.encode(): client[name].encode("latin-1") for name in names if name in client}
        headers |= self._own | {b"content-type": b"application/json", b"content-length": b"%d" % length}
        with _told():
            async with self._client.stream("POST", path, content=body, headers=headers) as response:
                yield response

    async def look(self, path: str) -> tuple[int, object]:
        """Return the status of a page, and what it says if that is JSON.

        Raises Problem.
        """
        with _told():
            response = await self._client.get(path, headers=self._own)
            try:
                return response.status_code, response.json()
            except (ValueError, RecursionError):
                return response.status_code, None
