"""What `import-env` makes of the guide's own files is taken by a real API server."""

from pathlib import Path

import pytest
import yaml

from tests.harness.api import Api

GUIDE = Path(__file__).parents[1] / "data" / "guide"


@pytest.mark.parametrize("case", sorted(file.stem for file in GUIDE.glob("*.yaml")))
def test_the_api_server_takes_it(api: Api, namespace: str, case: str) -> None:
    bodies = list(yaml.safe_load_all((GUIDE / f"{case}.yaml").read_text()))
    assert bodies
    for body in bodies:
        body["metadata"]["namespace"] = namespace
        taken = api.create(body, dry_run=True)
        # Defaults are added, and nothing is pruned.
        assert body["spec"].keys() <= taken["spec"].keys()
