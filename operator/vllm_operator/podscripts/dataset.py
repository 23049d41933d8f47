"""Stages the dataset of a calibration in the cache, under the hash of its content.

A pickle is a program, and this pod has the token: what comes as a pickle is never loaded here, only copied.
"""

import argparse
import contextlib
import gzip
import hashlib
import json
import os
import re
import sys
import uuid
import zlib
from typing import Any, BinaryIO
from urllib.parse import SplitResult, urlsplit

from huggingface_hub import constants

from . import log
from .cache import Partial
from .failures import Failure
from .files import File
from .frames import FORMATS, LONGEST, Rows
from .hub import DATASET, FILE, answer, patiently
from .log import Progress
from .repository import PARTIAL_CONTENT, Repository
from .splits import chosen

Staged = dict[str, Any]
CHUNK = 1 << 20
PICKLE = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How a pickle begins that pandas has written; it ends with a full stop."""
RANGE_REFUSED = 416
SECRET = 8
"""Characters: less is no secret, and hiding it would spoil every text."""


class Staging:
    """The place of staged datasets: `HF_HOME/datasets/SHA256.pkl`."""

    def __init__(self, home: str) -> None:
        self.folder = os.path.join(home, "datasets")
        self.notes = os.path.join(home, ".prefetch", "datasets")

    def path(self, sha256: str) -> str:
        """Where the dataset of that hash is."""
        return os.path.join(self.folder, f"{sha256}.pkl")

    def found(self, sha256: str | None) -> Staged | None:
        """The dataset, if it is there and is it."""
        if not sha256:
            return None
        try:
            with open(self.path(sha256), "rb") as handle:
                digest, size = digest_of(handle)
        except FileNotFoundError:
            return None
        return {"path": self.path(sha256), "sha256": sha256, "bytes": size} if digest == sha256 else None

    def recall(self, *key: Any) -> dict[str, str]:
        """What an earlier run has noted under a key."""
        with (
            contextlib.suppress(OSError, ValueError),
            open(self._note(*key), encoding="utf-8") as handle,
        ):
            noted = json.load(handle)
            if isinstance(noted, dict):
                return {str(name): str(value) for name, value in noted.items()}
        return {}

    def remember(self, noted: dict[str, str], *key: Any) -> None:
        """Note it for later runs."""
        os.makedirs(self.notes, exist_ok=True)
        self._write(self._note(*key), json.dumps(noted).encode())

    def _note(self, *key: Any) -> str:
        name = hashlib.sha256(json.dumps(key).encode()).hexdigest()
        return os.path.join(self.notes, f"{name}.json")

    def keep(self, content: bytes) -> Staged:
        """Put a content there."""
        sha256 = hashlib.sha256(content).hexdigest()
        if known := self.found(sha256):
            return known
        os.makedirs(self.folder, exist_ok=True)
        self._write(self.path(sha256), content)
        return {"path": self.path(sha256), "sha256": sha256, "bytes": len(content)}

    def copy(self, source: BinaryIO) -> Staged:
        """Put a pickle there, as it is. Raises Failure."""
        sha256, size = digest_of(source)
        if known := self.found(sha256):
            return known
        check_pickle(source, size)
        source.seek(0)
        partial = Partial(self.path(sha256), File("", size, sha256))
        try:
            partial.restart()
            while chunk := source.read(CHUNK):
                partial.write(chunk)
            if not partial.finish():
                words = "The dataset is being changed while it is read."
                raise Failure("DatasetInvalid", f"{words} Let it be, and delete the prefetch Job.")
        finally:
            partial.close()
        return {"path": self.path(sha256), "sha256": sha256, "bytes": size}

    def _write(self, path: str, content: bytes) -> None:
        fresh = f"{path}.{uuid.uuid4().hex}"
        try:
            with open(fresh, "wb") as handle:
                handle.write(content)
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(fresh, path)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(fresh)


def digest_of(handle: BinaryIO) -> tuple[str, int]:
    """SHA-256 and size of the rest of a file."""
    hasher, size = hashlib.sha256(), 0
    while chunk := handle.read(CHUNK):
        hasher.update(chunk)
        size += len(chunk)
    return hasher.hexdigest(), size


def check_pickle(handle: BinaryIO, size: int) -> None:
    """Look at both ends of it, which is all that may be done to a pickle here. Raises Failure."""
    handle.seek(0)
    first = handle.read(2)
    handle.seek(max(size - 1, 0))
    if first not in PICKLE or handle.read(1) != b".":
        raise Failure(
            "DatasetInvalid",
            "The dataset is no whole pickle of a data frame, but something else, or a piece of one. Give a "
            "file that pandas' to_pickle has written, or one of the formats parquet, jsonl, json and csv "
            "under a name that ends so.",
        )


def stage(options: argparse.Namespace, progress: Progress) -> Staged | None:
    """Have the dataset in the cache, and tell where. Raises Failure and OSError."""
    staging = Staging(constants.HF_HOME)
    if options.dataset_file:
        progress.begin("dataset")
        return _stage_file(staging, options.dataset_file, options.dataset_file, options.sample_limit)
    if options.dataset_url:
        progress.begin("dataset")
        return _stage_url(staging, options, progress)
    if options.dataset_name:
        progress.begin("dataset")
        return _stage_hub(staging, options, progress)
    return None


def _stage_file(staging: Staging, path: str, name: str, limit: int) -> Staged:
    """Of a mounted file, or of one that was downloaded; the name tells its format."""
    try:
        with open(path, "rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            source: Any = gzip.open(raw) if zipped else raw  # noqa: SIM115 - ends with raw
            ending = os.path.splitext(name.removesuffix(".gz"))[1].lower()
            if ending in FORMATS:
                rows = Rows(limit)
                rows.read(source, os.path.basename(name.removesuffix(".gz")).lower())
                return staging.keep(rows.pickled())
            return staging.copy(source)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        if error.filename != path:
            raise
        words = f"{path} is not there as a file."
        raise Failure("DatasetNotFound", f"{words} Correct spec.dataset, or put it there.") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        words = f"{os.path.basename(name)} is no whole gzip file ({error})."
        raise Failure("DatasetInvalid", f"{words} Make it anew.") from error


def _stage_url(staging: Staging, options: argparse.Namespace, progress: Progress) -> Staged:
    url, sha256 = options.dataset_url, options.dataset_sha256.lower()
    parts, server = _address(url)
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise Failure("DatasetInvalid", "spec.dataset.url.sha256 is no SHA-256: 64 hexadecimal digits.")
    if len(parts.query) >= SECRET:  # what signs an address is a password
        log.secrets.add(parts.query)
    key = ("url", sha256, os.path.splitext(parts.path)[1], options.sample_limit, LONGEST)
    known = staging.found(sha256) or staging.found(staging.recall(*key).get("sha256"))
    if known:
        return known
    path = os.path.join(staging.notes, "downloads", sha256)
    partial = Partial(path, File(server, sys.maxsize, sha256))
    try:
        patiently(
            lambda: _complete(url, partial, progress), options.pause, lambda: partial.have, server=server
        )
    finally:
        partial.close()
    staged = _stage_file(staging, path, parts.path, options.sample_limit)
    staging.remember({"sha256": staged["sha256"]}, *key)
    with contextlib.suppress(OSError):
        os.unlink(path)
    return staged


def _address(url: str) -> tuple[SplitResult, str]:
    """The parts of an address, and its server as it may be told."""
    try:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https") and parts.hostname:
            return parts, f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    except ValueError:
        pass
    words = "The address of the dataset is no whole one that begins with http:// or https://."
    raise Failure("DatasetNotFound", f"{words} Correct {FILE.field}.")


def _complete(url: str, partial: Partial, progress: Progress) -> None:
    start = partial.have
    if not start or partial.hasher.hexdigest() != partial.file.oid:
        progress.begin("dataset", 0, 0)
        with answer(url, FILE, **({"Range": f"bytes={start}-"} if start else {})) as (status, body):
            if start and status != PARTIAL_CONTENT:
                partial.restart()
            for chunk in body if status != RANGE_REFUSED else ():
                partial.write(chunk)
                progress.add(0, received=len(chunk))
    got = partial.hasher.hexdigest()
    if partial.finish():
        return
    if start:  # it may have been replaced meanwhile: once more, from its beginning
        raise Failure("HubUnreachable", f"What {partial.file.name} sends does not go on from what there is.")
    raise Failure(
        "DatasetInvalid",
        f"What {partial.file.name} sends has the SHA-256 {got}, not {partial.file.oid}. If it is the right "
        "file, correct sha256 in spec.dataset.url.",
    )


def _stage_hub(staging: Staging, options: argparse.Namespace, progress: Progress) -> Staged:
    """Of the hub. Which commit a first run has found counts for all later ones."""
    key = ("hub", options.dataset_name, options.dataset_split, options.sample_limit, LONGEST)
    noted = staging.recall(*key)
    known = staging.found(noted.get("sha256"))
    if known:
        return known
    repository = Repository(options, progress, options.dataset_name, DATASET, steps=("dataset", "dataset"))
    commit, listed = repository.resolve(noted.get("commit"))
    if not noted:
        staging.remember({"commit": commit}, *key)
    repository.remember(commit, listed)
    rows = Rows(options.sample_limit)
    for name in chosen(listed, options.dataset_name, options.dataset_split):
        repository.bring(commit, [listed[name]])
        with open(repository.path(commit, name), "rb") as handle:
            rows.read(handle, name)
        if rows.enough:
            break
    staged = staging.keep(rows.pickled())
    staging.remember({"commit": commit, "sha256": staged["sha256"]}, *key)
    return staged
