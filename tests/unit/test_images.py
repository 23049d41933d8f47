"""Which images an admin allows: names as runtimes read them, and only below the prefixes that are given."""

from typing import Any

import pytest

from tests.unit import quantized
from tests.unit.things import DEFAULT, observed, record_of, server
from vllm_operator.api.observed import Cached, Observed
from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.config import DEFAULT_IMAGES, InvalidSettingError, Settings
from vllm_operator.desired import calibration
from vllm_operator.desired.defaults import Defaults, Image
from vllm_operator.desired.images import is_allowed, name, prefix
from vllm_operator.desired.server import desired

SHA = "@sha256:" + "0123456789abcdef" * 4
ENGINE = {"family": "vllm", "version": "0.32"}


@pytest.mark.parametrize(
    ("image", "found"),
    [
        ("busybox", "docker.io/library/busybox"),
        ("busybox:1.36", "docker.io/library/busybox"),
        ("docker.io/busybox", "docker.io/library/busybox"),
        ("vllm/x", "docker.io/vllm/x"),
        (f"vllm/x:v1{SHA}", "docker.io/vllm/x"),
        ("index.docker.io/vllm/x", "docker.io/vllm/x"),
        ("Docker.IO/vllm/x", "docker.io/vllm/x"),
        ("localhost/x", "localhost/x"),
        ("registry:5000/a/b:c", "registry:5000/a/b"),
        # Without a path behind it, it is an image with a tag.
        ("registry:5000", "docker.io/library/registry"),
        (f"vault.habana.ai/a/b-2.11.0{SHA}", "vault.habana.ai/a/b-2.11.0"),
        # An upper-case letter makes a registry of it: Docker's folders have none.
        ("Vllm/x", "vllm/x"),
        ("a/b_c__d---e.f", "docker.io/a/b_c__d---e.f"),
    ],
)
def test_names_are_read_as_a_runtime_reads_them(image: str, found: str) -> None:
    assert name(image) == found


@pytest.mark.parametrize(
    "image",
    [
        *(
            "docker.io/vllm/../evil/x",
            "docker.io/vllm/./x",
            "docker.io/vllm//x",
            "docker.io/vllm/",
            "docker.io/",
        ),
        *("docker.io/vllm/X", "vllm/x:", "vllm/x:a:b", "vllm/x:a/b", f"vllm/x{SHA}/b", f"vllm/x{SHA}{SHA}"),
        *(
            "vllm/x@sha256:0123",
            "vllm/x@",
            "vllm/-x",
            "vllm/x-",
            "vllm/x..y",
            "vllm/x.",
            "a.b:c/d",
            "a..b/c",
            "-/x",
        ),
        *("docker.io@evil.example/vllm/x", "docker.io:x@evil.example/vllm/x", "vllm/x\n", " vllm/x", "", "/"),
        # What a node has already, under whatever name it came.
        *("0123456789abcdef" * 4, "sha256:0123", f"sha256:{'0' * 64}", "sha512:abc", "sha256"),
    ],
)
def test_what_names_no_repository_is_never_allowed(image: str) -> None:
    assert name(image) is None
    assert not is_allowed(image, (prefix("docker.io"),))
    assert is_allowed(image, ()), "without a list nothing is asked"


@pytest.mark.parametrize(
    ("allowed", "good", "bad"),
    [
        (
            "docker.io/vllm/",
            ("vllm/x", "docker.io/vllm/x:v1", "index.docker.io/vllm/a/b", f"vllm/x{SHA}"),
            (
                "docker.io/vllm",
                "docker.io/vllm-evil/x",
                "vllm-evil/x",
                "docker.io/library/vllm",
                "quay.io/vllm/x",
            ),
        ),
        (
            "docker.io/vllm/x",
            ("vllm/x", "vllm/x:v1", f"vllm/x{SHA}", "vllm/x/y"),
            ("vllm/x-evil", "vllm/x.evil", "vllm/xy:v1", "vllm/y", "evil/vllm/x"),
        ),
        (
            "Docker.io",
            ("busybox", "vllm/x"),
            (
                "docker.io.evil.example/vllm/x",
                "evil.example/docker.io/vllm/x",
                "docker.io:443/vllm/x",
                "a.docker.io/x",
            ),
        ),
        (
            "registry.example:5000/",
            ("registry.example:5000/x",),
            ("registry.example/x", "registry.example:50000/x"),
        ),
        (
            "registry.example",
            ("registry.example/x", "REGISTRY.example/x"),
            ("registry.example:5000/x", "a/x"),
        ),
        ("docker.io/library", ("busybox", "docker.io/busybox:1"), ("vllm/x", "library.example/x")),
    ],
)
def test_only_what_is_below_a_prefix_is_allowed(
    allowed: str, good: tuple[str, ...], bad: tuple[str, ...]
) -> None:
    prefixes = (prefix("never.example/a"), prefix(allowed))
    assert {image: is_allowed(image, prefixes) for image in (*good, *bad)} == {
        **dict.fromkeys(good, True),
        **dict.fromkeys(bad, False),
    }


@pytest.mark.parametrize(
    "text",
    [
        *("vllm", "vllm/", "vllm/x", "docker.io/vllm:v1", "docker.io/vllm/x@sha256:0", "docker.io/a//"),
        *(
            "docker.io/A",
            "https://docker.io/vllm",
            "*",
            "docker.io/*",
            ".",
            ":5000",
            "registry:port",
            "a b.c",
            "/a.b",
        ),
    ],
)
def test_a_prefix_begins_with_a_registry(text: str) -> None:
    with pytest.raises(
        InvalidSettingError, match=r"^VLLM_OPERATOR_ALLOWED_IMAGES: .* is no registry"
    ) as error:
        Settings.read({"VLLM_OPERATOR_ALLOWED_IMAGES": f"docker.io,{text}"})
    assert repr(text) in str(error.value)


def test_the_list_is_a_setting() -> None:
    assert Settings.read({}).defaults.allowed_images == ()
    read = Settings.read({"VLLM_OPERATOR_ALLOWED_IMAGES": " docker.io/vllm/, ,VAULT.habana.ai "})
    assert read.defaults.allowed_images == ("docker.io/vllm", "vault.habana.ai")


@pytest.mark.parametrize(
    ("allowed", "variable"),
    [("docker.io/vllm", "VLLM_OPERATOR_GAUDI_IMAGE"), ("vault.habana.ai", "VLLM_OPERATOR_CPU_IMAGE")],
)
def test_defaults_that_are_not_allowed_keep_the_operator_from_starting(allowed: str, variable: str) -> None:
    """Else it would refuse every server that names no image, one by one."""
    with pytest.raises(InvalidSettingError, match=f"^{variable}: .* is not below what VLLM_OPERATOR_ALLOWED"):
        Settings.read({"VLLM_OPERATOR_ALLOWED_IMAGES": allowed})
    device = variable.split("_")[2]
    own = {
        variable: f"{allowed}/own:v1",
        f"VLLM_OPERATOR_{device}_ENGINE": DEFAULT_IMAGES[device.lower()].engine,
    }
    assert Settings.read({"VLLM_OPERATOR_ALLOWED_IMAGES": allowed, **own}).defaults.allowed_images


def only(*allowed: str, cpu: str = "registry.example/default:v2") -> Defaults:
    """An operator's settings with a list."""
    return Defaults({**DEFAULT.images, "cpu": Image(cpu, "vllm 0.32")}, allowed_images=allowed)


def refusal(seen: Observed, defaults: Defaults, cached: Cached | None = None) -> str:
    with pytest.raises(StalledError) as error:
        desired(seen, defaults, cached)
    assert error.value.reason == Reason.IMAGE_NOT_ALLOWED
    return error.value.message


@pytest.mark.parametrize("prefetch", [True, False])
def test_a_server_of_another_image_is_refused_before_anything_is_made(*, prefetch: bool) -> None:
    """Its prefetch, too, would run the image."""
    named = observed(server({"image": "quay.io/evil:v1", "engine": ENGINE, "prefetch": prefetch}))
    assert refusal(named, only("registry.example", "docker.io/vllm")) == (
        "spec.image: quay.io/evil:v1 is not allowed: the operator's admin allows what is below "
        "registry.example, docker.io/vllm. Name another, or remove spec.image and spec.engine to take the "
        "default image"
    )
    assert desired(named, only("quay.io")).manifests
    assert desired(observed(server({"prefetch": prefetch})), only("registry.example")).manifests


def test_a_revision_that_is_recorded_goes_on_and_no_other_is_made() -> None:
    before = desired(observed(server()), DEFAULT)
    (kept,) = (record_of(each) for each in before.manifests if each["kind"] == "ControllerRevision")
    stricter = only("new.example", cpu="new.example/default:v2")
    again = desired(observed(server(), kept), stricter)
    deployed = [desired_.manifests[-1]["spec"]["template"] for desired_ in (before, again)]
    assert deployed[0] == deployed[1]
    assert again.target.refresh_available
    scaled = desired(observed(server({"replicas": 3}), kept), stricter)
    assert scaled.manifests[-1]["spec"]["replicas"] == 3
    edited: dict[str, Any] = {"engineArgs": {"seed": 1}}
    assert "Change spec.rollout.refresh to take the default image of today" in refusal(
        observed(server(edited), kept), stricter
    )
    fresh = desired(observed(server({**edited, "rollout": {"refresh": "1"}}), kept), stricter)
    assert fresh.target.image == "new.example/default:v2"


def test_a_quantization_of_another_image_is_refused_until_it_is_recorded() -> None:
    """Its recipe never changes: what has begun is ended."""
    spec = {"image": "quay.io/evil:v1", "engine": {"family": "vllm-gaudi", "version": "0.26"}}
    new = quantized.observed(spec)
    with pytest.raises(StalledError) as error:
        calibration.desired(new, only("registry.example"))
    assert error.value.reason == Reason.IMAGE_NOT_ALLOWED
    assert calibration.desired(new, only("quay.io")).manifests
    begun = quantized.observed(spec, quantized.recorded(new))
    assert calibration.desired(begun, only("registry.example")).target.image == "quay.io/evil:v1"
    assert calibration.desired(quantized.observed(), only("registry.example")).manifests
