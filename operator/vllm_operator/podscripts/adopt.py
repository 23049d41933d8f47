"""Looks at a calibration that was made by hand, and lists it; nothing of it is changed."""

import argparse
import os
from typing import Any

from . import artifacts, manifest
from .failures import DENIED, Failure
from .log import Progress
from .measure import facts, folder_of


def run(options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    """Verify it, have a manifest, and tell what is there. Raises Failure and OSError."""
    folder = find(options.existing, options.name)
    progress.begin("verify")
    generation = artifacts.generation_of(folder, options.generation)
    found = artifacts.check(folder, generation, options.tensor_parallel_size, needs_scales=False)
    content = {**facts(options, found), "arguments": {"existing": options.existing}}
    for place in (folder, folder_of(options)):
        path = os.path.join(place, manifest.NAME)
        known = manifest.read(path)
        if known and _fits(known[0], content, folder):
            return manifest.summary(folder, path, known[0], known[1], reused=True)
    content["files"] = manifest.listed(folder, found.files, sync=False)
    path = os.path.join(folder, manifest.NAME)
    # Another's manifest is not ours to replace: servers may have been told its hash.
    if not os.path.lexists(path):
        try:
            return manifest.summary(folder, path, content, manifest.write(path, content), reused=False)
        except OSError as error:
            if error.errno not in DENIED:
                raise
    path = os.path.join(folder_of(options), manifest.NAME)
    os.makedirs(folder_of(options), exist_ok=True)
    return manifest.summary(folder, path, content, manifest.write(path, content), reused=False)


def _fits(known: dict[str, Any], wanted: dict[str, Any], folder: str) -> bool:
    same = ("name", "generation", "worldSize", "quantConfig")
    return all(known.get(key) == wanted[key] for key in same) and manifest.holds(folder, known)


def find(existing: str, name: str) -> str:
    """The folder with the configuration: the one that is named, or that of the model below it.

    The scripts write a model's name in small letters, and older guides look for it as it is written.
    Raises Failure and OSError.
    """
    folder = os.path.normpath(existing)
    if artifacts.CONFIG.fullmatch(os.path.basename(folder)):
        folder = os.path.dirname(folder)
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError) as error:
        words = f"{folder} is no folder of the cache."
        raise Failure("ArtifactsIncomplete", f"{words} Correct spec.existing.path.") from error
    if any(artifacts.CONFIG.fullmatch(each) for each in names):
        return folder
    inner = sorted(each for each in names if each.lower() == name.lower())
    for each in sorted(inner, key=lambda each: each != name.lower()):
        below = os.path.join(folder, each)
        if os.path.isdir(below) and any(map(artifacts.CONFIG.fullmatch, os.listdir(below))):
            return below
    raise Failure(
        "ArtifactsIncomplete",
        f"Neither {folder} nor a folder {name.lower()} in it holds a maxabs_quant_g2.json or "
        "maxabs_quant_g3.json. Correct spec.existing.path.",
    )
