"""What the files for Argo CD and Flux refer to is there, and they promise what the page says."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness.binaries import REPOSITORY

FOLDER = REPOSITORY / "manifests" / "gitops"
ARGO = sorted((FOLDER / "argocd").glob("*.yaml"))
FLUX = sorted((FOLDER / "flux").glob("*.yaml"))
Object = dict[str, Any]


def documents(file: Path) -> list[Object]:
    return list(yaml.safe_load_all(file.read_text()))


def test_there_is_a_file_for_the_operator_and_one_for_servers() -> None:
    for files in (ARGO, FLUX):
        assert [file.stem for file in files] == ["operator", "servers"]


@pytest.mark.parametrize("file", ARGO, ids=lambda file: file.stem)
def test_an_application_applies_on_the_server_and_takes_nothing_along(file: Path) -> None:
    (application,) = documents(file)
    assert "finalizers" not in application["metadata"]
    assert "ignoreDifferences" not in application["spec"]
    assert "ServerSideApply=true" in application["spec"]["syncPolicy"]["syncOptions"]


@pytest.mark.parametrize("file", FLUX, ids=lambda file: file.stem)
def test_what_flux_applies_has_its_source_beside_it(file: Path) -> None:
    source, using = documents(file)
    spec = using["spec"]
    reference = (spec["chart"]["spec"] if using["kind"] == "HelmRelease" else spec)["sourceRef"]
    assert reference == {"kind": source["kind"], "name": source["metadata"]["name"]}
    assert using["metadata"]["namespace"] == source["metadata"]["namespace"]


def test_both_install_the_same_chart_in_the_same_place() -> None:
    (application,) = documents(FOLDER / "argocd" / "operator.yaml")
    _, release = documents(FOLDER / "flux" / "operator.yaml")
    argo, flux = application["spec"], release["spec"]
    assert argo["source"]["path"] == flux["chart"]["spec"]["chart"] == "charts/vllm-operator"
    assert argo["source"]["helm"]["releaseName"] == flux["releaseName"]
    assert argo["destination"]["namespace"] == flux["targetNamespace"]
