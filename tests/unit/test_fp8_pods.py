"""What FP8 makes of a pod: flags, variables, mounts, the look at the files before the start."""

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.things import ARTIFACTS, DEFAULT, kinds, observed, quantization, record_of, server
from vllm_operator.api.calibration import CalibrationFailure, read_report
from vllm_operator.api.observed import Artifacts
from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.desired import fp8, profile, records
from vllm_operator.desired.defaults import Defaults, Image
from vllm_operator.desired.engine import literal
from vllm_operator.desired.server import desired

BASE = {"device": "gaudi"}
REF = BASE | {"fp8": {"quantizationRef": {"name": "q"}}}
DYNAMIC = BASE | {"fp8": {"mode": "Dynamic"}}


def template(
    spec: dict[str, Any], artifacts: Artifacts | None = ARTIFACTS, defaults: Defaults = DEFAULT
) -> Any:
    seen = observed(server(spec), quantization=quantization(result=artifacts))
    return kinds(desired(seen, defaults).manifests)["Deployment"]["spec"]["template"]


def variables(of: Any) -> dict[str, str]:
    found = [(each["name"], each["value"]) for each in of["spec"]["containers"][0]["env"]]
    assert len(dict(found)) == len(found), "the API server refuses a name that comes twice"
    return dict(found)


def flag(of: Any, name: str) -> str | None:
    words = of["spec"]["containers"][0]["args"]
    return words[words.index(name) + 1] if name in words else None


def mounts(of: Any) -> dict[str, Any]:
    found = [(each["mountPath"], each) for each in of["spec"]["containers"][0]["volumeMounts"]]
    assert len(dict(found)) == len(found), "the API server refuses a path that comes twice"
    return dict(found)


def test_a_calibrated_server() -> None:
    made = template(REF)
    assert (flag(made, "--quantization"), flag(made, "--kv-cache-dtype")) == ("inc", "fp8_inc")
    assert variables(made)["QUANT_CONFIG"] == "/data/inc/f00d/model/maxabs_quant_g2.json"
    assert mounts(made)["/data/inc/f00d/model"] == {
        "name": "cache",
        "mountPath": "/data/inc/f00d/model",
        "subPath": "inc/f00d/model",
        "readOnly": True,
    }
    assert "readOnly" not in mounts(made)["/data"]


def test_its_files_are_looked_at_first() -> None:
    spec = REF | {
        "imagePullPolicy": "Always",
        "resources": {"limits": {"cpu": 4}},
        "gaudi": {"sysNice": True},
    }
    made = template(spec)["spec"]
    (verify,) = made["initContainers"]
    vllm = made["containers"][0]
    assert (verify["name"], verify["image"], verify["imagePullPolicy"]) == ("verify", vllm["image"], "Always")
    assert verify["command"][:2] == ["python3", "-c"]
    assert verify["args"] == [
        *("--folder", "/data/inc/f00d/model"),
        *("--manifest", "/data/inc/f00d/model/manifest.json"),
        *("--sha256", "feed"),
    ]
    assert verify["volumeMounts"] == [{"name": "cache", "mountPath": "/data", "readOnly": True}]
    # No cards, and no more power than the pod has: nothing is added for it.
    assert verify["resources"]["limits"] == verify["resources"]["requests"] == fp8.VERIFY_RESOURCES
    assert verify["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "env" not in verify


def expanded(word: str) -> str:
    """What the kubelet makes of a word (k8s.io/kubernetes v1.36.3, third_party/forked/golang/expansion)."""
    return re.sub(r"\$(\$|\([^)]*\))", lambda m: "$" if m[1] == "$" else f"?{m[1]}", word)


def test_the_program_comes_out_as_it_is() -> None:
    (verify,) = template(REF)["spec"]["initContainers"]
    assert expanded(verify["command"][2]) == records.verifier().read_text()


def test_a_program_of_any_text_comes_out_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "verify.py"
    program.write_text("print('$(HOME) $$ {{ 7 }}')\n# \u2028\n")
    before = records._package.__wrapped__()
    monkeypatch.setattr(records, "verifier", lambda: program)
    monkeypatch.setattr(fp8, "_program", fp8._program.__wrapped__)
    (verify,) = template(REF)["spec"]["initContainers"]
    assert expanded(verify["command"][2]) == program.read_text()
    # It stands in the template: another one is something to take (status.refreshAvailable).
    assert records._package.__wrapped__() != before


@given(st.text(alphabet="$()aA\n'\"\\", max_size=20))
def test_the_kubelet_expands_nothing(text: str) -> None:
    assert expanded(literal(text)) == text


def look(folder: Path, sha256: str) -> tuple[int, str]:
    """Exit code and report of the container for a calibration in a folder, as the kubelet would run it."""
    found = ARTIFACTS._replace(output=str(folder), manifest=str(folder / "manifest.json"), sha256=sha256)
    (verify,) = template(REF, found)["spec"]["initContainers"]
    _, *command = [expanded(word) for word in (*verify["command"], *verify["args"])]
    report = folder.parent / "report"
    # In a folder where nothing of ours is: there are no files of the operator's in the pod.
    done = subprocess.run(
        [sys.executable, "-I", *command, "--report", str(report)],
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, report.read_text() if report.exists() else ""


def test_the_container_lets_only_the_files_pass_that_the_record_names(tmp_path: Path) -> None:
    folder = tmp_path / "$(HOME) it's"
    folder.mkdir()
    (folder / "a.npz").write_bytes(b"scales")
    listed = {"size": 6, "sha256": hashlib.sha256(b"scales").hexdigest()}
    manifest = json.dumps({"files": {"a.npz": listed}}).encode()
    (folder / "manifest.json").write_bytes(manifest)
    sha256 = hashlib.sha256(manifest).hexdigest()
    assert look(folder, sha256) == (0, "")
    (folder / "a.npz").write_bytes(b"others")
    code, report = look(folder, sha256)
    said = read_report(report)
    assert code == 78
    assert isinstance(said, CalibrationFailure)
    assert said.reason == Reason.ARTIFACTS_CHANGED
    assert str(folder / "a.npz") in said.message
    assert look(folder, "0" * 64)[0] == 78


@pytest.mark.parametrize(
    ("output", "within"),
    [
        ("/data/inc/f00d/model", "inc/f00d/model"),
        ("/data/x", "x"),
        ("/data/my models/$(HOME) {{ 7 }}: 'a'", "my models/$(HOME) {{ 7 }}: 'a'"),
        ("/data//twice/", "twice"),
        ("/data/é\u2028ü", "é\u2028ü"),
    ],
)
def test_folders_come_out_as_they_are(output: str, within: str) -> None:
    found = ARTIFACTS._replace(
        output=output, quant_config=f"{output}/maxabs_quant_g2.json", manifest=f"{output}/m$(X).json"
    )
    made = template(REF, found)
    mount = mounts(made)[f"/data/{within}"]
    assert (mount["subPath"], mount["readOnly"]) == (within, True)
    assert variables(made)["QUANT_CONFIG"].replace("$$", "$") == f"{output}/maxabs_quant_g2.json"
    args = made["spec"]["initContainers"][0]["args"]
    assert [expanded(word) for word in args[1:4:2]] == [output, f"{output}/m$(X).json"]


def test_the_whole_cache_is_not_mounted_twice() -> None:
    assert mounts(template(REF, ARTIFACTS._replace(output="/data")))["/data"] == {
        "name": "cache",
        "mountPath": "/data",
    }


def test_a_server_in_bf16_has_nothing_of_it() -> None:
    for made in (template(REF, None), template(BASE)):
        assert "QUANT_CONFIG" not in variables(made)
        assert (flag(made, "--quantization"), flag(made, "--kv-cache-dtype")) == (None, None)
        assert "initContainers" not in made["spec"]
        assert "annotations" not in made["metadata"]


def test_dynamic_fp8() -> None:
    made = template(DYNAMIC | {"podAnnotations": {"a": "b"}})
    assert (flag(made, "--quantization"), flag(made, "--kv-cache-dtype")) == ("inc", None)
    found = variables(made)
    assert (found["QUANT_CONFIG"], found["RUNTIME_SCALE_PATCHING"]) == ("/etc/vllm/fp8/quant.json", "0")
    annotations = made["metadata"]["annotations"]
    assert annotations.pop("a") == "b"
    ((name, text),) = annotations.items()
    assert json.loads(text) == {
        "mode": "QUANTIZE",
        "scale_method": "act_maxabs_pcs_pow2_weight_maxabs_pts_pow2_hw",
        "scale_format": "CONST",
        "dynamic_quantization": True,
        "blocklist": {"types": ["Matmul", "B2BMatmul", "KVCache", "VLLMKVCache"]},
        "dump_stats_path": "",
    }
    (volume,) = (each for each in made["spec"]["volumes"] if "downwardAPI" in each)
    (item,) = volume["downwardAPI"]["items"]
    assert item == {"path": "quant.json", "fieldRef": {"fieldPath": f"metadata.annotations['{name}']"}}
    assert mounts(made)["/etc/vllm/fp8"] == {
        "name": volume["name"],
        "mountPath": "/etc/vllm/fp8",
        "readOnly": True,
    }
    assert "initContainers" not in made["spec"]


def test_dynamic_fp8_stands_in_the_record() -> None:
    made = kinds(desired(observed(server(DYNAMIC)), DEFAULT).manifests)
    record = made["ControllerRevision"]
    assert record["data"]["inputs"]["spec"]["fp8"] == {"mode": "Dynamic"}
    assert record["data"]["template"] == made["Deployment"]["spec"]["template"]
    assert (record_of(record).dynamic, record_of(record).quantization) == (True, None)


def refusal(spec: dict[str, Any], defaults: Defaults = DEFAULT) -> str:
    with pytest.raises(StalledError) as told:
        template(spec, None, defaults)
    assert told.value.reason == Reason.INVALID_FOR_ENGINE
    return told.value.message


def test_a_variable_of_dynamic_fp8_is_refused() -> None:
    own = {"extraEnv": [{"name": "A"}, {"name": "RUNTIME_SCALE_PATCHING", "value": "1"}]}
    assert "spec.extraEnv[1].name: RUNTIME_SCALE_PATCHING follows from spec.fp8.mode" in refusal(
        DYNAMIC | own
    )
    # A calibrated server may choose.
    assert variables(template(REF | {"extraEnv": own["extraEnv"][1:]}))["RUNTIME_SCALE_PATCHING"] == "1"


def without(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the profile know less."""
    known = profile.find("vllm-gaudi", "0.26", "gaudi")
    flags = {name: kinds_ for name, kinds_ in known.flags.items() if name != part}
    less = replace(known, flags=flags) if part.startswith("--") else replace(known, dynamic=None)
    monkeypatch.setattr("vllm_operator.desired.pod.find", lambda *_: less)


def test_an_engine_without_dynamic_fp8_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    without("dynamic", monkeypatch)
    assert refusal(DYNAMIC).startswith("spec.fp8.mode: vllm-gaudi 0.26 has no FP8 without a calibration")
    template(REF)


@pytest.mark.parametrize("missing", ["--quantization", "--kv-cache-dtype"])
def test_an_engine_without_fp8_is_refused_before_anybody_waits(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(missing, monkeypatch)
    for prefetch in (False, True):
        assert refusal(REF | {"prefetch": prefetch}).startswith(f"spec.fp8: vllm-gaudi 0.26 has no {missing}")
    template(BASE)


def test_graphs_of_one_precision_are_of_no_use_to_another() -> None:
    kept = {"warmup": {"recipeCache": {"enabled": True}}}
    other = ARTIFACTS._replace(sha256="beef")
    made = [
        template(BASE | kept),
        template(DYNAMIC | kept),
        template(REF | kept),
        template(REF | kept, other),
    ]
    assert len({variables(each)["PT_HPU_RECIPE_CACHE_CONFIG"] for each in made}) == 4
    pending = variables(template(REF | kept, None))
    assert pending["PT_HPU_RECIPE_CACHE_CONFIG"] == variables(made[0])["PT_HPU_RECIPE_CACHE_CONFIG"]


def test_another_image_of_the_same_engine_keeps_the_result() -> None:
    other = Defaults({"gaudi": Image("registry.example/gaudi:v9", "vllm-gaudi 0.26.7")})
    assert flag(template(REF, defaults=other), "--quantization") == "inc"
