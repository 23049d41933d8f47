"""Brings a model from a Hugging Face hub into the cache: resolves, downloads, verifies, reports.

Runs in the vLLM image as `python3 -m podscripts.prefetch MODEL`, with Python 3.10 or newer and
huggingface_hub 0.30 to 2. HF_HOME, HF_TOKEN, HF_ENDPOINT and the proxies come from the environment.
For a quantization it also stages what the model is calibrated with. Decisions 7 and 10 (docs/decisions) hold
the contract, and say why huggingface_hub does not fetch the files itself.
"""

import argparse
import os
import sys
from typing import Any

from . import failures

failures.listen()  # before the imports that take a second

from huggingface_hub import constants, get_token  # noqa: E402

from . import dataset, log, tasks  # noqa: E402
from .failures import EXIT_PASSING, EXIT_UNEXPECTED, Failure, conclude  # noqa: E402
from .files import CODE, File, needed  # noqa: E402
from .hub import check_token, understood  # noqa: E402
from .log import Progress  # noqa: E402
from .plain import real_name, unusable  # noqa: E402
from .repository import Repository, code_elsewhere  # noqa: E402

EXITS = {"HubUnreachable": EXIT_PASSING, "PrefetchFailed": EXIT_UNEXPECTED}


def bring(repository: Repository, revision: str | None, load_format: str) -> dict[str, Any]:
    """Have a model, or the code of one, and tell what there is then. Raises Failure and OSError."""
    repository.progress.begin("resolve")
    commit, listed = repository.resolve(revision)
    files = sorted((listed[name] for name in needed(listed, load_format)), key=lambda file: file.size)
    if not files:
        raise Failure("ModelNotFound", f"{repository.name} holds no files. Correct spec.model.name.")
    repository.bring(commit, files)
    repository.remember(commit, listed)
    cache = repository.cache
    if revision != commit:
        cache.refer(revision or constants.DEFAULT_REVISION, commit)
    return {
        **_told(commit, files, repository.hub),
        "adopted": {
            "files": len(cache.adopted),
            "bytes": sum(file.size for file in cache.adopted),
            "from": sorted(set(cache.adopted.values())),
        },
    }


def _told(commit: str, files: list[File], hub: str) -> dict[str, Any]:
    nothing = {"files": 0, "bytes": 0, "from": []}
    total = sum(file.size for file in files)
    return {"commit": commit, "files": len(files), "bytes": total, "adopted": nothing, "cache": hub}


def look_at(folder: str, progress: Progress) -> dict[str, Any]:
    """A model that somebody has put into the cache: nothing is fetched for it. Raises Failure and OSError."""
    progress.begin("verify")
    inside = f"{os.path.normpath(folder)}/".startswith(f"{os.path.normpath(constants.HF_HOME)}/")
    try:
        if not inside:
            raise FileNotFoundError
        os.stat(os.path.join(folder, "config.json"))
    except (FileNotFoundError, NotADirectoryError) as error:
        lacks = "holds no config.json" if inside and os.path.isdir(folder) else "is no folder of the cache"
        words = f"{folder} {lacks}. Put the model there, or correct spec.model.name."
        raise Failure("ModelNotFound", words) from error
    paths = [os.path.join(at, name) for at, _, names in os.walk(folder, onerror=_raise) for name in names]
    files = [File(path, os.path.getsize(path), "") for path in paths]
    for file in files:
        file.is_at(file.name)  # it can be read
    return _told("", files, constants.HF_HUB_CACHE)


def _raise(error: OSError) -> None:
    raise error


def bring_code(options: argparse.Namespace, progress: Progress, folder: str) -> None:
    """Have the code that a model's configuration names in other repositories. Raises Failure and OSError."""
    for other in sorted(code_elsewhere(folder)):
        code = Repository(options, progress, other)
        try:
            bring(code, code.cache.ref(constants.DEFAULT_REVISION), CODE)
        except Failure as failure:
            words = f"The model's configuration names code in {other}. {failure.message}"
            raise Failure(failure.reason, words) from failure


def check_name(options: argparse.Namespace) -> None:
    """Refuse a name now that the scripts refuse when they have the cards. Raises Failure."""
    measures = options.dataset_file or options.dataset_url or options.dataset_name
    # Only the scripts measure a dataset; the command measures tasks.
    if measures and (words := unusable("name of the model", real_name(options.model))):
        raise Failure("PrefetchFailed", words, final=True)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Bring what is asked for, and tell what is there then. Raises Failure and OSError."""
    progress = Progress(options.every)
    progress.begin("resolve")
    check_token()
    check_name(options)
    # Before the model: who has misspelled it shall not wait for a download of hours.
    staged = dataset.stage(options, progress)
    tasks.bring(options.task, progress)
    if options.model.startswith("/"):
        folder, result = options.model, look_at(options.model, progress)
    else:
        model = Repository(options, progress, options.model)
        result = bring(model, options.revision, options.load_format)
        folder = model.path(result["commit"])
    if options.trust_remote_code:
        bring_code(options, progress, folder)
    progress.begin("done")
    return {**result, "downloaded": progress.received, **({"dataset": staged} if staged else {})}


def parsed(arguments: list[str]) -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser("prefetch")
    parser.add_argument("model", help="Hugging Face id, or a folder of the cache that is only looked at")
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
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--dataset-file", help="calibration dataset that is mounted")
    source.add_argument("--dataset-url", help="calibration dataset of a web server; needs --dataset-sha256")
    source.add_argument("--dataset-name", help="calibration dataset of the hub")
    source.add_argument("--task", action="append", default=[], help="task of lm-eval to be ready offline")
    parser.add_argument("--dataset-sha256", help="what the file of --dataset-url is to hold")
    parser.add_argument("--dataset-split", default="train", help="split of --dataset-name")
    parser.add_argument("--sample-limit", type=int, default=512, help="rows taken of what is converted")
    options = parser.parse_args(arguments)
    if bool(options.dataset_url) != bool(options.dataset_sha256):
        parser.error("--dataset-url and --dataset-sha256 go together")
    return options


def main(arguments: list[str]) -> int:
    """Run, report, and return the exit code."""
    options = parsed(arguments)
    log.secrets.add(get_token() or "")
    return conclude(options.report, lambda: run(options), understood, EXITS)


if __name__ == "__main__":
    exit_code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)  # threads that still download would keep us
