"""Settings of the microservice, from the environment. Read once, and passed down."""

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

WITHOUT_EFFECT = {
    "LLM_DISABLE_STREAMING": "a request says whether it wants a stream",
    "LLM_OUTPUT_GUARD_EXISTS": "a request says whether it wants a stream",
    "LLM_TLS_SKIP_VERIFY": "certificates are always checked; SSL_CERT_FILE says by which authorities",
    "LLM_VLLM_TOKEN_URL": "there is no OAuth; VLLM_API_KEY, or the client's own Authorization header",
    "LLM_VLLM_API_KEY": "it is VLLM_API_KEY here, as in vLLM",
    "TELEMETRY_ENDPOINT": "no traces are made; headers of a trace are passed on to vLLM",
}
"""Variables of the guide's microservice that say nothing here, and why."""
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class InvalidSettingError(ValueError):
    """A variable of the environment holds what it cannot mean."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the microservice works. Times are in seconds.

    `model` empty means that a request without one goes to vLLM without one. `api_key` empty means that the
    client's own Authorization header is passed on.
    """

    endpoint: str
    model: str = ""
    api_key: str = field(default="", repr=False)
    ca_file: str = ""
    """The authorities that may have signed vLLM's certificate; empty for those that all the world knows."""
    address: str = "0.0.0.0"  # noqa: S104 - the kubelet and clients ask from outside the pod
    port: int = 9000
    max_concurrency: int = 1024
    max_body_bytes: int = 4 * 1024**2
    max_buffered_bytes: int = 64 * 1024**2
    """How much of all requests together is held on the way to vLLM."""
    connect_timeout: int = 10
    read_timeout: int = 600
    """How long vLLM may send nothing, and a client may take nothing."""
    health_cache: int = 5
    grace: int = 120
    """How long running answers may go on after SIGTERM."""
    log_level: str = "INFO"
    warnings: tuple[str, ...] = ()
    """What to tell whoever reads the log, about variables."""

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read the guide's `LLM_*` and our `LLM_MICROSERVICE_*`. An empty variable counts as not set.

        Raises InvalidSettingError, which names the variable.
        """
        given = {name: value for name, value in environment.items() if value}
        _known(given, "LLM_MODEL_SERVER", ("vllm",))
        own = "LLM_MICROSERVICE"
        body = _number(given, f"{own}_MAX_BODY_BYTES", 4 * 1024**2, 1024, 1024**3)
        # Less would have no room for the largest request, ever.
        buffered = _number(given, f"{own}_MAX_BUFFERED_BYTES", max(64 * 1024**2, body), body, 64 * 1024**3)
        endpoint = _endpoint(given, "LLM_MODEL_SERVER_ENDPOINT")
        return cls(
            endpoint=endpoint,
            model=given.get("LLM_MODEL_NAME", ""),
            api_key=_key(given, "VLLM_API_KEY"),
            # An image may bring the variable, for a file that nobody needs where nothing is encrypted.
            ca_file=_certificates(given, "SSL_CERT_FILE") if endpoint.lower().startswith("https:") else "",
            address=given.get(f"{own}_ADDRESS", "0.0.0.0"),  # noqa: S104
            port=_number(given, "LLM_USVC_PORT", 9000, 0, 65535),
            max_concurrency=_number(given, f"{own}_MAX_CONCURRENCY", 1024, 1, 100_000),
            max_body_bytes=body,
            max_buffered_bytes=buffered,
            connect_timeout=_number(given, f"{own}_CONNECT_TIMEOUT_SECONDS", 10, 1, 600),
            read_timeout=_number(given, f"{own}_READ_TIMEOUT_SECONDS", 600, 1, 86_400),
            health_cache=_number(given, f"{own}_HEALTH_CACHE_SECONDS", 5, 0, 600),
            grace=_number(given, f"{own}_GRACE_SECONDS", 120, 0, 86_400),
            log_level=_known(given, "OPEA_LOGGER_LEVEL", LEVELS, default="INFO"),
            warnings=tuple(_warnings(given)),
        )


def _warnings(given: Mapping[str, str]) -> list[str]:
    told = [f"{name} has no effect: {why}" for name, why in WITHOUT_EFFECT.items() if name in given]
    # There it led through another client library to the same requests and answers.
    if _known(given, "LLM_CONNECTOR", ("generic", "langchain")) == "langchain":
        told.append("LLM_CONNECTOR: langchain is another word for generic: there is no LangChain in here")
    return told


def _endpoint(given: Mapping[str, str], name: str) -> str:
    if name not in given:
        raise InvalidSettingError(f"{name}: say where vLLM is, such as http://chat.models.svc:8008")
    text = given[name].rstrip("/")
    try:
        url = urlsplit(text)
        host, _ = url.hostname, url.port
    except ValueError as error:
        raise InvalidSettingError(f"{name}: {error}") from error
    if url.scheme not in ("http", "https") or not host or url.username or url.query or url.fragment:
        raise InvalidSettingError(f"{name}: give http:// or https://, a host and a port, and nothing else")
    if url.path.endswith("/v1"):
        raise InvalidSettingError(f"{name}: leave out the /v1 at the end")
    return text


def _key(given: Mapping[str, str], name: str) -> str:
    key = given.get(name, "")
    if key and not re.fullmatch(r"[!-~]+", key):
        raise InvalidSettingError(
            f"{name}: a key is of visible ASCII characters, without spaces or line ends"
        )
    return key


def _certificates(given: Mapping[str, str], name: str) -> str:
    path = given.get(name, "")
    try:
        if path:
            ssl.create_default_context(cafile=path)
    except OSError as error:
        raise InvalidSettingError(f"{name}: no certificates can be read from {path!r}: {error}") from error
    return path


def _known(given: Mapping[str, str], name: str, values: tuple[str, ...], default: str = "") -> str:
    value = given.get(name, default)
    if value and value not in values:
        raise InvalidSettingError(f"{name}: {value!r} is none of {', '.join(values)}")
    return value


def _number(given: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = given.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,12}", text) or not least <= int(text) <= most:
        raise InvalidSettingError(f"{name}: {text!r} is not a whole number from {least} to {most}")
    return int(text)
