"""The files of a calibration: which there have to be, and whether they are what they should be.

Written by Intel Neural Compressor (neural_compressor_pt 3.10) and the calibration scripts. INC ignores errors
when it writes, so that nothing is believed that has not been looked at. An .npz is a program, as a pickle is:
it is never loaded here.
"""

import errno
import json
import os
import re
import struct
import zipfile
import zlib
from typing import Any, BinaryIO, NamedTuple

from .failures import Failure

CONFIG = re.compile(r"maxabs_quant_(g[23])\.json")
MEASURED, SCALED = "DynamicRange", "Scale"
"""What INC calls the mode of a file of measurements, and of one of scales."""
BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, struct.error, NotImplementedError)
SOME = 4
"""Names that a message holds."""


class Artifacts(NamedTuple):
    """What a server needs."""

    folder: str
    config: str
    generation: str
    world: int
    files: list[str]
    """Relative to the folder."""
    samples: int
    """That the files tell of; 0 where they tell nothing."""


def generation_of(folder: str, asked: str | None) -> str:
    """The generation that the files are for. Raises Failure and OSError."""
    there = os.listdir(folder) if is_there(folder) else []
    found = sorted(match[1] for name in there if (match := CONFIG.fullmatch(name)))
    if not found:
        raise _incomplete(f"{folder} holds no maxabs_quant_g2.json and no maxabs_quant_g3.json")
    if asked and asked not in found:
        raise Failure(
            "GenerationMismatch",
            f"The files in {folder} are for {' and '.join(found)}, not for {asked}: measurements are of one "
            "generation only. Correct spec.gaudi.generation, or calibrate on such cards.",
        )
    if not asked and len(found) > 1:
        words = f"{folder} holds files for {' and '.join(found)}."
        raise Failure("GenerationMismatch", f"{words} Say which in spec.gaudi.generation.")
    return asked or found[0]


def check_generation(asked: str | None, found: str) -> None:
    """Raise Failure where the cards are not those that were asked for."""
    if asked and found != asked:
        raise Failure(
            "GenerationMismatch",
            f"The cards are of generation {found}, not {asked}: measurements are of one generation only. "
            "Correct spec.gaudi.generation, or let spec.nodeSelector choose other nodes.",
        )


def check(folder: str, generation: str, world: int, *, needs_scales: bool) -> Artifacts:
    """Look at everything that a server of that many cards would load. Raises Failure and OSError."""
    name = f"maxabs_quant_{generation}.json"
    config = os.path.join(folder, name)
    content = _read(config)
    if str(content.get("mode", "")).upper() != "QUANTIZE":
        raise _incomplete(f"{config} has not the mode QUANTIZE")
    dump = _dump(folder, generation, content, config)
    place, base = os.path.split(dump)
    files, samples = _of_ranks(place, f"{base}_hooks_maxabs", world, MEASURED)
    method = content.get("scale_method")
    scales = f"{base}_hooks_maxabs_{str(method).upper()}"
    if method and (needs_scales or _any(place, scales, world)):
        files += _of_ranks(place, scales, world, SCALED)[0]
    measure = f"maxabs_measure_{generation}.json"
    root = os.path.realpath(folder)
    inner = [os.path.relpath(os.path.join(os.path.realpath(place), each), root) for each in files]
    there = [name, *([measure] if os.path.isfile(os.path.join(folder, measure)) else []), *inner]
    return Artifacts(folder, config, generation, world, there, samples)


def _dump(folder: str, generation: str, content: dict[str, Any], config: str) -> str:
    """Where the configuration says that the files are: an absolute path, which must hold in a server too."""
    dump = str(content.get("dump_stats_path", ""))
    wanted = os.path.join(folder, generation, "inc_output")
    inside = f"{os.path.realpath(os.path.dirname(dump))}/".startswith(f"{os.path.realpath(folder)}/")
    if os.path.isabs(dump) and inside:
        return dump
    raise _incomplete(
        f"{config} has the dump_stats_path {dump!r}, which is not in {folder}, where a server looks",
        f"Set it to {wanted!r} if the files are there, or name the folder that it means.",
    )


def is_there(path: str) -> bool:
    """Whether it is there. Raises OSError where nobody may look."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _any(place: str, stem: str, world: int) -> bool:
    pattern = re.compile(rf"{re.escape(stem)}_\d+_{world}\.(json|npz)")
    return any(pattern.fullmatch(name) for name in os.listdir(place))


def _of_ranks(place: str, stem: str, world: int, mode: str) -> tuple[list[str], int]:
    """The names of one kind of files, for every rank, and the samples that they tell of."""
    names = [f"{stem}_{rank}_{world}{end}" for rank in range(world) for end in (".json", ".npz")]
    missing = [name for name in names if not is_there(os.path.join(place, name))]
    if missing:
        raise _missing(place, stem, missing)
    samples = []
    for name in names:
        path = os.path.join(place, name)
        if os.path.getsize(path) == 0:
            raise _incomplete(f"{path} is empty: a full volume leaves such files")
        if name.endswith(".npz"):
            with open(path, "rb") as handle:  # is_zipfile takes what may not be read for what is no archive
                if not _is_whole(handle):
                    raise _incomplete(f"{path} is cut off: a full volume leaves such files")
            continue
        content = _read(path)
        if content.get("Mode") != mode:
            raise _incomplete(f"{path} has not the mode {mode}, but {content.get('Mode')!r}")
        if not content.get("Nodes") or not isinstance(content["Nodes"], dict):
            raise _incomplete(f"{path} holds no nodes: nothing of the model was measured")
        samples.append(content.get("NumSamples"))
    told = [each for each in samples if isinstance(each, int)]
    return names, min(told, default=0)


def _is_whole(handle: BinaryIO) -> bool:
    """Whether every member of an archive is there as it was written. Nothing in it is loaded."""
    try:
        with zipfile.ZipFile(handle) as archive:
            return bool(archive.namelist()) and archive.testzip() is None
    except (*BROKEN, RuntimeError, ValueError):  # also what would need a password, or is before its beginning
        return False
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return False


def _missing(place: str, stem: str, missing: list[str]) -> Failure:
    pattern = re.compile(rf"{re.escape(stem)}_0_(\d+)\.json")
    there = os.listdir(place) if os.path.isdir(place) else []
    worlds = sorted({int(match[1]) for name in there if (match := pattern.fullmatch(name))})
    also = f"; there are files for a tensorParallelSize of {', '.join(map(str, worlds))}" if worlds else ""
    more = f" and {len(missing) - SOME} more" if len(missing) > SOME else ""
    return _incomplete(f"{place} lacks {', '.join(missing[:SOME])}{more}{also}")


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as handle:
            content = json.load(handle)
    except ValueError as error:
        raise _incomplete(f"{path} cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise _incomplete(f"{path} holds no JSON object")
    return content


def _incomplete(
    what: str, remedy: str = "Calibrate anew; the log of the calibration may say why."
) -> Failure:
    return Failure("ArtifactsIncomplete", f"{what}. {remedy}")
