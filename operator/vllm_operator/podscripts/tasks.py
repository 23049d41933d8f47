"""Has lm-eval fetch the data of its tasks, so that a calibration that feeds on them needs no network."""

import contextlib
import sys
from typing import Any

from .failures import Failure
from .log import Progress


def bring(names: list[str], progress: Progress) -> None:
    """Have the data of these tasks in HF_HOME. Raises Failure, and what the libraries raise."""
    if not names:
        return
    progress.begin("dataset", 0, len(names))
    # It may print what it likes; on stdout is our progress, and nothing else.
    with contextlib.redirect_stdout(sys.stderr):
        manager, load = _library()
        unknown = sorted(set(names) - set(manager.all_tasks))
        if unknown:
            words = f"lm-eval knows no task {', '.join(unknown)}."
            raise Failure("DatasetNotFound", f"{words} Correct spec.tasks.")
        for name in names:
            _load(load, manager, name)
            progress.add(1)


def _library() -> tuple[Any, Any]:
    try:
        from lm_eval.tasks import TaskManager, get_task_dict  # noqa: PLC0415 - few images hold it
    except ImportError as error:
        raise Failure(
            "CalibrationToolMissing",
            f"The image holds no lm-eval ({error}), which brings the data of spec.tasks. Take an "
            "image with vllm-gaudi-calibrate and lm-eval, or another dataset.",
        ) from error
    return TaskManager(), get_task_dict


def _load(load: Any, manager: Any, name: str) -> None:
    """Making a task loads its data: lm-eval has no other door."""
    try:
        load([name], manager)
    except Exception as error:
        # By name: `datasets` is no module of ours. It says of a gated one that it was not found.
        if type(error).__name__ != "DatasetNotFoundError":
            raise
        words = str(error)[:200].rstrip(".")
        if "gated" in str(error):
            remedy = (
                "Ask for access, and name a Secret with the account's token in spec.model.tokenSecretRef."
            )
            raise Failure("GatedModel", f"The data of task {name}: {words}. {remedy}") from error
        remedy = "Correct spec.tasks."
        raise Failure("DatasetNotFound", f"The data of task {name}: {words}. {remedy}") from error
