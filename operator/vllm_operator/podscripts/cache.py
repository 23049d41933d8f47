"""The cache: where a model's files lie, in the layout that huggingface_hub reads, and how they get there."""

import contextlib
import fcntl
import json
import os
import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from .files import CHEAP, File

UNFINISHED = ".prefetch.incomplete"
"""Ends the name of a blob that is being downloaded. Not as huggingface_hub ends it: neither may go on with
what the other is writing."""


def partial(path: str) -> str:
    """Where a content is while it is being downloaded."""
    return path + UNFINISHED


class Cache:
    """One model in the cache: `hub/models--ORG--NAME`, and where an older system may have put it.

    Or one dataset, in `hub/datasets--ORG--NAME`.
    """

    def __init__(self, home: str, hub: str, repository: str, word: str = "model") -> None:
        self.hub = hub
        self.name = f"{word}s--" + repository.replace("/", "--")
        self.folder = os.path.join(hub, self.name)
        here = os.path.realpath(self.folder)
        # HUGGINGFACE_HUB_CACHE=/data and --download-dir /data; a volume that was mounted one level up.
        places = (os.path.join(place, self.name) for place in (home, os.path.join(hub, "hub")))
        self.elsewhere = [
            place for place in places if os.path.isdir(place) and os.path.realpath(place) != here
        ]
        self.lists = os.path.join(home, ".prefetch", self.name)
        self.adopted: dict[File, str] = {}
        """Where files were found that are not in the folder."""

    def blob(self, file: File) -> str:
        """Where the file's content belongs."""
        return os.path.join(self.folder, "blobs", file.oid)

    def partial(self, file: File) -> str:
        """Where the file's content is while it is being downloaded."""
        return partial(self.blob(file))

    def pointer(self, commit: str, file: File) -> str:
        """Where the file is looked for."""
        return os.path.join(self.folder, "snapshots", commit, file.name)

    def holds(self, commit: str, file: File) -> bool:
        """Whether the file is there for that commit, if need be after a link to content that is there.

        What somebody else has put there is neither moved nor deleted.
        """
        pointer = self.pointer(commit, file)
        if file.is_at(pointer):
            return True
        if file.oid and file.is_at(self.blob(file)):
            self._link(self.blob(file), pointer)
            return True
        names = [("snapshots", commit, file.name)] + ([("blobs", file.oid)] if file.oid else [])
        for place, name in ((place, name) for place in self.elsewhere for name in reversed(names)):
            if file.is_at(os.path.join(place, *name)):
                self._link(os.path.join(place, *name), pointer)
                self.adopted[file] = place
                return True
        return False

    def place_of_all(self, commit: str, files: Iterable[File]) -> str | None:
        """Another place that holds them all as it is, for a cache that cannot be written."""
        for place in self.elsewhere:
            if all(file.is_at(os.path.join(place, "snapshots", commit, file.name)) for file in files):
                self.adopted = dict.fromkeys(files, place)
                return os.path.dirname(place)
        return None

    def _link(self, target: str, path: str) -> None:
        """Make a symbolic link, relative and at once: volumes are mounted anywhere, processes killed."""
        for folder in (os.path.dirname(path), self.folder):
            os.makedirs(folder, exist_ok=True)
        real = os.path.join(os.path.realpath(os.path.dirname(target)), os.path.basename(target))
        fresh = os.path.join(self.folder, f".{uuid.uuid4().hex}.link")
        os.symlink(os.path.relpath(real, os.path.realpath(os.path.dirname(path))), fresh)
        os.replace(fresh, path)

    def recall(self, commit: str) -> dict[str, File] | None:
        """The files of a commit as the hub has told an earlier run; a commit never changes."""
        try:
            with open(os.path.join(self.lists, f"{commit}.json"), encoding="utf-8") as handle:
                return {name: File(name, int(size), str(oid)) for name, size, oid in json.load(handle)}
        except (OSError, ValueError, TypeError):
            return None

    def remember(self, commit: str, files: Mapping[str, File]) -> None:
        """Keep what the hub has told; a cache that cannot be written does without."""
        self._write(os.path.join(self.lists, f"{commit}.json"), json.dumps(list(files.values())))

    def ref(self, revision: str) -> str | None:
        """The commit that a branch or tag meant when it was last asked for."""
        try:
            with open(os.path.join(self.folder, "refs", revision), encoding="utf-8") as handle:
                commit = handle.read().strip()
        except OSError:
            return None
        return commit if re.fullmatch(r"[0-9a-f]{40}", commit) else None

    def refer(self, revision: str, commit: str) -> None:
        """Note which commit a branch or tag means."""
        if ".." not in revision.split("/") and self.ref(revision) != commit:
            self._write(os.path.join(self.folder, "refs", revision), commit)

    def _write(self, path: str, text: str) -> None:
        fresh = f"{path}.{uuid.uuid4().hex}"
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(fresh, "w", encoding="utf-8") as handle:
                handle.write(text)
            os.replace(fresh, path)

    def looks_whole(self, commit: str) -> dict[str, File] | None:
        """The files of a snapshot that nothing seems to be missing from, for when no hub can be asked."""
        for place in (self.folder, *self.elsewhere):
            root = os.path.join(place, "snapshots", commit)
            paths = [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names]
            files = {os.path.relpath(path, root): path for path in paths if os.path.exists(path)}
            wanted = {"config.json"} if "params.json" not in files else set()
            for name in [name for name in files if name.endswith(".index.json") and "/" not in name]:
                with (
                    contextlib.suppress(OSError, ValueError, KeyError),
                    open(files[name], encoding="utf-8") as handle,
                ):
                    wanted |= set(json.load(handle)["weight_map"].values())
            if wanted <= files.keys() and any(
                re.search(r"\.(safetensors|bin|pt|gguf)$", name) for name in files
            ):
                return {name: File(name, os.path.getsize(path), "") for name, path in files.items()}
        return None


class Partial:
    """A file that is being downloaded. It is ours alone while it is open; a dead process locks nothing."""

    def __init__(self, path: str, file: File) -> None:
        self.path = partial(path)
        self.blob = path
        self.file = file
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        self.handle = self._open()
        self.have = 0
        self.finished = False
        self.hasher: Any = file.hasher()
        if os.fstat(self.handle.fileno()).st_size > file.size:
            self.restart()
        while chunk := self.handle.read(CHEAP):
            self.hasher.update(chunk)
            self.have += len(chunk)

    def _open(self) -> Any:
        while True:
            handle = open(self.path, "ab+", buffering=0)  # noqa: SIM115 - stays open
            with contextlib.suppress(OSError):  # there are network file systems without locks
                fcntl.flock(handle, fcntl.LOCK_EX)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.stat(self.path), os.fstat(handle.fileno())):
                    handle.seek(0)
                    return handle
            handle.close()  # whoever had the lock has finished the file

    def write(self, chunk: bytes) -> None:
        """Add to it."""
        rest = memoryview(chunk)
        while rest:
            rest = rest[self.handle.write(rest) :]
        self.hasher.update(chunk)
        self.have += len(chunk)

    def restart(self) -> None:
        """Forget what is there."""
        self.handle.truncate(0)
        self.handle.seek(0)
        self.hasher = self.file.hasher()
        self.have = 0

    def finish(self) -> bool:
        """Put it in its place if it has the right content; else there is nothing of it."""
        if self.hasher.hexdigest() != self.file.oid:
            self.restart()
            return False
        os.fsync(self.handle.fileno())
        os.replace(self.path, self.blob)
        self.finished = True
        return True

    def close(self) -> None:
        """Let others have it. An empty one is of no use to them."""
        if not self.have and not self.finished:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
        self.handle.close()
