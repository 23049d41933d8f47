"""Calibrates a model to FP8, or looks at files that were made by hand: runs, verifies, lists, reports.

Runs in the Gaudi image as `python3 -m podscripts.calibrate`, with the standard library of Python 3.10 alone,
offline and without a token. Decision 10 (docs/decisions) holds the contract. What a tool says of its success
is never believed: what counts is the files, and the samples that it has counted.
"""

import argparse
import contextlib
import fcntl
import os
import sys
from typing import Any

from . import adopt, backends, manifest, measure, tool
from .artifacts import check_generation, is_there
from .failures import EXIT_UNEXPECTED, Failure, conclude, of_system
from .log import Progress, note
from .plain import real_name

EXITS = {"CalibrationFailed": EXIT_UNEXPECTED, "ArtifactsIncomplete": EXIT_UNEXPECTED}


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Do what is asked for, and tell what is there then. Raises Failure and OSError."""
    console = tool.Console()
    progress = Progress(options.every, "calibrate", console.line, console.buried)
    progress.begin("prepare")
    if options.existing:
        told = adopt.run(options, progress)
    else:
        check(options)
        os.makedirs(options.output, exist_ok=True)
        with alone(options.output):
            told = reused(options, progress) or measure.run(options, progress, console)
    progress.begin("done")
    return told


def check(options: argparse.Namespace) -> None:
    """Refuse what cannot go well before anything runs. Raises Failure."""
    cards, less = options.tensor_parallel_size, options.unify_to
    if less is not None and (not 0 < less < cards or cards % less):
        raise Failure(
            "UnifyFailed",
            f"{cards} measurements cannot be merged for {less} cards: "
            "spec.unifyTo has to be smaller than spec.tensorParallelSize, and to divide it.",
        )
    if options.name in ("", ".", ".."):
        words = f"The name of the model is {options.name!r}, which is no name of a folder."
        raise Failure("CalibrationFailed", f"{words} Correct spec.model.name.", final=True)
    if options.backend == backends.SCRIPT:
        backends.check_script_words(options.name, options.output)
    if not any(is_there(os.path.join(options.model, name)) for name in ("config.json", "params.json")):
        words = f"{options.model} holds no model that can be read: it has no config.json."
        raise Failure("CacheNotReadable", f"{words} Delete the FP8Quantization and apply it again.")


@contextlib.contextmanager
def alone(folder: str) -> Any:
    """Nobody else calibrates into the folder meanwhile; a process that dies lets go of it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # there are network file systems without locks
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                note(f"Another calibration into {folder} runs. Waiting for it.")
                fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def reused(options: argparse.Namespace, progress: Progress) -> dict[str, Any] | None:
    """The result of an earlier run of the same recipe, if it is as it was. Raises Failure and OSError."""
    folder = measure.folder_of(options)
    path = os.path.join(folder, manifest.NAME)
    found = manifest.read(path)
    if found is None or found[0].get("arguments") != measure.recipe(options):
        return None
    content, digest = found
    progress.begin("verify")
    if not manifest.holds(folder, content):
        note(f"{folder} is not what its manifest lists. Calibrating anew.")
        return None
    check_generation(options.generation, content["generation"])
    return manifest.summary(folder, path, content, digest, reused=True)


def understood(error: BaseException, home: str) -> Failure:
    """What any error means."""
    if isinstance(error, Failure):
        return error
    return of_system(error, home) or Failure("CalibrationFailed", f"{type(error).__name__}: {error}")


def parsed(arguments: list[str]) -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser("calibrate")
    parser.add_argument("--backend", choices=[backends.SCRIPT, backends.COMMAND], default=backends.SCRIPT)
    parser.add_argument("--model", help="folder of the model")
    parser.add_argument("--name", required=True, help="the model's real name: rules of the tools go by it")
    parser.add_argument(
        "--output", required=True, help="folder for the result; it has to be the server's too"
    )
    parser.add_argument("--existing", help="folder of a result that was made by hand: it is only looked at")
    parser.add_argument("--tensor-parallel-size", type=int, required=True)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--sample-limit", type=int)
    parser.add_argument("--unify-to", type=int, help="merge the measurements for so many cards")
    parser.add_argument("--expert-parallel", action="store_true")
    parser.add_argument("--generation", choices=["g2", "g3"], help="refuse cards of another one")
    parser.add_argument("--dataset", help="staged dataset, for the scripts")
    parser.add_argument("--dataset-sha256", help="of the dataset")
    parser.add_argument("--task", action="append", default=[], help="task of lm-eval, for the command")
    parser.add_argument("--scripts", default="/workspace/vllm-gaudi/calibration", help="theirs in the image")
    parser.add_argument("--work", default="/work", help="folder that nobody else writes")
    parser.add_argument("--report", default="/dev/termination-log", help="file for the report")
    parser.add_argument("--every", type=float, default=5, help="seconds between lines of progress")
    options = parser.parse_args(arguments)
    options.name = real_name(options.name)
    if not options.existing and not options.model:
        parser.error("--model or --existing is needed")
    if not options.existing and options.backend == backends.SCRIPT and not options.dataset:
        parser.error("the scripts need --dataset")
    if bool(options.dataset) != bool(options.dataset_sha256):
        parser.error("--dataset and --dataset-sha256 go together")
    if options.dataset and (options.backend == backends.COMMAND or options.task):
        parser.error("vllm-gaudi-calibrate takes no --dataset, and the scripts no --task")
    return options


def main(arguments: list[str]) -> int:
    """Run, report, and return the exit code."""
    options = parsed(arguments)
    # What was made by hand is not made anew by another try.
    exits = {} if options.existing else EXITS
    return conclude(
        options.report, lambda: run(options), lambda error: understood(error, options.output), exits
    )


if __name__ == "__main__":
    tool.listen()
    exit_code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)
