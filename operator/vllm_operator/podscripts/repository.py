"""A repository of the hub, from its name to verified files in the cache."""

import argparse
import contextlib
import errno
import json
import os
import re
import tempfile
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor, as_completed

from huggingface_hub import constants

from .cache import Cache, Partial
from .failures import Failure
from .files import File
from .hub import COMMIT, MODEL, Kind, answer, file_url, listing, patiently
from .log import Progress, note

SPAN = 16 << 30
"""Bytes asked for at once: the hub's CDN refuses to send more than 50 GB in one answer."""
PARTIAL_CONTENT = 206


class Repository:
    """A model, the code of one, or a dataset."""

    def __init__(
        self,
        options: argparse.Namespace,
        progress: Progress,
        name: str,
        kind: Kind = MODEL,
        steps: tuple[str, str] = ("verify", "download"),
    ) -> None:
        self.options = options
        self.progress = progress
        self.name = name
        self.kind = kind
        self.steps = steps
        """What looking at files and fetching them is called."""
        self.cache = Cache(constants.HF_HOME, constants.HF_HUB_CACHE, name, kind.word)
        self.hub = self.cache.hub
        """The folder that serves as HF_HUB_CACHE."""

    def resolve(self, revision: str | None) -> tuple[str, dict[str, File]]:
        """The commit that a revision means, and all its files by name. Raises Failure."""
        commit = revision if COMMIT.fullmatch(revision or "") else None
        known = self.cache.recall(commit) if commit else None
        if commit and known:
            return commit, known
        found = []
        try:
            patiently(lambda: found.append(listing(self.name, revision, self.kind)), self.options.pause)
        except Failure as failure:
            whole = self.cache.looks_whole(commit) if commit else None
            if not commit or not whole or failure.reason != "HubUnreachable":
                raise
            note(f"{failure.message} The cache seems to hold all of {commit}.")
            return commit, whole
        return found[0]

    def bring(self, commit: str, files: list[File]) -> None:
        """Have these files in the cache. Raises Failure and OSError."""
        missing = self._missing(commit, files)
        if missing:
            self._download(commit, missing, sum(file.size for file in files))
            broken = self._missing(commit, files)
            if broken:
                raise Failure(
                    "PrefetchFailed", f"{broken[0].name} is gone again. Does somebody else delete files?"
                )

    def remember(self, commit: str, listed: dict[str, File]) -> None:
        """Keep what the hub has told of a commit: with it none needs to be asked again."""
        if not self.cache.recall(commit) and all(file.oid for file in listed.values()):
            self.cache.remember(commit, listed)

    def path(self, commit: str, name: str = "") -> str:
        """Where a file is looked for."""
        return os.path.join(self.hub, self.cache.name, "snapshots", commit, name)

    def _missing(self, commit: str, files: list[File]) -> list[File]:
        self.progress.begin(self.steps[0], 0, sum(file.size for file in files))
        missing = []
        try:
            for file in files:
                if not self.cache.holds(commit, file):
                    missing.append(file)
                self.progress.add(file.size)
        except OSError:
            place = self.cache.place_of_all(commit, files)
            if place is None:
                raise
            self.hub = place
            return []
        return missing

    def _download(self, commit: str, missing: list[File], total: int) -> None:
        contents: dict[str, list[File]] = {}
        for file in missing:
            contents.setdefault(file.oid, []).append(file)
        self._check_space([same[0] for same in contents.values()])
        self.progress.begin(self.steps[1], total - sum(file.size for file in missing), total)
        pool = ThreadPoolExecutor(self.options.workers)
        for future in as_completed([pool.submit(self._fetch, commit, same) for same in contents.values()]):
            future.result()

    def _check_space(self, files: Collection[File]) -> None:
        os.makedirs(self.cache.folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.cache.folder):
            pass  # it may be written
        volume = os.statvfs(self.cache.folder)
        free = volume.f_bavail * volume.f_frsize
        wanted = sum(file.size - _have(self.cache.partial(file)) for file in files)
        if volume.f_blocks and wanted > free:  # some network file systems do not say
            raise OSError(
                errno.ENOSPC, f"{wanted / 2**30:.2f} GiB more are needed, {free / 2**30:.2f} GiB are free"
            )

    def _fetch(self, commit: str, same: list[File]) -> None:
        """Download a content, and give it its names."""
        file = same[0]
        partial = Partial(self.cache.blob(file), file)
        self.progress.add(partial.have)
        try:
            if file.is_at(self.cache.blob(file)):  # somebody else has brought it while we waited
                self.progress.add(file.size - partial.have)
            else:
                patiently(lambda: self._complete(commit, partial), self.options.pause, lambda: partial.have)
        finally:
            partial.close()
        for each in same:
            self.cache.holds(commit, each)
        self.progress.add(file.size * (len(same) - 1))

    def _complete(self, commit: str, partial: Partial) -> None:
        file, url = partial.file, file_url(self.name, commit, partial.file.name, self.kind)
        while partial.have < file.size:
            start = partial.have
            last = min(start + SPAN, file.size) - 1
            with answer(url, self.kind, Range=f"bytes={start}-{last}") as (status, body):
                if start and status != PARTIAL_CONTENT:
                    self.progress.add(-start)
                    partial.restart()
                for chunk in body:
                    partial.write(chunk)
                    self.progress.add(len(chunk), received=len(chunk))
            if partial.have == start:
                raise Failure("HubUnreachable", f"The hub sent nothing of {file.name}.")
        if not partial.finish():
            self.progress.add(-file.size)
            raise Failure(
                "HubUnreachable", f"The hub sent another content of {file.name} than it had announced."
            )


def _have(path: str) -> int:
    """Bytes that are there; another run may give the file its name meanwhile."""
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0


def code_elsewhere(folder: str) -> set[str]:
    """Repositories whose code a configuration names: `auto_map: {AutoConfig: org/name--file.Class}`."""
    found: set[str] = set()
    for name in [name for name in os.listdir(folder) if name.endswith("config.json")]:
        with (
            contextlib.suppress(ValueError),
            open(os.path.join(folder, name), encoding="utf-8") as handle,
        ):
            mapped = json.dumps(json.load(handle).get("auto_map"))
            found |= set(re.findall(r'"([-.\w]+/[-.\w]+?)--', mapped))
    return found
