"""checkov and kube-score find nothing that skips.yaml does not explain."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.harness.binaries import REPOSITORY, find_binary
from tests.harness.helm import KUBERNETES, template

HERE = Path(__file__).parent
GOLDEN = REPOSITORY / "tests" / "golden"
CHECKOV = REPOSITORY / ".tools" / "checkov" / "bin" / "checkov"
SKIPS: dict[str, dict[str, str]] = yaml.safe_load((HERE / "skips.yaml").read_text())
SECONDS = 300


def checkov(folder: Path) -> dict[str, set[str]]:
    """The files of a folder in which each check fails."""
    options = ["--framework", "kubernetes", "--quiet", "--compact", "--skip-download", "--output", "json"]
    done = subprocess.run(
        [str(CHECKOV), "--directory", str(folder), *options],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=os.environ | {"LOG_LEVEL": "ERROR"},
    )
    report = json.loads(done.stdout)
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 50, "it has looked at something"
    found: dict[str, set[str]] = {}
    for each in report["results"]["failed_checks"]:
        found.setdefault(each["check_id"], set()).add(f"{Path(each['file_path']).name} {each['resource']}")
    return found


def kube_score(folder: Path) -> dict[str, set[str]]:
    """The files of a folder in which each check fails, or warns."""
    files = sorted(str(file) for file in folder.iterdir())
    options = ["--kubernetes-version", f"v{KUBERNETES.rsplit('.', 1)[0]}", "--output-format", "json"]
    done = subprocess.run(
        [find_binary("kube-score"), "score", *options, *files],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    objects = json.loads(done.stdout)
    assert objects, done.stderr
    found: dict[str, set[str]] = {}
    for each in objects:
        for check in each["checks"]:
            # 10 is perfect, 7 nearly so, 5 a warning, 1 critical (kube-score's scorecard/scorecard.go).
            if not check["skipped"] and check["grade"] < 7:
                found.setdefault(check["check"]["id"], set()).add(each["object_name"])
    return found


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder with the files of each part of skips.yaml."""
    folders = {name: tmp_path_factory.mktemp("rendered") for name in SKIPS}
    install = (REPOSITORY / "manifests" / "install.yaml").read_text()
    (folders["install.yaml"] / "install.yaml").write_text(install)
    everything = template({}, "--values", str(HERE / "everything.yaml"))
    assert everything.returncode == 0, everything.stderr
    (folders["everything.yaml"] / "everything.yaml").write_text(everything.stdout)
    for file in GOLDEN.glob("*/children.yaml"):
        (folders["servers"] / f"{file.parent.name}.yaml").write_text(file.read_text())
    return folders


@pytest.mark.parametrize("part", SKIPS)
def test_findings_are_those_that_are_explained(part: str, rendered: dict[str, Path]) -> None:
    found = checkov(rendered[part]) | kube_score(rendered[part])
    unexplained = {check: sorted(where)[:5] for check, where in found.items() if check not in SKIPS[part]}
    assert unexplained == {}
    assert set(SKIPS[part]) - set(found) == set(), "nothing finds this any more: take its line out"


@pytest.mark.parametrize("part", SKIPS)
def test_every_skip_has_a_reason(part: str) -> None:
    for reason in SKIPS[part].values():
        assert reason.endswith(".")
        assert len(reason) > 8
