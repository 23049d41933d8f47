"""Jobs of ours: their ConfigMap holds all that a program imports."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.things import server
from vllm_operator.desired.jobs import PACKAGE, program


@pytest.mark.parametrize("name", ["prefetch", "calibrate"])
def test_a_program_runs_from_its_config_map_alone(name: str, tmp_path: Path) -> None:
    folder = tmp_path / PACKAGE
    folder.mkdir()
    made = program(server(), name, "prefetch")
    for file, text in made["data"].items():
        (folder / file).write_text(text)
    command = [sys.executable, "-m", f"{PACKAGE}.{name}", "--help"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, check=False, env={"HOME": "/"}
    )
    assert done.returncode == 0, done.stderr
    assert "usage: " in done.stdout
    # A ConfigMap holds 1 MiB, and the API server keeps one for each resource.
    assert sum(map(len, made["data"].values())) < 200_000
