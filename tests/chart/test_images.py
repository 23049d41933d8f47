"""The chart takes no default images and allowed registries with which the operator would not start."""

import pytest

from tests.harness.helm import Values, only, render, template
from vllm_operator.config import DEFAULT_IMAGES, InvalidSettingError, Settings

CPU, GAUDI = (DEFAULT_IMAGES[device].image for device in ("cpu", "gaudi"))
DIGEST = f"sha256:{'a' * 64}"


def starts(images: dict[str, tuple[str, str]], allowed: list[str]) -> bool:
    """Whether the operator starts with default images, each with its engine, and allowed registries."""
    variables = {"VLLM_OPERATOR_ALLOWED_IMAGES": ",".join(allowed)} if allowed else {}
    for device, (image, engine) in images.items():
        given = {
            f"VLLM_OPERATOR_{device.upper()}_{key}": value
            for key, value in (("IMAGE", image), ("ENGINE", engine))
        }
        variables |= {name: value for name, value in given.items() if value}
    try:
        Settings.read(variables)
    except InvalidSettingError:
        return False
    return True


def values(images: dict[str, tuple[str, str]], allowed: list[str]) -> Values:
    named = {device: {"image": image, "engine": engine} for device, (image, engine) in images.items()}
    return {"defaultImages": named, "allowedImages": allowed}


def cpu(image: str, engine: str = "vllm 0.32") -> dict[str, tuple[str, str]]:
    """A default image for CPUs, and one for Gaudi of the same registry."""
    return {"cpu": (image, engine)}


def gaudi(image: str) -> dict[str, tuple[str, str]]:
    return {"gaudi": (image, "vllm-gaudi 0.26")}


BOTH = ["docker.io/vllm/", "vault.habana.ai/gaudi-docker"]
OWN = cpu("registry.example:5000/a/cpu:1") | gaudi("registry.example:5000/a/gaudi:1")
TAKEN: dict[str, tuple[dict[str, tuple[str, str]], list[str]]] = {
    "nothing": ({}, []),
    "a tag": (cpu("x.io/a:1"), []),
    "a digest": (cpu(f"x.io/a@{DIGEST}"), []),
    "latest with a digest": (cpu(f"x.io/a:latest@{DIGEST}"), []),
    "a registry with a port": (cpu("localhost:5000/a:1"), []),
    "Intel's latest": (gaudi(GAUDI.replace("vault.habana.ai", "x.io")), []),
    "the operator's own engine": ({"cpu": ("", "vllm 0.32")}, []),
    "both registries": ({}, BOTH),
    "registries without a path": ({}, ["docker.io", "vault.habana.ai/"]),
    "another name of Docker's registry": ({}, ["Index.Docker.io/vllm", "vault.habana.ai"]),
    "one of two": ({}, ["x.io", *BOTH]),
    "a name without its registry": (cpu("vllm/a:1"), BOTH),
    "an official image": (cpu("a:1"), ["docker.io/library/", "vault.habana.ai"]),
    "a port that is allowed": (OWN, ["registry.example:5000"]),
    "a path that is allowed": (OWN, ["registry.example:5000/a/"]),
    "capitals in a registry": (cpu("X.io/a:1"), ["x.IO", "vault.habana.ai"]),
}
REFUSED: dict[str, tuple[dict[str, tuple[str, str]], list[str], str]] = {
    "latest": (cpu("x.io/a:latest"), [], "defaultImages.cpu.image: x.io/a:latest moves: give a fixed tag"),
    "no tag": (cpu("x.io:5000/a"), [], "defaultImages.cpu.image: x.io:5000/a moves"),
    "latest of Gaudi": (gaudi("x.io/habanalabs/vllm:latest"), [], "defaultImages.gaudi.image: "),
    "no engine": (
        cpu("x.io/a:1", ""),
        [],
        'defaultImages.cpu.engine: say which engine x.io/a:1 holds, such as "vllm 0.32"',
    ),
    "no registry": ({}, ["vllm"], "at '/allowedImages/0'"),
    "a tag in a registry": ({}, ["docker.io/vllm/a:1"], "at '/allowedImages/0'"),
    "a wrong path": ({}, ["docker.io/VLLM"], "at '/allowedImages/0'"),
    "a wrong host": ({}, ["docker..io"], "at '/allowedImages/0'"),
    "Gaudi is not allowed": ({}, ["docker.io/vllm"], f"defaultImages.gaudi.image: {GAUDI} is not below"),
    "CPUs are not allowed": ({}, ["vault.habana.ai"], f"defaultImages.cpu.image: {CPU} is not below"),
    "half a part of a path": ({}, ["docker.io/vl", "vault.habana.ai"], "(docker.io/vl, vault.habana.ai)"),
    "another port": (OWN, ["registry.example"], "is not below what allowedImages allows"),
    "a folder of Docker's": (cpu("x/a:1"), BOTH, "defaultImages.cpu.image: x/a:1 is not below"),
    "an official image's name": (cpu("a:1"), ["docker.io/a", "vault.habana.ai"], "a:1 is not below"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_the_operator_starts_with_what_the_chart_takes(name: str) -> None:
    images, allowed = TAKEN[name]
    assert starts(images, allowed)
    container = only(render(values(images, allowed)), "Deployment")["spec"]["template"]["spec"]["containers"][
        0
    ]
    Settings.read({each["name"]: each["value"] for each in container["env"] if "value" in each})


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_would_not_start_with_is_refused_with_the_remedy(name: str) -> None:
    images, allowed, words = REFUSED[name]
    assert not starts(images, allowed)
    done = template(values(images, allowed))
    assert done.returncode != 0
    assert words in done.stderr


def test_an_engine_without_its_image_is_refused() -> None:
    """The operator would take its own image for one of that version."""
    done = template(values({"cpu": ("", "vllm 0.30")}, []))
    assert done.returncode != 0
    assert (
        f"defaultImages.cpu.image: say which image holds vllm 0.30: the operator's own, {CPU}" in done.stderr
    )


@pytest.mark.parametrize("image", [{"tag": "latest"}, {"repository": "x.io/o", "tag": "latest"}])
def test_microservices_get_no_image_that_moves(image: Values) -> None:
    """They run from the operator's own, and pods of one revision would differ."""
    done = template({"image": image})
    assert done.returncode != 0
    assert "image.tag: latest moves, and microservices run from this image: give a fixed tag" in done.stderr
