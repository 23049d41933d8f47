"""The two ways to calibrate that Gaudi images have: how each is called, and what it needs first."""

import argparse
import hashlib
import os
import shutil
import stat

from .failures import Failure
from .plain import unusable

SCRIPT, COMMAND = "Script", "Command"
MAIN = "calibrate_model.sh"
UNIFIER = "step-5-unify_measurements.py"
TOOL = "vllm-gaudi-calibrate"
CHUNK = 1 << 20
SECRET = ("HF_TOKEN", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_TOKEN")
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


def environment(tensor_parallel_size: int) -> dict[str, str]:
    """What a tool runs with: offline, without any token, and with its lines as they come."""
    # A QUANT_CONFIG of the pod's would switch quantization on in the measuring engine.
    kept = {name: value for name, value in os.environ.items() if name not in (*SECRET, "QUANT_CONFIG")}
    kept |= {**OFFLINE, "PYTHONUNBUFFERED": "1"}
    if tensor_parallel_size > 1:
        kept.setdefault("PT_HPU_ENABLE_LAZY_COLLECTIVES", "true")  # as calibrate_model.sh does itself
    return kept


def check_script_words(name: str, output: str) -> None:
    """The scripts put these into commands without quotes, and into JSON as they are. Raises Failure."""
    for what, word in (("name of the model", name), ("folder for the result", output)):
        if words := unusable(what, word):
            raise Failure("CalibrationFailed", words, final=True)


def named(work: str, model: str, name: str) -> str:
    """The model under its real name, which a snapshot's folder has not. Raises OSError."""
    folder = os.path.join(work, "models")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    path = os.path.join(folder, name)
    os.symlink(model, path)
    return path


def own_copy(work: str, dataset: str, sha256: str) -> str:
    """The dataset where nobody else writes, once its content has been checked: it is a program.

    Raises Failure and OSError.
    """
    path, hasher = os.path.join(work, "dataset.pkl"), hashlib.sha256()
    try:
        with open(dataset, "rb") as source, open(path, "wb") as target:
            while chunk := source.read(CHUNK):
                hasher.update(chunk)
                target.write(chunk)
    except FileNotFoundError as error:
        if error.filename != dataset:
            raise
        words = f"{dataset} is not there any more."
        raise Failure(
            "DatasetInvalid", f"{words} Delete the FP8Quantization and apply it again: that stages it anew."
        ) from error
    if hasher.hexdigest() != sha256.lower():
        os.unlink(path)
        raise Failure(
            "DatasetInvalid",
            f"{dataset} has the SHA-256 {hasher.hexdigest()}, not {sha256}: somebody has changed it since it "
            "was staged, and it was not loaded. Delete it and the FP8Quantization, and apply that again.",
        )
    return path


def scripts_copy(work: str, scripts: str, *, unifies: bool) -> str:
    """The scripts where they can write beside themselves. Raises Failure and OSError."""
    if not os.path.isfile(os.path.join(scripts, MAIN)):
        remedy = (
            f"It holds {TOOL}: set spec.backend: Command and spec.tasks."
            if shutil.which(TOOL)
            else "Take an image of vllm-gaudi, or one with vllm-gaudi-calibrate and spec.backend: Command."
        )
        words = f"The image has no {MAIN} in {scripts}."
        raise Failure("CalibrationToolMissing", f"{words} {remedy}")
    if unifies and not os.path.isfile(os.path.join(scripts, UNIFIER)):  # hours before it would be missed
        words = f"The image has no {UNIFIER} in {scripts}, which merges measurements for fewer cards."
        raise Failure("CalibrationToolMissing", f"{words} Unset spec.unifyTo, or take an image that has it.")
    # The scripts clean up behind themselves only in a folder of this name.
    folder = os.path.join(work, "vllm-gaudi", "calibration")
    shutil.rmtree(os.path.dirname(folder), ignore_errors=True)
    shutil.copytree(scripts, folder)
    for place, _, names in os.walk(folder):
        for path in (place, *(os.path.join(place, name) for name in names)):
            os.chmod(path, os.stat(path).st_mode | stat.S_IRWXU)
    return folder


def script_words(options: argparse.Namespace, model: str, dataset: str) -> list[str]:
    """How calibrate_model.sh is called, in the folder of its copy.

    Without -r: it would unify into the folder that it has measured into, so that a second try finds both.
    """
    words = ["bash", MAIN, "-m", model, "-d", dataset, "-o", options.output]
    words += ["-b", str(options.batch_size), "-t", str(options.tensor_parallel_size)]
    if options.sample_limit:
        words += ["-l", str(options.sample_limit)]
    return [*words, "-u"] if options.expert_parallel else words


def unify_words(options: argparse.Namespace, source: str, target: str) -> list[str]:
    """How the step that unifies is called, in the folder of the scripts."""
    words = ["python3", UNIFIER, "-r", str(options.unify_to), "-m", source, "-o", target]
    return [*words, "--use_expert_paral"] if options.expert_parallel else words


def command_words(options: argparse.Namespace, model: str) -> list[str]:
    """How vllm-gaudi-calibrate is called. Raises Failure."""
    tool = shutil.which(TOOL)
    if tool is None:
        remedy = (
            "It holds calibration scripts: set spec.backend: Script and spec.dataset."
            if os.path.isfile(os.path.join(options.scripts, MAIN))
            else "Take an image of vllm-gaudi that holds it."
        )
        raise Failure("CalibrationToolMissing", f"The image has no {TOOL} on its path. {remedy}")
    # The scripts always trust a model's code, and a quantization says so: trustRemoteCode is required.
    words = [tool, "run", model, "-o", options.output, "--trust-remote-code"]
    words += ["--tp", str(options.tensor_parallel_size), "--batch-size", str(options.batch_size)]
    if options.sample_limit:
        words += ["--limit", str(options.sample_limit)]
    if options.unify_to:
        words += ["--unify-to-tp", str(options.unify_to)]
    if options.expert_parallel:
        words.append("--expert-parallel")
    return [*words, "--tasks", *options.task] if options.task else words
