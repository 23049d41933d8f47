"""Brings a model from a Hugging Face hub into the cache: resolves, downloads, verifies, reports.

Runs in the vLLM image as `python3 -m podscripts.prefetch MODEL`, with Python 3.10 or newer and
huggingface_hub 0.30 to 2. HF_HOME, HF_TOKEN, HF_ENDPOINT and the proxies come from the environment.
Decision 7 (docs/decisions) holds the contract, and says why huggingface_hub does not fetch the files itself.
"""

import argparse
import contextlib
import errno
import json
import os
import re
import signal
import sys
import tempfile
import traceback
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

EXIT_DONE = 0
EXIT_UNEXPECTED = 70
"""Nobody foresaw it: worth another try."""
EXIT_PASSING = 75
"""The hub cannot be reached now: worth another try."""
EXIT_ACT = 78
"""No other try helps until somebody acts."""
EXIT_TERMINATED = 143
"""SIGTERM came. What has been downloaded is kept; the next run goes on from there."""

# The first process of a container is ended by no signal that it does not handle; the imports take a second.
signal.signal(signal.SIGTERM, lambda *_: os._exit(EXIT_TERMINATED))

from huggingface_hub import constants  # noqa: E402

from .cache import Cache, Partial  # noqa: E402
from .files import CODE, File, needed  # noqa: E402
from .hub import COMMIT, Failure, answer, check_token, file_url, listing, patiently, understood  # noqa: E402
from .log import Progress, masked, note, report  # noqa: E402

SPAN = 16 << 30
"""Bytes asked for at once: the hub's CDN refuses to send more than 50 GB in one answer."""
EXITS = {"HubUnreachable": EXIT_PASSING, "PrefetchFailed": EXIT_UNEXPECTED}
PARTIAL_CONTENT = 206
LONGEST_MESSAGE = 600
"""Characters; Kubernetes cuts a report off at 4096 bytes, and JSON may write six for one."""


class Prefetch:
    """One model, or the code of one, from its name to a verified snapshot."""

    def __init__(self, options: argparse.Namespace, progress: Progress, model: str, load_format: str) -> None:
        self.options = options
        self.progress = progress
        self.model = model
        self.load_format = load_format
        self.cache = Cache(constants.HF_HOME, constants.HF_HUB_CACHE, model)
        self.hub = self.cache.hub
        """The folder that serves as HF_HUB_CACHE."""

    def run(self, revision: str | None) -> dict[str, Any]:
        """Do it, and tell what there is then. Raises Failure and OSError."""
        self.progress.begin("resolve")
        commit, listed = self._resolve(revision)
        files = sorted(
            (listed[name] for name in needed(listed, self.load_format)), key=lambda file: file.size
        )
        if not files:
            raise Failure("ModelNotFound", f"{self.model} holds no files. Correct spec.model.name.")
        missing = self._missing(commit, files)
        if missing:
            self._download(commit, missing, sum(file.size for file in files))
            broken = self._missing(commit, files)
            if broken:
                raise Failure(
                    "PrefetchFailed", f"{broken[0].name} is gone again. Does somebody else delete files?"
                )
        if not self.cache.recall(commit) and all(file.oid for file in listed.values()):
            self.cache.remember(commit, listed)
        if revision != commit:
            self.cache.refer(revision or constants.DEFAULT_REVISION, commit)
        adopted = self.cache.adopted
        return {
            "commit": commit,
            "files": len(files),
            "bytes": sum(file.size for file in files),
            "adopted": {
                "files": len(adopted),
                "bytes": sum(file.size for file in adopted),
                "from": sorted(set(adopted.values())),
            },
            "cache": self.hub,
        }

    def _resolve(self, revision: str | None) -> tuple[str, dict[str, File]]:
        commit = revision if COMMIT.fullmatch(revision or "") else None
        known = self.cache.recall(commit) if commit else None
        if commit and known:
            return commit, known
        found = []
        try:
            patiently(lambda: found.append(listing(self.model, revision)), self.options.pause)
        except Failure as failure:
            whole = self.cache.looks_whole(commit) if commit else None
            if not commit or not whole or failure.reason != "HubUnreachable":
                raise
            note(f"{failure.message} The cache seems to hold all of {commit}.")
            return commit, whole
        return found[0]

    def _missing(self, commit: str, files: list[File]) -> list[File]:
        self.progress.begin("verify", 0, sum(file.size for file in files))
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
        self.progress.begin("download", total - sum(file.size for file in missing), total)
        pool = ThreadPoolExecutor(self.options.workers)
        for future in as_completed([pool.submit(self._fetch, commit, same) for same in contents.values()]):
            future.result()

    def _check_space(self, files: Collection[File]) -> None:
        os.makedirs(self.cache.folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.cache.folder):
            pass  # it may be written
        volume = os.statvfs(self.cache.folder)
        free = volume.f_bavail * volume.f_frsize
        there = [self.cache.partial(file) for file in files if os.path.exists(self.cache.partial(file))]
        wanted = sum(file.size for file in files) - sum(map(os.path.getsize, there))
        if volume.f_blocks and wanted > free:  # some network file systems do not say
            raise OSError(
                errno.ENOSPC, f"{wanted / 2**30:.2f} GiB more are needed, {free / 2**30:.2f} GiB are free"
            )

    def _fetch(self, commit: str, same: list[File]) -> None:
        """Download a content, and give it its names."""
        file = same[0]
        partial = Partial(self.cache, file)
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
        file, url = partial.file, file_url(self.model, commit, partial.file.name)
        while partial.have < file.size:
            start = partial.have
            last = min(start + SPAN, file.size) - 1
            with answer(url, Range=f"bytes={start}-{last}") as (status, body):
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

    def code_elsewhere(self, commit: str) -> set[str]:
        """Repositories whose code the configuration names: `auto_map: {AutoConfig: org/name--file.Class}`."""
        folder = os.path.join(self.hub, self.cache.name, "snapshots", commit)
        found: set[str] = set()
        for name in [name for name in os.listdir(folder) if name.endswith("config.json")]:
            with (
                contextlib.suppress(ValueError),
                open(os.path.join(folder, name), encoding="utf-8") as handle,
            ):
                mapped = json.dumps(json.load(handle).get("auto_map"))
                found |= set(re.findall(r'"([-.\w]+/[-.\w]+?)--', mapped))
        return found


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Bring what is asked for, and tell what is there then."""
    progress = Progress(options.every)
    progress.begin("resolve")
    check_token()
    model = Prefetch(options, progress, options.model, options.load_format)
    result = model.run(options.revision)
    for other in sorted(model.code_elsewhere(result["commit"])) if options.trust_remote_code else ():
        code = Prefetch(options, progress, other, CODE)
        try:
            code.run(code.cache.ref(constants.DEFAULT_REVISION))
        except Failure as failure:
            words = f"The model's configuration names code in {other}. {failure.message}"
            raise Failure(failure.reason, words) from failure
    progress.begin("done")
    return {**result, "downloaded": progress.received}


def parsed(arguments: list[str]) -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser("prefetch")
    parser.add_argument("model", help="Hugging Face id")
    parser.add_argument("--revision", help="branch, tag or commit; unset: the default branch")
    parser.add_argument(
        "--load-format", default="auto", help="that of the server: it decides which weights are taken"
    )
    parser.add_argument(
        "--trust-remote-code", action="store_true", help="bring code of other repositories too"
    )
    parser.add_argument("--report", default="/dev/termination-log", help="file for the report")
    parser.add_argument("--every", type=float, default=5, help="seconds between lines of progress")
    parser.add_argument(
        "--pause", type=float, default=2, help="seconds before the hub is asked again; they double"
    )
    parser.add_argument("--workers", type=int, default=8, help="files that are downloaded at once")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Run, report, and return the exit code."""
    options = parsed(arguments)
    try:
        report(options.report, run(options))
    except Exception as error:
        failure = understood(error)
        message = masked(failure.message)[:LONGEST_MESSAGE]
        report(options.report, {"reason": failure.reason, "message": message})
        note(f"{failure.reason}: {message}")
        code = EXITS.get(failure.reason, EXIT_ACT)
        if code == EXIT_UNEXPECTED:
            print(*map(masked, traceback.format_exc().splitlines()), sep="\n", file=sys.stderr)
        return code
    return EXIT_DONE


if __name__ == "__main__":
    exit_code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)  # threads that still download would keep us
