"""What a calibration Job tells, as the operator reads it."""

import json

import pytest

from vllm_operator.api.calibration import (
    FAILURES,
    Calibrated,
    CalibrationFailure,
    CalibrationStep,
    read_report,
    read_step,
)

OUTPUT = "/data/inc/0f3e/llama-3.1-8b"
DONE = {
    "output": OUTPUT,
    "quantConfig": f"{OUTPUT}/maxabs_quant_g2.json",
    "generation": "g2",
    "worldSize": 8,
    "samples": 512,
    "files": 34,
    "bytes": 123_456,
    "sha256": "0" * 64,
    "manifest": f"{OUTPUT}/manifest.json",
    "reused": False,
}


def test_a_success() -> None:
    read = read_report(json.dumps(DONE))
    config, manifest = f"{OUTPUT}/maxabs_quant_g2.json", f"{OUTPUT}/manifest.json"
    assert read == Calibrated(OUTPUT, config, "g2", 8, 512, 34, 123_456, "0" * 64, manifest, False)


@pytest.mark.parametrize("word", FAILURES)
def test_failures(word: str) -> None:
    text = json.dumps({"reason": word, "message": "Do this."})
    assert read_report(text) == CalibrationFailure(FAILURES[word], "Do this.")


@pytest.mark.parametrize(
    "text",
    [
        *("", "Killed", "[]", "null", "3", "{}", '{"reason": "CalibrationFailed"}'),
        '{"reason": "GatedModel", "message": "x"}',
        json.dumps(DONE)[:-20],
        json.dumps(DONE | {"generation": "g1"}),
        json.dumps(DONE | {"generation": ["g2"]}),
        json.dumps(DONE | {"worldSize": None}),
        *(json.dumps({name: value for name, value in DONE.items() if name != left}) for left in DONE),
    ],
)
def test_what_is_no_report(text: str) -> None:
    assert read_report(text) is None


@pytest.mark.parametrize(
    ("line", "step"),
    [
        ("calibrate: prepare", CalibrationStep("prepare")),
        ("calibrate: measure 32/512 ETA 7\n", CalibrationStep("measure", 32, 512, 7)),
        ("calibrate: measure 512/512 ETA 0", CalibrationStep("measure", 512, 512, 0)),
        ("calibrate: measure 32/512", CalibrationStep("measure", 32, 512)),
        *((f"calibrate: {word}", CalibrationStep(word)) for word in ("quantize", "unify", "verify", "done")),
        ("calibrate: dance", None),
        ("calibrate: measure 1/", None),
        ("calibrate: measure 1/2 ETA", None),
        ("calibrate: measure 1/2 ETA 9999999999", None),
        ("prefetch: resolve", None),
        ("note: calibrate: verify", None),
        ("Batch finished: 32/512 samples done; ETA: 7 min", None),
        ("", None),
    ],
)
def test_steps(line: str, step: CalibrationStep | None) -> None:
    assert read_step(line) == step
