"""What a calibration says that cannot end well: reason, remedy, exit code. No tool is believed."""

import io
import os
import shutil
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from tests.podscripts.calibration.conftest import Ended, Pod, install_command
from tests.podscripts.calibration.stub import TRACE
from tests.podscripts.conftest import PODSCRIPTS
from tests.podscripts.test_needed import reasons
from vllm_operator.api.calibration import FAILURES
from vllm_operator.api.prefetch import EXIT_ACT
from vllm_operator.podscripts import artifacts
from vllm_operator.podscripts.failures import Failure

Command = Callable[..., Ended]
AGAIN = 70
TRACEBACK = TRACE + "RuntimeError: engine died"
LONG_ROW = (
    "vllm.exceptions.VLLMValidationError: This model's maximum context length is 2048 tokens. However, your "
    "request has 2500 input tokens."
)
LONG_PROMPT = (
    "ValueError: The decoder prompt (length 2500) is longer than the maximum model length of 2048. Make sure"
)


def check(run: Ended, reason: str, code: int, *words: str) -> str:
    """A report that people can use, and no more than that."""
    assert (run.failure.reason, run.code) == (reason, code), (run.failure, run.err)
    message = run.failure.message
    for word in words:
        assert word in message
    assert len(run.report_text.encode()) < 4096
    assert message.endswith(".")
    assert "Traceback" not in message
    assert not any(step.step == "done" for step in run.steps)
    return message


TOOL: dict[str, tuple[dict[str, Any], str, int, tuple[str, ...]]] = {
    "ends with an error": (
        {"exits": {"measure": 1}, "says": {"measure": ["Error in step 2"]}},
        "CalibrationFailed",
        AGAIN,
        ("exit code 1 in the step measure (Error in step 2)", "kubectl logs calibrate-x7k."),
    ),
    "says done over a traceback": (
        {"says": {"measure": [TRACEBACK, "the workers end"]}, "skips": [[1, False]]},
        "CalibrationFailed",
        AGAIN,
        ("says that it is done, but is not", "in the step measure (RuntimeError: engine died)"),
    ),
    "says done over a traceback, without a sample": (
        {"says": {"measure": [TRACE + "TypeError: measure()"]}, "samples": [0, 0]},
        "CalibrationFailed",
        AGAIN,
        ("says that it is done, but is not", "in the step measure (TypeError: measure())"),
    ),
    "a traceback that it goes on after, and the one that counts": (
        {
            "says": {
                "prepare": ["--- Logging error ---", TRACE + "ValueError: format", "Call stack:"],
                "measure": [
                    "WARNING 11-25 10:00:00 [x.py:1] Traceback (most recent call last):",
                    "WARNING 11-25 10:00:00 [x.py:1] OSError: no cache",
                    TRACEBACK,
                ],
            },
            "samples": [64, 96],
        },
        "CalibrationFailed",
        AGAIN,
        ("in the step measure (RuntimeError: engine died)",),
    ),
    "traceback of a worker": (
        {
            "exits": {"end": 1},
            "says": {
                "quantize": [
                    "(Worker pid=7) ERROR 11-25 10:00:00 [core.py:9] Traceback (most recent call last):",
                    '(Worker pid=7) ERROR 11-25 10:00:00 [core.py:9]   File "x.py", line 3, in f',
                    "(Worker pid=7) ERROR 11-25 10:00:00 [core.py:9] ValueError: first cause",
                    TRACEBACK,
                ]
            },
        },
        "CalibrationFailed",
        AGAIN,
        ("in the step quantize (ValueError: first cause)",),
    ),
    "a traceback without an end": (
        {"says": {"quantize": ["Traceback (most recent call last):"]}, "skips": [[0, True]]},
        "CalibrationFailed",
        AGAIN,
        ("says that it is done",),
    ),
    "is killed": ({"kills": "measure"}, "CalibrationFailed", AGAIN, ("was killed", "spec.resources")),
    "its engine is killed": ({"exits": {"measure": 137}}, "CalibrationFailed", AGAIN, ("was killed",)),
    "device memory": (
        {
            "exits": {"measure": 1},
            "says": {
                "measure": [
                    TRACE
                    + "RuntimeError: [Rank:0] FATAL ERROR :: MODULE:PT_DEVMEM Allocation failed for size::9"
                ]
            },
        },
        "OutOfDeviceMemory",
        EXIT_ACT,
        ("memory of 2 cards", "PT_DEVMEM Allocation failed", "spec.tensorParallelSize"),
    ),
    "device memory, says done": (
        {"says": {"measure": ["PT_DEVMEM OOM: No enough memory for defragment."]}},
        "OutOfDeviceMemory",
        EXIT_ACT,
        ("defragment",),
    ),
    "no card": ({"device": "g1"}, "CalibrationFailed", AGAIN, ("no card of Gaudi 2 or 3, but 'g1'",)),
    "another volume is full": (
        {
            "exits": {"prepare": 1},
            "says": {"prepare": ["OSError: [Errno 28] No space left on device: '/tmp/x'"]},
        },
        "CalibrationFailed",
        EXIT_ACT,
        ("it is not the cache", "/tmp/x", "ephemeral-storage"),
    ),
    "a long row": (
        {"exits": {"measure": 1}, "says": {"measure": [TRACE + LONG_ROW]}},
        "DatasetInvalid",
        EXIT_ACT,
        ("maximum context length is 2048 tokens", "at most about 2,000 tokens", "jsonl, json or csv"),
    ),
    "a long row, says done": (
        {"says": {"measure": [TRACE + LONG_PROMPT]}, "samples": [0, 0]},
        "DatasetInvalid",
        EXIT_ACT,
        ("(length 2500)", "at most about 2,000 tokens"),
    ),
    "a long row, and no traceback": (
        {"says": {"measure": [f"ERROR {LONG_ROW}"]}, "samples": [64, 96]},
        "DatasetInvalid",
        EXIT_ACT,
        ("2048 tokens",),
    ),
    "fewer samples": (
        {"samples": [64, 96]},
        "SamplesMissing",
        EXIT_ACT,
        ("64 of 96 samples", "says that it is done"),
    ),
    "no samples": ({"samples": [0, 0]}, "SamplesMissing", EXIT_ACT, ("no sample at all",)),
    "other cards": (
        {"device": "g3"},
        "GenerationMismatch",
        EXIT_ACT,
        ("generation g3, not g2", "spec.gaudi.generation"),
    ),
    "a stub": (
        {"exits": {"begin": 2}, "says": {"begin": ["calibrate_model.sh is deprecated"]}},
        "CalibrationToolMissing",
        EXIT_ACT,
        ("calibrates no more", "is deprecated", "spec.backend: Command"),
    ),
}


@pytest.mark.parametrize("case", TOOL)
def test_what_a_tool_tells(pod: Pod, case: str) -> None:
    pod.trouble, reason, code, words = TOOL[case]
    check(pod.run("--generation", "g2"), reason, code, *words)
    assert not (pod.folder / "manifest.json").exists()
    pod.trouble = {}
    assert not pod.run("--generation", "g2").done.reused


def test_other_cards_are_seen_before_they_have_worked(pod: Pod, command: Command) -> None:
    for step, run in (("prepare", pod.run), ("measure", command)):
        pod.trouble = {"device": "g3", "hangs": step}
        check(run("--generation", "g2"), "GenerationMismatch", EXIT_ACT)


FILES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "a rank is missing": ({"skips": [[1, False]]}, ("lacks inc_output_hooks_maxabs_1_2.json",)),
    "scales of a rank are missing": (
        {"skips": [[1, True]]},
        ("lacks inc_output_hooks_maxabs_MAXABS_HW_1_2.json",),
    ),
    "all scales are missing": ({"skips": [[0, True], [1, True]]}, ("lacks", "MAXABS_HW_0_2.json")),
    "no nodes": ({"no nodes": 1}, ("_1_2.json holds no nodes",)),
    "another mode": ({"mode": "Shape"}, ("has not the mode DynamicRange, but 'Shape'",)),
    "no JSON": (
        {"writes": {"g2/inc_output_hooks_maxabs_0_2.json": '{"Mode": '}},
        ("cannot be read as JSON",),
    ),
    "a list": ({"writes": {"g2/inc_output_hooks_maxabs_0_2.json": "[]"}}, ("holds no JSON object",)),
    "an empty file": (
        {"writes": {"g2/inc_output_hooks_maxabs_MAXABS_HW_1_2.npz": ""}},
        ("is empty", "full volume"),
    ),
    "a cut archive": (
        {"writes": {"g2/inc_output_hooks_maxabs_1_2.npz": "PK\x03\x04x"}},
        ("_1_2.npz is cut off",),
    ),
    "no configuration": ({"writes": {"maxabs_quant_g2.json": ""}}, ("maxabs_quant_g2.json cannot be read",)),
    "a measuring one": (
        {"writes": {"maxabs_quant_g2.json": '{"mode": "MEASURE"}'}},
        ("has not the mode QUANTIZE",),
    ),
    "files elsewhere": (
        {"dump": "/mnt/other/inc_output"},
        ("dump_stats_path '/mnt/other/inc_output'", "g2/inc_output'"),
    ),
    "a relative path": ({"dump": "g2/inc_output"}, ("dump_stats_path 'g2/inc_output'",)),
}


@pytest.mark.parametrize("case", FILES)
def test_what_files_tell(pod: Pod, case: str) -> None:
    pod.trouble, words = FILES[case]
    message = check(pod.run(), "ArtifactsIncomplete", AGAIN, *words)
    assert str(pod.folder) in message
    assert not (pod.folder / "manifest.json").exists()


def archive(way: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", way) as made:
        made.writestr("arr_0.npy", b"x" * 500 + os.urandom(500))
    return buffer.getvalue()


STORED, DEFLATED = archive(zipfile.ZIP_STORED), archive(zipfile.ZIP_DEFLATED)
ARCHIVES = {
    "whole but for its middle": STORED[:200] + bytes(100) + STORED[300:],
    "squeezed": DEFLATED[:80] + bytes(100) + DEFLATED[180:],
    "nothing but its end": STORED[STORED.index(b"PK\x01\x02") :],
    "without its beginning": STORED[100:],
    "no member": b"PK\x05\x06" + bytes(18),
}


@pytest.mark.parametrize("case", ARCHIVES)
def test_an_archive_that_only_ends_well(pod: Pod, case: str) -> None:
    pod.run().done  # noqa: B018
    path = pod.folder / "g2/inc_output_hooks_maxabs_1_2.npz"
    for content in (STORED, DEFLATED):
        path.write_bytes(content)
        artifacts.check(str(pod.folder), "g2", 2, needs_scales=True)
    path.write_bytes(ARCHIVES[case])
    with pytest.raises(Failure, match=r"_1_2\.npz is cut off") as caught:
        artifacts.check(str(pod.folder), "g2", 2, needs_scales=True)
    assert caught.value.reason == "ArtifactsIncomplete"


def test_a_tool_that_writes_nothing_after_a_traceback(pod: Pod) -> None:
    """As the scripts do: the step after it begins all the same, and ends with 0."""
    said = f"2/4 Measuring scales\n{TRACE}TypeError: no argument\nStep 2/4 done\n3/4 Postprocessing scales"
    text = f"cat <<'.'\n{said}\nLast batch finished: 9/9 samples done\n.\n"
    (pod.place / "image/calibration/calibrate_model.sh").write_text(text)
    words = ("is not, in the step measure (TypeError: no argument)",)
    check(pod.run(), "CalibrationFailed", AGAIN, *words)


def test_a_tool_that_writes_nothing(pod: Pod) -> None:
    (pod.place / "image/calibration/calibrate_model.sh").write_text(
        "echo 'Last batch finished: 9/9 samples done'\n"
    )
    check(pod.run(), "ArtifactsIncomplete", AGAIN, str(pod.folder), "maxabs_quant_g2.json")


COMMAND: dict[str, tuple[dict[str, Any], str, int, tuple[str, ...]]] = {
    "does not know an argument": (
        {"exits": {"begin": 2}},
        "CalibrationFailed",
        EXIT_ACT,
        ("vllm-gaudi-calibrate",),
    ),
    "a phase fails": ({"exits": {"quantize": 1}}, "CalibrationFailed", AGAIN, ("in the step quantize",)),
    "fewer samples": ({"samples": [50]}, "SamplesMissing", EXIT_ACT, ("50 of 96 of Running generate_until",)),
    "no scales": ({"skips": [[0, True], [1, True]]}, "ArtifactsIncomplete", AGAIN, ("MAXABS_HW_0_2.json",)),
    "a long row": (
        {"exits": {"measure": 1}, "says": {"measure": [TRACE + LONG_ROW]}},
        "DatasetInvalid",
        EXIT_ACT,
        ("than vllm-gaudi-calibrate measures with", "2048 tokens", "spec.tasks"),
    ),
    "fewer samples after a traceback": (
        {"samples": [50], "says": {"measure": [TRACEBACK]}},
        "CalibrationFailed",
        AGAIN,
        ("in the step measure (RuntimeError: engine died)",),
    ),
    "other cards": ({"device": "g3"}, "GenerationMismatch", EXIT_ACT, ("g3",)),
}


@pytest.mark.parametrize("case", COMMAND)
def test_what_the_command_tells(pod: Pod, command: Command, case: str) -> None:
    pod.trouble, reason, code, words = COMMAND[case]
    check(command("--generation", "g2"), reason, code, *words)


def test_a_command_that_counts_nothing_has_no_traceback_to_go_on_after(pod: Pod, command: Command) -> None:
    tool = pod.place / "image/tools/stub.py"
    tool.write_text(tool.read_text().replace("Running generate_until requests", ""))
    assert command().done.samples == 0
    pod.trouble = {"says": {"measure": [TRACEBACK]}}
    check(command(sample_limit="32"), "CalibrationFailed", AGAIN, "engine died")


def test_an_image_without_scripts(pod: Pod) -> None:
    shutil.rmtree(pod.place / "image/calibration")
    folder = str(pod.place / "image/calibration")
    message = check(pod.run(), "CalibrationToolMissing", EXIT_ACT, f"no calibrate_model.sh in {folder}")
    assert "It holds" not in message
    install_command(pod.place / "image/tools", pod.place / "bin")
    check(pod.run(), "CalibrationToolMissing", EXIT_ACT, folder, "It holds vllm-gaudi-calibrate")
    assert not pod.calls()


def test_an_image_that_unifies_nothing(pod: Pod) -> None:
    (pod.place / "image/calibration/step-5-unify_measurements.py").unlink()
    words = ("no step-5-unify_measurements.py in", "spec.unifyTo")
    check(pod.run("--unify-to", "1"), "CalibrationToolMissing", EXIT_ACT, *words)
    assert not pod.calls()
    assert pod.run().done.world_size == 2


def test_an_image_without_the_command(pod: Pod, command: Command) -> None:
    shutil.rmtree(pod.place / "bin")
    check(command(), "CalibrationToolMissing", EXIT_ACT, "no vllm-gaudi-calibrate", "spec.backend: Script")
    shutil.rmtree(pod.place / "image/calibration")
    assert "Script" not in check(command(), "CalibrationToolMissing", EXIT_ACT, "Take an image")


@pytest.mark.parametrize("how", ["changed", "gone"])
def test_a_dataset_that_is_not_what_was_staged_is_not_loaded(pod: Pod, how: str) -> None:
    dataset = pod.place / "data/datasets/staged.pkl"
    dataset.write_bytes(b"other") if how == "changed" else dataset.unlink()
    check(pod.run(), "DatasetInvalid", EXIT_ACT, str(dataset), "the FP8Quantization")
    assert not pod.calls()
    assert not (pod.place / "work/dataset.pkl").exists() or how == "gone"


UNIFY: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "writes nothing": (
        {"unifies nothing": True},
        ("ended well, but", "lacks inc_output_hooks_maxabs_0_1.json"),
    ),
    "fails": (
        {"exits": {"unify": 1}, "says": {"unify": [TRACE + "AssertionError: x"]}},
        ("AssertionError: x",),
    ),
    "says done over a traceback": (
        {"says": {"unify": [TRACEBACK]}, "unifies nothing": True},
        ("went on after 'RuntimeError: engine died', but", "lacks inc_output_hooks_maxabs_0_1.json"),
    ),
}


@pytest.mark.parametrize("case", UNIFY)
def test_unifying(pod: Pod, case: str) -> None:
    pod.trouble, words = UNIFY[case]
    check(pod.run("--unify-to", "1"), "UnifyFailed", EXIT_ACT, *words)
    assert not (pod.folder / "manifest.json").exists()
    pod.trouble = {}
    assert pod.run("--unify-to", "1").done.world_size == 1


@pytest.mark.parametrize(("cards", "less"), [("8", "3"), ("4", "8"), ("2", "2"), ("4", "0")])
def test_what_cannot_be_unified_is_not_measured(pod: Pod, cards: str, less: str) -> None:
    run = pod.run("--unify-to", less, tensor_parallel_size=cards)
    check(run, "UnifyFailed", EXIT_ACT, "spec.unifyTo", f"for {less} cards")
    assert not pod.calls()


HOSTILE = [
    "a b",
    "a'b",
    'a"b',
    "$(touch here)",
    "`touch here`",
    "a;touch here",
    "ä",
    "*",
    "-rf",
    "a\nb",
    "a\\b",
    "..",
    "",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_that_the_scripts_would_break_are_refused(pod: Pod, name: str) -> None:
    check(pod.run(name=f"org/{name}" if name else "/"), "CalibrationFailed", EXIT_ACT, repr(name))
    assert not pod.calls()
    check(pod.run(output=f"{pod.output}/{name or ' '}"), "CalibrationFailed", EXIT_ACT, "for the result")
    assert not pod.calls()


@pytest.mark.parametrize("name", [name for name in HOSTILE if name not in ("..", "")])
def test_no_name_reaches_a_shell(pod: Pod, command: Command, name: str) -> None:
    done = command("--task", name.replace("-", "_"), name=f"org/{name}").done
    assert done.output == str(pod.output / name.lower())
    (call,) = pod.calls()
    assert call["argv"][2] == f"{pod.place}/work/models/{name}"
    assert call["argv"][-1] == name.replace("-", "_")
    assert not list(pod.place.rglob("here"))


@pytest.mark.parametrize("name", ["..", "."])
def test_a_name_is_no_way_out(pod: Pod, command: Command, name: str) -> None:
    check(command(name=f"org/{name}"), "CalibrationFailed", EXIT_ACT, repr(name))
    assert not pod.calls()


def test_what_nobody_foresaw(pod: Pod) -> None:
    (pod.place / "work/models").write_text("")
    run = pod.run()
    assert (run.failure.reason, run.code) == ("CalibrationFailed", AGAIN)
    assert run.failure.message.startswith("FileExistsError: ")
    assert "Traceback" in run.err


def test_a_model_that_is_gone(pod: Pod) -> None:
    (pod.place / "data/snapshots/0123abc/config.json").unlink()
    check(pod.run(), "CacheNotReadable", EXIT_ACT, "0123abc", "no config.json")


@pytest.mark.parametrize("what", ["data/inc", "data/datasets/staged.pkl", "data/snapshots/0123abc"])
def test_what_belongs_to_somebody_else(pod: Pod, what: str) -> None:
    path = pod.place / what
    path.mkdir(exist_ok=True) if not path.exists() else None
    os.chown(path, 0, 0)
    path.chmod(0o700)
    check(pod.run(), "CacheNotReadable", EXIT_ACT, f"may not use {path}", "uid 0", "mode 0700", "chown -R")
    assert not pod.calls()


def test_the_operator_knows_every_reason() -> None:
    assert reasons(PODSCRIPTS / "calibrate.py", PODSCRIPTS / "verify.py") == set(FAILURES)
