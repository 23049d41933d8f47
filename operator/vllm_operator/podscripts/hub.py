"""Asks a Hugging Face hub, and says what its answers mean to somebody who wants to serve a model."""

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote

from huggingface_hub import constants, get_token, hf_hub_url
from huggingface_hub.utils import get_session  # type: ignore[attr-defined]

from .failures import Failure, of_system
from .files import File
from .log import masked, note

ATTEMPTS = 5
LONGEST_WAIT_SECONDS = 60.0
TIMEOUT_SECONDS = 30.0
CHUNK = 1 << 16
"""Bytes that are kept at once. What has come of the next piece is lost when a connection breaks."""
SOME = 200
"""Characters of what others say: the remedy comes after it."""
COMMIT = re.compile(r"[0-9a-f]{40}")
OID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

NETWORK = {"requests", "urllib3", "httpx", "httpx2", "httpcore", "httpcore2", "ssl", "socket"}
"""Modules whose exceptions are about the way to the hub."""


class Kind(NamedTuple):
    """What is asked for, in words for people."""

    word: str
    missing: str
    """The reason when there is none."""
    field: str


MODEL = Kind("model", "ModelNotFound", "spec.model.name")
DATASET = Kind("dataset", "DatasetNotFound", "spec.dataset.huggingFace.name")
FILE = Kind("file", "DatasetNotFound", "spec.dataset.url.url")
"""Of any web server: it is never shown the token."""


@contextlib.contextmanager
def answer(url: str, kind: Kind = MODEL, **headers: str) -> Iterator[tuple[int, Iterator[bytes]]]:
    """Ask the hub: its answer's status and body. Raises Failure, and what the client library raises."""
    session: Any = get_session()
    # Not by build_hf_headers: huggingface_hub 2 first asks the hub which programs of the world are agents.
    headers = {"User-Agent": "vllm-operator", "Accept-Encoding": "identity", **headers}
    if kind != FILE and (token := get_token()):
        headers["Authorization"] = f"Bearer {token}"
    if callable(getattr(session, "stream", None)):  # httpx, since huggingface_hub 1.0; before that requests
        opened = session.stream("GET", url, headers=headers, timeout=TIMEOUT_SECONDS)
    else:
        opened = session.get(url, headers=headers, timeout=TIMEOUT_SECONDS, stream=True)
    with opened as response:
        status = response.status_code
        if status >= 400 and (kind, status) != (FILE, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
            raise refused(status, response.headers, kind)
        body = response.iter_bytes if hasattr(response, "iter_bytes") else response.iter_content
        yield status, body(CHUNK)


def listing(name: str, revision: str | None, kind: Kind = MODEL) -> tuple[str, dict[str, File]]:
    """The commit that a revision means, and all its files by name. Raises as `answer` does."""
    at = f"/revision/{quote(revision, safe='')}" if revision else ""
    with answer(f"{constants.ENDPOINT}/api/{kind.word}s/{name}{at}?blobs=true", kind) as (_, body):
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
        raise Failure("PrefetchFailed", f"The hub names {what} in {name}. Do not trust this hub.")
    return commit, {file.name: file for file in files}


def _file(entry: Mapping[str, Any]) -> File:
    lfs = entry.get("lfs") or {}
    return File(
        str(entry["rfilename"]), int(lfs.get("size", entry["size"])), str(lfs.get("sha256", entry["blobId"]))
    )


def file_url(name: str, commit: str, file: str, kind: Kind = MODEL) -> str:
    """Where a file's content is."""
    return hf_hub_url(name, file, repo_type=kind.word, revision=commit)


def check_token() -> None:
    """A token that no header can hold would end in words that hold it. Raises Failure."""
    if not re.fullmatch(r"[!-~]*", get_token() or ""):
        raise Failure(
            "InvalidToken",
            "The token holds characters that no token has, such as a space or a line break. "
            "Correct it in the Secret that spec.model.tokenSecretRef names.",
        )


def refused(status: int, headers: Mapping[str, str], kind: Kind = MODEL) -> Failure:
    """What an answer means that is an error."""
    code, words = headers.get("X-Error-Code", ""), _some(headers.get("X-Error-Message", ""))
    known = {each.value: each.phrase for each in HTTPStatus}
    who = "The server of the file" if kind == FILE else "The hub"
    said = f"{who} answered {status} ({words or known.get(status, 'no words')})."
    if status in (408, 429) or status >= 500:
        after = headers.get("Retry-After", "")
        wait = int(after) if after.isdigit() else 0
        remedy = f"It wants to be asked again in {wait} seconds." if wait else "That should pass by itself."
        return Failure("HubUnreachable", f"{said} {remedy}", wait)
    if kind == FILE:
        remedy = f"Correct {kind.field}: the file is asked for without a token or a password."
        return Failure(kind.missing, f"{said} {remedy}")
    if code == "GatedRepo" or (status == 403 and not get_token()):
        remedy = (
            f"Ask for access on the {kind.word}'s page, and name a Secret with the token of an account that "
            "has it in spec.model.tokenSecretRef."
        )
        return Failure("GatedModel", f"{said} {remedy}")
    return _refused_name(status, code, said, kind)


def _refused_name(status: int, code: str, said: str, kind: Kind) -> Failure:
    if code == "RevisionNotFound":
        remedy = f"There is the {kind.word}, but no such revision: correct spec.model.revision."
        return Failure(kind.missing, f"{said} {remedy}")
    if status in (401, 403) and get_token() and code != "RepoNotFound":
        remedy = (
            f"Put a valid token that may read this {kind.word} into the Secret that "
            "spec.model.tokenSecretRef names."
        )
        return Failure("InvalidToken", f"{said} {remedy}")
    if status in (401, 404):
        remedy = (
            f"Either there is no such {kind.word}, or it is private: correct {kind.field}, or name a Secret "
            "with a token that may read it in spec.model.tokenSecretRef."
        )
        return Failure(kind.missing, f"{said} {remedy}")
    return Failure("PrefetchFailed", said)


def understood(error: BaseException, server: str = "") -> Failure:
    """What any error means; the server is the hub, but where another is named."""
    if isinstance(error, Failure):
        return error
    if failure := of_system(error, constants.HF_HOME):
        return failure
    module = type(error).__module__.split(".")[0]
    if module in NETWORK or (isinstance(error, (ConnectionError, TimeoutError)) and error.filename is None):
        words = f"{server or constants.ENDPOINT} cannot be reached ({type(error).__name__}: {_some(error)})."
        return Failure("HubUnreachable", f"{words} Check name resolution, proxies and network policies.")
    return Failure("PrefetchFailed", f"{type(error).__name__}: {_some(error)}.")


def _some(words: object) -> str:
    # Masked first: the beginning of a secret is not known as one.
    return masked(str(words))[:SOME].rstrip(" .")


def patiently(
    action: Callable[[], None], pause: float, moved: Callable[[], int] = int, server: str = ""
) -> None:
    """Do it, and again while the hub is to blame; for ever while bytes come in. Raises Failure."""
    failed = 0
    while True:
        before = moved()
        try:
            return action()
        except Exception as error:
            failure = understood(error, server)
            failed = 1 if moved() > before else failed + 1
            hopeless = failed >= ATTEMPTS or failure.wait > LONGEST_WAIT_SECONDS
            if failure.reason != "HubUnreachable" or hopeless:
                raise failure from error
        note(f"{failure.message} Trying again.")
        time.sleep(min(max(failure.wait, pause * 2**failed), LONGEST_WAIT_SECONDS))
