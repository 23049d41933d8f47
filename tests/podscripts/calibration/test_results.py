"""From a model and a dataset to files that a server can use, and a list of them."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.podscripts.calibration.conftest import DATASET, LOWER, NAME, Ended, Pod
from tests.podscripts.calibration.stub import TRACE
from tests.podscripts.test_adopted import states
from vllm_operator.api.calibration import Calibrated, CalibrationStep
from vllm_operator.podscripts import manifest

Command = Callable[..., Ended]


def listed(done: Calibrated) -> dict[str, Any]:
    """The manifest, which lists what is there, and nothing else."""
    text = Path(done.manifest).read_bytes()
    assert hashlib.sha256(text).hexdigest() == done.sha256
    content: dict[str, Any] = json.loads(text)
    for name, said in content["files"].items():
        found = (Path(done.output) / name).read_bytes()
        assert said == {"size": len(found), "sha256": hashlib.sha256(found).hexdigest()}
    assert (len(content["files"]), sum(said["size"] for said in content["files"].values())) == (
        done.files,
        done.bytes,
    )
    return content


def stems(world: int) -> set[str]:
    kinds = [(kind, rank) for kind in ("", "MAXABS_HW_") for rank in range(world)]
    files = {f"g2/inc_output_hooks_maxabs_{kind}{rank}_{world}" for kind, rank in kinds}
    return {f"{stem}{ending}" for stem in files for ending in (".json", ".npz")}


def test_the_scripts_calibrate(pod: Pod) -> None:
    run = pod.run()
    done = run.done
    assert (done.output, done.quant_config) == (str(pod.folder), f"{pod.folder}/maxabs_quant_g2.json")
    assert (done.generation, done.world_size, done.samples, done.reused) == ("g2", 2, 96, False)
    content = listed(done)
    modules = {f"g2/inc_output_hooks_maxabs_{rank}_2_mod_list.json" for rank in (0, 1)}
    both = {"maxabs_quant_g2.json", "maxabs_measure_g2.json"}
    assert set(content["files"]) == stems(2) | modules | both
    assert content["arguments"]["dataset_sha256"] == hashlib.sha256(DATASET).hexdigest()
    assert (content["generation"], content["worldSize"], content["samples"]) == ("g2", 2, 96)
    assert [path.name for path in pod.output.iterdir()] == [LOWER]
    assert len(run.report_text.encode()) < 4096


def test_what_python_ignores_at_its_end_is_no_failure(pod: Pod) -> None:
    ignored = f"Exception ignored in: <function Socket.__del__>\n{TRACE}ImportError: shutting down"
    pod.trouble = {"says": {"measure": [ignored]}}
    run = pod.run()
    assert (run.done.samples, run.err) == (96, "")
    pod.trouble = {"says": {"measure": [ignored, TRACE + "ValueError: x"]}, "samples": [0, 0]}
    assert "(ValueError: x)" in pod.run(sample_limit="32").failure.message


ERROR = "(EngineCore pid=7) ERROR 11-25 10:00:00 [x.py:9] "
GONE_ON = {
    "logging": f"--- Logging error ---\n{TRACE}ValueError: x\nCall stack:\n  File y\nMessage: 'z'",
    "thread": f"Exception in thread Thread-1 (f):\n{TRACE}ValueError: x",
    "resource tracker": f"{TRACE}ValueError: x",
    "plugin": "\n".join(
        ERROR + text for text in ("Failed to load plugin y", TRACE.split("\n")[0], "ValueError: x")
    ),
}


@pytest.mark.parametrize("step", ["prepare", "measure", "end", "unify"])
@pytest.mark.parametrize("case", GONE_ON)
def test_what_is_whole_is_not_thrown_away_for_a_traceback(pod: Pod, case: str, step: str) -> None:
    pod.trouble = {"says": {step: [GONE_ON[case]]}}
    run = pod.run("--unify-to", "1")
    assert (run.done.samples, run.done.world_size) == (96, 1)
    where = {"end": "quantize"}.get(step, step)
    assert (
        f"note: In the step {where} there was a traceback (ValueError: x), and the tool went on." in run.err
    )


def test_words_of_a_long_row_alone_are_no_failure(pod: Pod) -> None:
    said = "Prompts that are longer than the maximum model length are cut"
    pod.trouble = {"says": {"measure": [said]}}
    assert pod.run().done.samples == 96


def test_the_command_is_not_thrown_away_either(pod: Pod, command: Command) -> None:
    pod.trouble = {"says": {"measure": [GONE_ON["logging"]]}}
    run = command()
    assert run.done.samples == 192
    assert "(ValueError: x), and the tool went on" in run.err


def test_how_the_scripts_are_called(pod: Pod) -> None:
    pod.environment |= {"HF_TOKEN": "hf_secret", "QUANT_CONFIG": "/data/other.json", "HF_HOME": "/data"}
    pod.run("--expert-parallel", batch_size="8").done  # noqa: B018
    (call,) = pod.calls()
    work = pod.place / "work"
    model, dataset = f"{work}/models/{NAME}", f"{work}/dataset.pkl"
    assert call["argv"] == [
        *("script", "-m", model, "-d", dataset, "-o", str(pod.output), "-b", "8", "-t", "2", "-l", "96", "-u")
    ]
    assert call["cwd"] == f"{work}/vllm-gaudi/calibration"
    assert call["model"] == str(pod.place / "data/snapshots/0123abc")
    assert call["dataset"] == hashlib.sha256(DATASET).hexdigest()
    environment = call["environment"]
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "PYTHONUNBUFFERED"):
        assert environment[name] == "1"
    assert environment["HF_HOME"] == "/data"
    assert environment["PT_HPU_ENABLE_LAZY_COLLECTIVES"] == "true"
    assert not {"HF_TOKEN", "QUANT_CONFIG"} & set(environment)


def test_one_card_needs_no_collectives(pod: Pod) -> None:
    done = pod.run(tensor_parallel_size="1", sample_limit=None).done
    assert (done.world_size, done.samples) == (1, 1000)
    (call,) = pod.calls()
    assert "-l" not in call["argv"]
    assert "PT_HPU_ENABLE_LAZY_COLLECTIVES" not in call["environment"]


def test_progress_is_told_in_lines_that_a_program_reads(pod: Pod) -> None:
    pod.trouble = {"says": {"batch 64": ["\rbar", "x" * 5000]}}
    run = pod.run()
    steps = list(dict.fromkeys(step.step for step in run.steps))
    assert steps == ["prepare", "measure", "postprocess", "quantize", "verify", "done"]
    assert run.steps[0] == CalibrationStep("prepare")
    assert run.err == ""


def test_eta_and_samples_are_told_while_it_measures(pod: Pod) -> None:
    pod.trouble = {"hangs": "batch 64"}
    process = pod.start()
    pod.until(process, "batch 64")
    seen = pod.read_until(process, b"calibrate: measure 64/96")
    assert seen.endswith(b"calibrate: measure 64/96 ETA 1\n")


def test_our_lines_begin_at_the_beginning_of_a_line(pod: Pod) -> None:
    pod.trouble = {"hangs": "postprocess", "mutters": {"postprocess": "4/4 Quantize scales\n12345%|##"}}
    process = pod.start()
    seen = pod.read_until(process, b"calibrate: quantize")
    assert b"\n12345%|##\ncalibrate: " in seen


def test_what_is_buried_is_said_again(pod: Pod) -> None:
    pod.trouble = {"hangs": "quantize", "pauses": "quantize", "says": {"quantize": ["x" * 5000]}}
    process = pod.start()
    pod.read_until(process, b"calibrate: quantize", b"xxxx", b"calibrate: quantize")
    # And only then: the tool says nothing more.
    pod.until(process, "quantize")
    process.terminate()
    assert process.stdout
    assert b"calibrate: quantize" not in process.stdout.read()


def test_the_tools_output_is_passed_on_as_it_is(pod: Pod) -> None:
    said = ["\rbar 1\rbar 2", "é\x1b[1m", "last words"]
    pod.trouble = {"says": {"end": said}}
    run = pod.run()
    for words in said:
        assert words.encode() + b"\n" in run.out
    ours = [line for line in run.out.split(b"\n") if line.startswith(b"calibrate: ")]
    assert len(ours) == len(run.steps)  # none of them begins within a line of the tool


def test_the_command_calibrates(pod: Pod, command: Command) -> None:
    pod.environment["HF_TOKEN"] = "hf_secret"
    run = command("--task", "gsm8k", "--task", "pile_10k", batch_size="8")
    done = run.done
    assert (done.generation, done.world_size, done.samples) == ("g2", 2, 192)
    assert "g2/calibration_manifest.json" in listed(done)["files"]
    (call,) = pod.calls()
    model = f"{pod.place}/work/models/{NAME}"
    assert call["argv"] == [
        *(
            "command",
            "run",
            model,
            "-o",
            str(pod.output),
            "--trust-remote-code",
            "--tp",
            "2",
            "--batch-size",
            "8",
        ),
        *("--limit", "96", "--tasks", "gsm8k", "pile_10k"),
    ]
    assert "HF_TOKEN" not in call["environment"]
    steps = list(dict.fromkeys(step.step for step in run.steps))
    assert steps == ["prepare", "measure", "quantize", "verify", "done"]


def test_the_command_unifies_by_itself(pod: Pod, command: Command) -> None:
    done = command("--unify-to", "1", "--expert-parallel").done
    assert done.world_size == 1
    assert stems(1) < set(listed(done)["files"])
    assert pod.calls()[0]["argv"][-3:] == ["--unify-to-tp", "1", "--expert-parallel"]


@pytest.mark.parametrize("parallel", [False, True])
def test_measurements_are_unified_into_a_folder_of_their_own(pod: Pod, parallel: bool) -> None:
    more = ["--expert-parallel"] if parallel else []
    run = pod.run("--unify-to", "2", *more, tensor_parallel_size="4")
    assert run.done.world_size == 2
    assert stems(2) <= set(listed(run.done)["files"])
    assert not list((pod.folder / "g2").glob("*_4*"))
    assert len(list((pod.folder / "measured-g2").glob("*_4.npz"))) == 8
    dump = json.loads((pod.folder / "maxabs_quant_g2.json").read_text())["dump_stats_path"]
    assert dump == f"{pod.folder}/g2/inc_output"
    measured, unified = pod.calls()
    assert "-r" not in measured["argv"]
    folder = str(pod.folder)
    words = ["unify", "-r", "2", "-m", f"{folder}/g2", "-o", f"{folder}/unified-g2"]
    assert unified["argv"] == [*words, *(["--use_expert_paral"] if parallel else [])]
    assert [step.step for step in run.steps][-3:] == ["unify", "verify", "done"]


def test_a_result_that_is_there_is_not_made_again(pod: Pod) -> None:
    first = pod.run().done
    before = states(pod.output)
    pod.place.joinpath("data/datasets/staged.pkl").unlink()  # not even looked at
    run = pod.run()
    assert run.done == Calibrated(**{**{key: getattr(first, key) for key in first.__slots__}, "reused": True})
    assert len(pod.calls()) == 1
    assert states(pod.output) == before
    assert run.steps[-1].step == "done"


def test_a_result_that_is_there_needs_nothing_to_be_written(
    pod: Pod, volume: Callable[[int], Path], read_only: Callable[[Path], None]
) -> None:
    path = volume(4)
    pod.output = path / "inc/f1"
    first = pod.run().done
    read_only(path)
    assert pod.run().done.sha256 == first.sha256


@pytest.mark.parametrize(
    "what", ["changed", "gone", "cut", "another recipe", "no manifest", "another's manifest"]
)
def test_a_result_that_is_not_whole_is_set_aside(pod: Pod, what: str) -> None:
    pod.run().done  # noqa: B018
    file = pod.folder / "g2/inc_output_hooks_maxabs_0_2.npz"
    manifest = pod.folder / "manifest.json"
    if what == "changed":
        file.write_bytes(file.read_bytes().replace(b"xx", b"xy"))
    elif what == "gone":
        file.unlink()
    elif what == "cut":
        file.write_bytes(file.read_bytes()[:-1])
    elif what == "no manifest":
        manifest.unlink()
    elif what == "another's manifest":
        manifest.write_text("[]")
    before = {name: state[1:] for name, state in states(pod.folder).items() if name != "."}
    limit = "32" if what == "another recipe" else "96"
    run = pod.run(sample_limit=limit)
    assert (run.done.reused, run.done.samples) == (False, int(limit))
    assert len(pod.calls()) == 2
    (aside,) = (path for path in pod.output.iterdir() if path.name != LOWER)
    assert {name: state[1:] for name, state in states(aside).items() if name != "."} == before
    assert str(aside) in run.err


def test_what_several_tries_have_left_is_all_kept(pod: Pod) -> None:
    pod.trouble = {"exits": {"postprocess": 1}}
    for _ in range(3):
        assert pod.run().failure.reason == "CalibrationFailed"
    pod.trouble = {}
    assert not pod.run().done.reused
    left = [path for path in pod.output.iterdir() if path.name != LOWER]
    assert len(left) == 3
    assert all((path / "g2/inc_output_hooks_maxabs_0_2.json").exists() for path in left)


def test_versions_of_the_image_are_listed_as_far_as_it_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tmp_path / "vllm_gaudi-0.26.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm-gaudi\nVersion: 0.26.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert manifest.versions()["vllm_gaudi"] == "0.26.0"
    assert "neural_compressor_pt" not in manifest.versions()
