"""Puts the repository's own resource definitions into a cluster."""

from pathlib import Path

import yaml

from tests.harness.api import Api, ApiError, Object, condition
from tests.harness.binaries import REPOSITORY

CRDS = REPOSITORY / "crds"


def apply_crds(api: Api, folder: Path = CRDS) -> list[str]:
    """Apply every definition of a folder, wait until its objects can be stored, and return the names."""
    definitions: list[Object] = []
    for path in sorted(folder.glob("*.yaml")):
        definitions += [document for document in yaml.safe_load_all(path.read_text()) if document]
    for definition in definitions:
        api.apply(definition, force=True)
    for definition in definitions:
        _wait_served(api, definition)
    return [definition["metadata"]["name"] for definition in definitions]


def _wait_served(api: Api, definition: Object) -> None:
    name, spec = definition["metadata"]["name"], definition["spec"]

    def established(crd: Object) -> bool:
        return condition(crd, "Established").get("status") == "True"

    api.wait_object("CustomResourceDefinition", None, name, established, message=f"{name} established")
    served = [version["name"] for version in spec["versions"] if version["served"]]
    paths = [f"/apis/{spec['group']}/{version}/{spec['names']['plural']}" for version in served]
    api.wait_for(lambda: all(_answers(api, path) for path in paths), message=f"{name} served")


def _answers(api: Api, path: str) -> bool:
    """Say whether a collection can be read; for a moment after Established it answers 404 or 429."""
    try:
        api.request("GET", path, parameters={"limit": "1"})
    except ApiError as error:
        if error.code in {404, 429}:
            return False
        raise
    return True
