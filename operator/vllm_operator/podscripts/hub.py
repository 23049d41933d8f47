"""Asks a Hugging Face hub, and says what its answers mean to somebody who wants to serve a model."""

import contextlib
import errno
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from huggingface_hub import constants, get_token, hf_hub_url
from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

from .files import File
from .log import note

ATTEMPTS = 5
LONGEST_WAIT_SECONDS = 60.0
TIMEOUT_SECONDS = 30.0
CHUNK = 1 << 16
"""Bytes that are kept at once. What has come of the next piece is lost when a connection breaks."""
COMMIT = re.compile(r"[0-9a-f]{40}")
OID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

FULL = {errno.ENOSPC, errno.EDQUOT}
DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
NETWORK = {"requests", "urllib3", "httpx", "httpx2", "httpcore", "httpcore2", "ssl", "socket"}
"""Modules whose exceptions are about the way to the hub."""


class Failure(Exception):  # noqa: N818 - it is told to people as it stands
    """Why there is no model: a reason for programs, a sentence with a remedy for people."""

    def __init__(self, reason: str, message: str, wait: float = 0) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.wait = wait
        """Seconds after which the hub wants to be asked again."""


@contextlib.contextmanager
def answer(url: str, **headers: str) -> Iterator[tuple[int, Iterator[bytes]]]:
    """Ask the hub: its answer's status and body. Raises Failure, and what the client library raises."""
    session: Any = get_session()
    # Not by build_hf_headers: huggingface_hub 2 first asks the hub which programs of the world are agents.
    headers = {"User-Agent": "vllm-operator", "Accept-Encoding": "identity", **headers}
    if token := get_token():
        headers["Authorization"] = f"Bearer {token}"
    if callable(getattr(session, "stream", None)):  # httpx, since huggingface_hub 1.0; before that requests
        opened = session.stream("GET", url, headers=headers, timeout=TIMEOUT_SECONDS)
    else:
        opened = session.get(url, headers=headers, timeout=TIMEOUT_SECONDS, stream=True)
    with opened as response:
        if response.status_code >= 400:
            raise refused(response.status_code, response.headers)
        body = response.iter_bytes if hasattr(response, "iter_bytes") else response.iter_content
        yield response.status_code, body(CHUNK)


def listing(model: str, revision: str | None) -> tuple[str, dict[str, File]]:
    """The commit that a revision means, and all its files by name. Raises as `answer` does."""
    at = f"/revision/{quote(revision, safe='')}" if revision else ""
    with answer(f"{constants.ENDPOINT}/api/models/{model}{at}?blobs=true") as (_, body):
        content = b"".join(body)
    try:
        data = json.loads(content)
        commit = str(data["sha"])
        files = [_file(entry) for entry in data["siblings"]]
    except (ValueError, TypeError, KeyError) as error:
        raise Failure(
            "HubUnreachable",
            f"{constants.ENDPOINT} answers, but not as a hub does, with commit, sizes and hashes "
            f"({error!r}). Check spec.model.hubEndpoint and proxies.",
        ) from error
    wrong = [
        file for file in files if not OID.fullmatch(file.oid) or {"", ".", ".."} & {*file.name.split("/")}
    ]
    if wrong or not COMMIT.fullmatch(commit):
        what = f"a file {wrong[0].name!r}" if wrong else f"a commit {commit!r}"
        raise Failure("PrefetchFailed", f"The hub names {what} in {model}. Do not trust this hub.")
    return commit, {file.name: file for file in files}


def _file(entry: Mapping[str, Any]) -> File:
    lfs = entry.get("lfs") or {}
    return File(
        str(entry["rfilename"]), int(lfs.get("size", entry["size"])), str(lfs.get("sha256", entry["blobId"]))
    )


def file_url(model: str, commit: str, name: str) -> str:
    """Where a file's content is."""
    return hf_hub_url(model, name, revision=commit)


def check_token() -> None:
    """A token that no header can hold would end in words that hold it. Raises Failure."""
    if not re.fullmatch(r"[!-~]*", get_token() or ""):
        raise Failure(
            "InvalidToken",
            "The token holds characters that no token has, such as a space or a line break. "
            "Correct it in the Secret that spec.model.tokenSecretRef names.",
        )


def refused(status: int, headers: Mapping[str, str]) -> Failure:
    """What an answer means that is an error."""
    code, words = headers.get("X-Error-Code", ""), headers.get("X-Error-Message", "").rstrip(".")
    known = {each.value: each.phrase for each in HTTPStatus}
    said = f"The hub answered {status} ({words or known.get(status, 'no words')})."
    if status in (408, 429) or status >= 500:
        after = headers.get("Retry-After", "")
        wait = int(after) if after.isdigit() else 0
        remedy = f"It wants to be asked again in {wait} seconds." if wait else "That should pass by itself."
        return Failure("HubUnreachable", f"{said} {remedy}", wait)
    if code == "GatedRepo" or (status == 403 and not get_token()):
        remedy = (
            "Ask for access on the model's page, and name a Secret with the token of an account that has it "
            "in spec.model.tokenSecretRef."
        )
        return Failure("GatedModel", f"{said} {remedy}")
    if code == "RevisionNotFound":
        return Failure(
            "ModelNotFound", f"{said} There is the model, but no such revision: correct spec.model.revision."
        )
    if status in (401, 403) and get_token() and code != "RepoNotFound":
        remedy = (
            "Put a valid token that may read this model into the Secret that spec.model.tokenSecretRef names."
        )
        return Failure("InvalidToken", f"{said} {remedy}")
    if status in (401, 404):
        remedy = (
            "Either there is no such model, or it is private: correct spec.model.name, or name a Secret with "
            "a token that may read it in spec.model.tokenSecretRef."
        )
        return Failure("ModelNotFound", f"{said} {remedy}")
    return Failure("PrefetchFailed", said)


def understood(error: BaseException) -> Failure:
    """What any error means."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, OSError) and error.errno in FULL:
        remedy = "Give it more space (spec.cache.size may grow), or remove models from it that nobody serves."
        return Failure("CacheFull", f"The cache is full ({error.strerror}). {remedy}")
    if isinstance(error, OSError) and error.errno in DENIED:
        return Failure("CacheNotReadable", _denied(error))
    module = type(error).__module__.split(".")[0]
    if module in NETWORK or (isinstance(error, (ConnectionError, TimeoutError)) and error.filename is None):
        words = f"{constants.ENDPOINT} cannot be reached ({type(error).__name__}: {error})."
        return Failure("HubUnreachable", f"{words} Check name resolution, proxies and network policies.")
    return Failure("PrefetchFailed", f"{type(error).__name__}: {error}")


def _denied(error: OSError) -> str:
    path = str(error.filename or constants.HF_HOME)
    while not os.path.lexists(path):
        path = os.path.dirname(path)
    if error.errno == errno.EROFS:
        return (
            f"{path} would have to be written, and is mounted read-only: the cache does not hold all of the "
            "model. Fill it, or give a claim that can be written."
        )
    owner = os.lstat(path)
    return (
        f"uid {os.getuid()} may not use {path}: it belongs to uid {owner.st_uid}, gid {owner.st_gid}, mode "
        f"{owner.st_mode & 0o7777:04o}. Give the volume's files to uid {os.getuid()} (chown -R), or set "
        "spec.cache.fsGroup to a group that may read and write them."
    )


def patiently(action: Callable[[], None], pause: float, moved: Callable[[], int] = int) -> None:
    """Do it, and again while the hub is to blame; for ever while bytes come in. Raises Failure."""
    failed = 0
    while True:
        before = moved()
        try:
            return action()
        except Exception as error:
            failure = understood(error)
            failed = 1 if moved() > before else failed + 1
            hopeless = failed >= ATTEMPTS or failure.wait > LONGEST_WAIT_SECONDS
            if failure.reason != "HubUnreachable" or hopeless:
                raise failure from error
        note(f"{failure.message} Trying again.")
        time.sleep(min(max(failure.wait, pause * 2**failed), LONGEST_WAIT_SECONDS))
