"""What the Dockerfile makes is complete, runs without a shell or a place to write, and is listed in parts."""

import json
import re
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.image import dockerfile
from tests.image.conftest import PYTHON, Image, build
from vllm_operator import __version__
from vllm_operator.__main__ import main

SAMPLES = dockerfile.ROOT / "manifests" / "samples"


def test_base_images_can_be_pinned() -> None:
    """Whoever builds gives a digest by `--build-arg`; no registry was there to look one up."""
    before_the_first_stage = {
        words.split("=")[0]: words.split("=")[1]
        for instruction, words in dockerfile.LINES[: [each for each, _ in dockerfile.LINES].index("FROM")]
        if instruction == "ARG"
    }
    images = [words.split()[0] for words in dockerfile.all_of("FROM")]
    assert {image for image in images if image != "scratch"} == {
        f"${{{name}}}" for name in before_the_first_stage
    }
    for image in before_the_first_stage.values():
        assert re.search(r":[^/:]+$", image)
        assert not image.endswith(":latest")


def test_both_images_are_of_one_python_and_one_debian() -> None:
    (build_image, runtime) = (words.split("=")[1] for words in dockerfile.all_of("ARG")[:2])
    (step, _) = dockerfile.all_of("RUN")
    minor = step.rsplit("/python", 1)[1]
    assert build_image.endswith(f"/python:{minor}-slim-trixie")
    # Debian 13 is trixie, and its Python is 3.13.
    assert re.search(r"/python3-debian13:", runtime)
    assert minor == "3.13"


def test_the_image_is_made_by_the_step_that_is_tried_here() -> None:
    (step, tried) = dockerfile.all_of("RUN")
    assert re.fullmatch(
        r"tools/image/build\.sh /opt/venv /opt/vllm-operator\.cdx\.json /usr/bin/python3\.\d+", step
    )
    assert json.loads(tried) == dockerfile.runs_in_the_last_stage()
    assert dockerfile.all_of("COPY")[-2:] == [
        "--from=build /opt/vllm-operator.cdx.json /",
        "--from=build /opt/venv /opt/venv",
    ]


def test_the_context_holds_what_is_copied_and_nothing_else() -> None:
    lines = [
        line
        for line in (dockerfile.ROOT / ".dockerignore").read_text().splitlines()
        if line[:1] not in ("#", "")
    ]
    assert lines[0] == "*"
    assert lines[-1] == "**/__pycache__"
    assert {line.removeprefix("!") for line in lines[1:-1]} == dockerfile.from_context()


def test_labels() -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', dockerfile.all_of("LABEL")[0]))
    assert labels.pop("title") == "vllm-operator"
    assert labels.pop("licenses") == "Apache-2.0"
    assert labels.pop("description")
    given = {"version", "revision", "created", "source"}
    assert labels == {name: f"${{{name.upper()}}}" for name in given}
    assert {name.upper() for name in given} <= set(dockerfile.all_of("ARG"))


def test_it_does_not_run_as_root() -> None:
    assert dockerfile.all_of("USER") == ["65532:65532"]


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_the_command_is_there(image: Image, option: str) -> None:
    (entry,) = json.loads(dockerfile.all_of("ENTRYPOINT")[0])
    done = image.run(entry, option)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == CliRunner().invoke(main, [option], prog_name=entry).stdout


def test_everything_can_be_imported(image: Image) -> None:
    done = image.run(*dockerfile.runs_in_the_last_stage())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_file_of_the_source_is_installed(image: Image) -> None:
    """Of each package: `pyproject.toml` names them."""
    source, installed = dockerfile.ROOT / "operator", image.prefix / "lib" / PYTHON / "site-packages"
    files = {file.relative_to(source) for file in source.rglob("*") if file.is_file()}
    files = {file for file in files if "__pycache__" not in file.parts}
    assert {file.suffix for file in files} >= {".py", ".j2"}
    assert not {file for file in files if (installed / file).read_bytes() != (source / file).read_bytes()}


def test_crds_are_those_of_the_source(image: Image) -> None:
    done = image.run("vllm-operator", "crds")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == CliRunner().invoke(main, ["crds"]).stdout


def test_templates_profiles_and_programs_are_in_the_package(image: Image) -> None:
    """Of both kinds, with the programs in full."""
    names = sorted(file.name for file in SAMPLES.glob("*.yaml"))
    done = image.run(
        "vllm-operator",
        "render",
        "--programs",
        *(f"/shown/{name}" for name in names),
        shown={SAMPLES: "/shown"},
    )
    assert done.returncode == 0, done.stderr
    own = CliRunner().invoke(main, ["render", "--programs", *(str(SAMPLES / name) for name in names)])
    assert own.exit_code == 0
    assert "kind: Job" in own.stdout
    assert done.stdout == own.stdout


def test_a_run_without_a_cluster_says_so(image: Image) -> None:
    done = image.run("vllm-operator", "run")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: no cluster to run against: neither KUBECONFIG nor ~/.kube/config")


def test_neither_shell_nor_installer_is_there(image: Image) -> None:
    assert image.run("/bin/sh", "-c", "true").returncode != 0
    done = image.run("python", "-c", "import pip")
    assert "No module named 'pip'" in done.stderr
    scripts = [file for file in (image.prefix / "bin").iterdir() if not file.is_symlink()]
    assert {file.read_text().splitlines()[0] for file in scripts} == {f"#!{image.prefix}/bin/python"}


def test_anybody_may_read_it_and_only_root_write(image: Image) -> None:
    for file in image.prefix.rglob("*"):
        mode = file.lstat().st_mode
        if not stat.S_ISLNK(mode):
            assert mode & stat.S_IROTH, file
            assert not mode & stat.S_IWOTH, file
            assert not stat.S_ISDIR(mode) or mode & stat.S_IXOTH, file


def test_it_is_compiled_beforehand(image: Image) -> None:
    """In a read-only image nothing could be compiled later."""
    packages = image.prefix / "lib" / PYTHON / "site-packages"
    sources = list((packages / "vllm_operator").rglob("*.py"))
    assert len(sources) > 30
    for source in sources:
        (compiled,) = source.parent.glob(f"__pycache__/{source.stem}.*.pyc")
        # The flags of PEP 552: checked by hash, and not looked at again.
        assert compiled.read_bytes()[4:8] == b"\x01\x00\x00\x00"


def test_nothing_tells_of_the_builder(image: Image) -> None:
    for file in image.prefix.rglob("*"):
        # Compiled files and notes of the installer are where paths are left.
        if file.is_file() and (file.suffix == ".pyc" or file.parent.suffix == ".dist-info"):
            assert str(image.context).encode() not in file.read_bytes(), file
    assert not list(image.prefix.rglob("direct_url.json"))
    assert set((image.prefix / "pyvenv.cfg").read_text().splitlines()) == {
        "home = /usr/bin",
        "include-system-site-packages = false",
    }


def test_the_list_of_parts_is_that_of_the_requirements(image: Image) -> None:
    document = json.loads(image.sbom.read_text())
    assert document["bomFormat"] == "CycloneDX"
    root = document["metadata"]["component"]
    assert (root["name"], root["version"], root["type"]) == ("vllm-operator", __version__, "application")
    parts = {canonical(part["name"]): part["version"] for part in document["components"]}
    pinned = re.findall(
        r"^([-\w.]+)(?:\[[^]]*\])?==(\S+)", (dockerfile.ROOT / "requirements.txt").read_text(), re.M
    )
    expected = {canonical(name): version for name, version in pinned}
    assert len(expected) > 20
    assert parts == expected


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_a_builder_of_another_minor_version_is_refused(tmp_path: Path) -> None:
    done = build(
        str(tmp_path / "venv"), str(tmp_path / "sbom"), "/usr/bin/python3.9", context=dockerfile.ROOT
    )
    assert done.returncode == 1
    assert f"made by {PYTHON}, and /usr/bin/python3.9 could not run it" in done.stderr
    assert not (tmp_path / "venv").exists()
