"""Makes a new calibration: prepares, has the tool run, judges what it has told, unifies, lists the files."""

import argparse
import os
import shutil
import time
from typing import Any

from . import artifacts, backends, manifest, tool
from .failures import FULL, Failure, cache_full, is_full
from .log import Progress, note
from .told import Told

RECIPE = (
    *("backend", "model", "name", "tensor_parallel_size", "batch_size", "sample_limit", "unify_to"),
    *("expert_parallel", "dataset_sha256", "task"),
)
"""Options that decide the result."""
USAGE = 2
"""Exit code of a tool that does not take its arguments, or that is no tool any more."""
KILLED = (-9, 128 + 9)
ROOM = 1 << 30
"""Bytes: with less the cache is what a tool has found no space on, with more it is another volume."""


def folder_of(options: argparse.Namespace) -> str:
    """Where the tools put the result."""
    return os.path.join(str(options.output), str(options.name).lower())


def recipe(options: argparse.Namespace) -> dict[str, Any]:
    """What decides the result, for the manifest."""
    return {name: getattr(options, name) for name in RECIPE}


def run(options: argparse.Namespace, progress: Progress, console: tool.Console) -> dict[str, Any]:
    """Calibrate, and tell what is there then. Raises Failure and OSError."""
    folder, told = folder_of(options), Told(progress)
    try:
        samples = _measured(options, progress, console, told)
        progress.begin("verify")
        generation = artifacts.generation_of(folder, None)
        artifacts.check_generation(options.generation, generation)
        world = options.unify_to or options.tensor_parallel_size
        found = artifacts.check(folder, generation, world, needs_scales=True)
    except Failure as failure:
        if failure.reason in ("ArtifactsIncomplete", "UnifyFailed") and is_full(options.output):
            raise cache_full(failure.message.split(". ")[0]) from failure
        if failure.reason in ("ArtifactsIncomplete", "SamplesMissing") and (
            told.error is not None or told.too_long
        ):
            raise _cause(options, tool.Outcome(0, []), told) from failure
        raise
    _gone_on(told)
    files = manifest.listed(folder, [*found.files, *_all(folder, generation)], sync=True)
    content = {**facts(options, found, samples), "arguments": recipe(options), "files": files}
    content["tools"] = manifest.versions()
    manifest.sync_folder(os.path.join(folder, generation))
    path = os.path.join(folder, manifest.NAME)
    return manifest.summary(folder, path, content, manifest.write(path, content), reused=False)


def facts(options: argparse.Namespace, found: artifacts.Artifacts, samples: int = 0) -> dict[str, Any]:
    """What a manifest says besides the files."""
    return {
        "name": options.name,
        "quantConfig": os.path.basename(found.config),
        "generation": found.generation,
        "worldSize": found.world,
        "samples": samples or found.samples,
    }


def _all(folder: str, generation: str) -> list[str]:
    """Everything that lies with the measurements."""
    return [
        os.path.relpath(os.path.join(place, name), folder)
        for place, _, names in os.walk(os.path.join(folder, generation))
        for name in names
    ]


def _measured(options: argparse.Namespace, progress: Progress, console: tool.Console, told: Told) -> int:
    """Have the tool do its work, and give the number of samples that it says it has measured."""
    script = options.backend == backends.SCRIPT
    place, words = _prepared(options)
    _set_aside(folder_of(options))

    def watch(line: str) -> None:
        told.line(line)
        if told.generation:  # hours before the files would tell
            artifacts.check_generation(options.generation, told.generation)

    surroundings = backends.environment(options.tensor_parallel_size)
    outcome = tool.run(words, place, surroundings, console, watch)
    if outcome.code or told.memory:
        raise _cause(options, outcome, told)
    samples = _samples(told, script)
    if script and options.unify_to:
        _unify(options, place, progress, console)
    return samples


def _prepared(options: argparse.Namespace) -> tuple[str, list[str]]:
    """Where the tool runs, and how it is called. All that is written before it is in the work folder."""
    try:
        model = backends.named(options.work, options.model, options.name)
        if options.backend == backends.COMMAND:
            return options.work, backends.command_words(options, model)
        dataset = backends.own_copy(options.work, options.dataset, options.dataset_sha256)
        scripts = backends.scripts_copy(options.work, options.scripts, unifies=bool(options.unify_to))
        return scripts, backends.script_words(options, model, dataset)
    except OSError as error:
        if error.errno in FULL or (isinstance(error, shutil.Error) and is_full(options.work)):
            raise _no_room(options.work, "it is small") from error
        raise


def _set_aside(folder: str) -> None:
    """Move what an earlier try has left: it is never mixed with the new, and never deleted."""
    if not os.path.lexists(folder):
        return
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    base = os.path.join(os.path.dirname(folder), f".{os.path.basename(folder)}.left-{stamp}")
    aside, number = base, 1
    while os.path.lexists(aside):
        number += 1
        aside = f"{base}-{number}"
    os.rename(folder, aside)
    note(f"{folder} held no whole result. It is now {aside}.")


def _gone_on(told: Told) -> None:
    """Tell of a traceback that has done no harm: everything that there has to be is there."""
    if told.error is not None:
        error = _last(tool.Outcome(0, []), told)
        words = f"In the step {told.step} there was a traceback ({error}), and the tool went on."
        note(f"{words} What it had to make is whole all the same.")


def _cause(options: argparse.Namespace, outcome: tool.Outcome, told: Told) -> Failure:
    """Why the tool has failed, whatever its exit code says."""
    name = backends.MAIN if options.backend == backends.SCRIPT else backends.TOOL
    return _lack(options, outcome, told, name) or _end(outcome, told, name)


def _lack(options: argparse.Namespace, outcome: tool.Outcome, told: Told, name: str) -> Failure | None:
    """What it says that it has not room enough for."""
    if told.memory:
        return Failure(
            "OutOfDeviceMemory",
            f"The memory of {options.tensor_parallel_size} cards is too small ({_cut(told.memory)}). Take a "
            "larger spec.tensorParallelSize, or a smaller spec.batchSize.",
        )
    if told.full:
        return _no_space(options, told.full)
    if told.too_long and outcome.code not in KILLED:
        return _too_long(name, told.too_long)
    return None


def _end(outcome: tool.Outcome, told: Told, name: str) -> Failure:
    """How it has ended."""
    if outcome.code == USAGE and name == backends.MAIN and not told.began:
        return Failure(
            "CalibrationToolMissing",
            f"The image's {name} calibrates no more ({_last(outcome, told)}). Set spec.backend: Command and "
            "spec.tasks, or take an older image.",
        )
    if told.no_device:
        words = f"{name} finds no card of Gaudi 2 or 3, but {told.no_device!r} ({_last(outcome, told)})."
        return Failure("CalibrationFailed", f"{words} Look at the node's driver. {_log()}")
    if outcome.code in KILLED:
        words = f"{name} was killed in the step {told.progress.step}."
        remedy = (
            "Most likely the memory of the pod is too small, which holds all weights: see spec.resources."
        )
        return Failure("CalibrationFailed", f"{words} {remedy} {_log()}")
    ended = f"ended with exit code {outcome.code}" if outcome.code else "says that it is done, but is not,"
    step = told.progress.step if outcome.code else told.step
    return Failure(
        "CalibrationFailed",
        f"{name} {ended} in the step {step} ({_last(outcome, told)}). {_log()}",
        final=outcome.code == USAGE and name == backends.TOOL,
    )


def _too_long(name: str, line: str) -> Failure:
    remedy = (
        "A .pkl is taken as it is: make one with rows of at most about 2,000 tokens, system_prompt and "
        "question together, or give the dataset as parquet, jsonl, json or csv, whose rows are cut."
        if name == backends.MAIN
        else "Take other spec.tasks."
    )
    words = f"The dataset has a row with more tokens than {name} measures with"
    return Failure("DatasetInvalid", f"{words} ({_cut(line)}). {remedy}", final=True)


def _no_space(options: argparse.Namespace, line: str) -> Failure:
    if is_full(options.output, ROOM):
        return cache_full(_cut(line))
    return _no_room(options.work, _cut(line))


def _no_room(work: str, words: str) -> Failure:
    return Failure(
        "CalibrationFailed",
        f"A volume of the pod is full, and it is not the cache ({words}): {work}, /tmp or /dev/shm. Give it "
        "more space (spec.shmSize, or ephemeral-storage in spec.resources).",
        final=True,
    )


def _last(outcome: tool.Outcome, told: Told) -> str:
    if told.error is not None:
        return _cut(told.error) or "an error that it does not name"
    return _cut(outcome.tail[-1] if outcome.tail else "without a word")


def _cut(text: str) -> str:
    return text.strip().rstrip(".")[:200]


def _log() -> str:
    pod = os.environ.get("HOSTNAME")
    return f"The log says more: kubectl logs {pod}." if pod else "The log says more."


def _samples(told: Told, script: bool) -> int:
    if not script:
        short = [f"{done} of {total} of {bar}" for bar, done, total in told.bars if done < total]
        if short:
            raise _too_few(" and ".join(short))
        if not told.bars and told.error is not None:
            raise _too_few("nothing that it counts")
        return sum(total for _, _, total in told.bars)
    if told.samples is None:
        raise _too_few("no sample at all, as far as the scripts tell")
    done, total = told.samples
    if done < total or not done:
        raise _too_few(f"{done} of {total} samples")
    return done


def _too_few(what: str) -> Failure:
    words = f"The tool has measured {what}, and says that it is done."
    return Failure("SamplesMissing", f"{words} Look at the dataset, and at the log. {_log()}")


def _unify(options: argparse.Namespace, scripts: str, progress: Progress, console: tool.Console) -> None:
    """Merge the measurements into a folder of their own, and put that in the place of the first.

    The step counts the files that it finds, and with those of another world size beside them it ends well
    without having written anything. So it is given a folder that it has not written into, and not believed.
    """
    progress.begin("unify")
    folder = folder_of(options)
    generation = artifacts.generation_of(folder, None)
    artifacts.check(folder, generation, options.tensor_parallel_size, needs_scales=True)
    source = os.path.join(folder, generation)
    target = os.path.join(folder, f"unified-{generation}")
    told = Told(progress)
    words = backends.unify_words(options, source, target)
    surroundings = backends.environment(options.tensor_parallel_size)
    outcome = tool.run(words, scripts, surroundings, console, told.line)
    if told.full:
        raise _no_space(options, told.full)
    if outcome.code or told.memory:
        words_ = f"{backends.UNIFIER} ended with exit code {outcome.code} ({_last(outcome, told)})."
        raise Failure("UnifyFailed", f"{words_} {_log()}")
    os.rename(source, os.path.join(folder, f"measured-{generation}"))
    os.makedirs(target, exist_ok=True)
    os.rename(target, source)
    try:
        artifacts.check(folder, generation, options.unify_to, needs_scales=True)
    except Failure as failure:
        ended = "ended well" if told.error is None else f"went on after {_cut(told.error)!r}"
        words_ = f"{backends.UNIFIER} {ended}, but: {failure.message}"
        raise Failure("UnifyFailed", words_) from failure
    _gone_on(told)
