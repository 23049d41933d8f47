"""Records: the inputs and the rendered pod template of one revision, kept in a ControllerRevision.

While a server's inputs hash to the name of a record, the recorded template is used, whatever version of
the operator runs. So a new operator restarts no server, and a default image that moved moves nobody.
"""

import hashlib
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from vllm_operator.api.meta import Model
from vllm_operator.api.observed import Cached, Observed, Quantization, RecordFacts, Source
from vllm_operator.api.seen import Manifest
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.desired import names
from vllm_operator.desired.canonical import encode
from vllm_operator.desired.defaults import Defaults, Image
from vllm_operator.desired.engine import load_format

# Fields that decide no pod. A field that is not named here does: forgetting one rolls a server once too
# often, and never leaves an edit without effect.
_NOT_IN_PODS: dict[str, Any] = {
    "replicas": True,
    "autoscaling": True,
    "monitoring": True,
    "paused": True,
    "rollout": {"progress_deadline_seconds"},
    "service": True,
    "verify": True,
    "microservice": True,
    "network_policy": True,
    "cache": {"size", "storage_class_name", "access_modes", "retention"},
    # What comes of the reference decides, and stands beside the spec.
    "fp8": {"quantization_ref", "while_pending"},
}

# Once the cache is filled, pods ask no hub.
_OF_THE_PREFETCH: dict[str, Any] = {"model": {"token_secret_ref", "hub_endpoint"}}

ARTIFACTS = ("fingerprint", "output", "manifest", "quantConfig", "generation", "sha256")
"""Names of the parts of `api.observed.Artifacts` in a record."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything that decides a pod of a server."""

    values: dict[str, Any]
    digest: str
    image: Image
    pinned: bool
    """Whether the image is the operator's default as it was when this server first used it."""
    cached: Cached | None
    """What the cache holds, where a prefetch has filled it."""
    quantization: Quantization | None
    """The quantization that pods serve in FP8 with, where they do by one."""


def image(observed: Observed, defaults: Defaults) -> tuple[Image, bool]:
    """The image of a server and its engine, and whether it is the operator's default."""
    spec = observed.server.spec
    if spec.image is not None and spec.engine is not None:
        return Image(spec.image, f"{spec.engine.family} {spec.engine.version}"), False
    return _pinned(observed) or defaults.images[spec.device], True


def source(server: VLLMServer) -> Source:
    """What a server's cache is to be filled from."""
    spec = server.spec
    return Source(
        spec.model.name,
        spec.model.revision,
        spec.cache.claim_name,
        spec.rollout.refresh,
        spec.model.trust_remote_code,
        load_format(spec.extra_args or ()),
    )


def inputs(
    server: VLLMServer,
    image: Image,
    *,
    pinned: bool,
    cached: Cached | None,
    quantization: Quantization | None = None,
) -> Inputs:
    """The inputs of a server's pods.

    Defaults of fields are left out, so that a field that a later operator adds changes no hash.
    """
    values: dict[str, Any] = {
        "spec": _dump(server.spec, cached=cached is not None),
        "image": image.image,
        "engine": image.engine,
        "defaultImage": pinned,
    }
    if cached is not None:
        values["commit"] = cached.commit
        if cached.hub != names.HUB:
            values["hubCache"] = cached.hub
    if quantization is not None:
        parts = dict(zip(ARTIFACTS, quantization.artifacts, strict=True))
        values["quantization"] = {"name": quantization.name, **parts}
    return Inputs(values, digest_of(values), image, pinned, cached, quantization)


def digest_of(values: dict[str, Any]) -> str:
    """Digest of the inputs of a template, by which its record is named."""
    text = json.dumps(values, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _dump(spec: Model, *, cached: bool) -> dict[str, Any]:
    exclude = {**_NOT_IN_PODS, **_OF_THE_PREFETCH} if cached else _NOT_IN_PODS
    fields = spec.model_dump(by_alias=True, exclude_none=True, exclude_defaults=True, exclude=exclude)
    for part in ("rollout", "fp8"):
        if not fields.get(part):
            fields.pop(part, None)  # a part of which nothing decides a pod is as good as none
    return fields


_FAMILIES = {"cpu": "vllm", "gaudi": "vllm-gaudi"}


def _pinned(observed: Observed) -> Image | None:
    """The default image as it was when this server first used it with the present `rollout.refresh`."""
    for record in reversed(observed.records):
        if record.source.refresh != observed.server.spec.rollout.refresh:
            continue
        image, engine = record.default_image, record.default_engine
        if image and engine and engine.split()[0] == _FAMILIES[observed.server.spec.device]:
            return Image(image, engine)
    return None


def renderer(defaults: Defaults) -> str:
    """Digest of all that can decide a template beside its inputs: this package, and settings.

    While it is the same, what it once rendered from the same inputs it would render again.
    """
    settings = [defaults.platform_assigns_ids, {k: dict(v) for k, v in defaults.generations.items()}]
    text = json.dumps([_package(), settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


@cache
def _package() -> str:
    """Digest of all in this package that can decide a template."""
    digest = hashlib.sha256()
    rooms = (files("vllm_operator.api"), files("vllm_operator.desired"))
    found = [*(file for room in rooms for file in _below(room)), verifier()]
    for file in sorted(found, key=lambda file: file.name):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:10]


def verifier() -> Traversable:
    """The program that looks at a calibration's files before a server starts; it stands in the template."""
    return files("vllm_operator") / "podscripts" / "verify.py"


def _below(folder: Traversable) -> Iterator[Traversable]:
    for item in folder.iterdir():
        if item.is_dir():
            yield from _below(item)
        elif not item.name.endswith(".pyc"):
            yield item


def pack(template: Manifest) -> bytes:
    """A template in the compact form in which the store keeps it."""
    return zlib.compress(encode(template).encode())


def unpack(content: bytes) -> Manifest:
    """The template that `pack` was given."""
    template: Manifest = json.loads(zlib.decompress(content))
    return template


def find(observed: Observed, digest: str | None) -> RecordFacts | None:
    """The record of inputs, by their digest, if there is one."""
    name = names.record(observed.server, digest) if digest else None
    return next((record for record in observed.records if record.name == name), None)


def running(observed: Observed) -> RecordFacts | None:
    """The record that the Deployment makes pods of, if it is there."""
    return find(observed, observed.deployment.record) if observed.deployment else None


def superfluous(observed: Observed, current: str) -> tuple[RecordFacts, ...]:
    """Records that may go: all but the current one and, until that one is rolled out, the last good one.

    `current` is the digest of the inputs of the current one.
    The last good one is the oldest that is left: once a revision is rolled out, all others go.
    """
    deployment = observed.deployment
    name = names.record(observed.server, current)
    others = [record for record in observed.records if record.name != name]
    if deployment is not None and deployment.rolled_out(current):
        return tuple(others)
    return tuple(others[1:])
