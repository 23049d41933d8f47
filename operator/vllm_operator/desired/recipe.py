"""The recipe of a calibration: what decides its result, and what its Jobs are given."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from vllm_operator.api.calibration import Calibrated, read_report
from vllm_operator.api.dataset import Dataset
from vllm_operator.api.fp8quantization import FP8QuantizationSpec
from vllm_operator.api.observed import Artifacts
from vllm_operator.api.parts import Resources
from vllm_operator.api.prefetch import Prefetched
from vllm_operator.api.prefetch import read_report as read_prefetch
from vllm_operator.api.quantized import ObservedQuantization, Result, Staged
from vllm_operator.api.seen import JobFacts, PodFacts
from vllm_operator.desired import devices, engine, jobs, names
from vllm_operator.desired.defaults import Defaults, Image

ROOT = f"{names.DATA}/inc"
DATASET = "/dataset"
WORK = "/work"
SHM_SIZE = "16Gi"
COMMIT_LENGTH = 40

Json = dict[str, Any]


def fingerprint(spec: FP8QuantizationSpec, image: Image, staged: Staged) -> str:
    """Digest of all that decides a calibration's result."""
    fields = {
        *("tasks", "existing", "tensor_parallel_size", "batch_size", "sample_limit", "unify_to"),
        *("expert_parallel", "backend", "extra_env"),
    }
    include: dict[str, Any] = dict.fromkeys(fields, True) | {"gaudi": {"generation"}}
    deciding = spec.model_dump(mode="json", include=include, exclude_none=True)
    given = [deciding, spec.model.name, staged.commit, staged.dataset_sha256, image.image, image.engine]
    return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()[:16]


def of_prefetch(spec: FP8QuantizationSpec, image: Image) -> str:
    """Digest of all that decides the prefetch Job. Nothing of it can change but a default image."""
    deciding = spec.model_dump(
        mode="json", exclude={"isolated", "retry", "ttl_seconds_after_finished"}, exclude_none=True
    )
    return hashlib.sha256(json.dumps([deciding, image.image], sort_keys=True).encode()).hexdigest()


def nothing_staged(spec: FP8QuantizationSpec) -> Staged:
    """What is known of a model whose artefacts are there already: its commit, if that is what was given."""
    revision = spec.model.revision or ""
    is_commit = len(revision) == COMMIT_LENGTH and set(revision) <= set("0123456789abcdef")
    return Staged(revision if is_commit else "", names.HUB, None, None)


def staged(spec: FP8QuantizationSpec, pod: PodFacts) -> Staged | None:
    """What a prefetch tells that it has staged; None where that is not what was asked for."""
    said = read_prefetch(pod.last_words)
    if not isinstance(said, Prefetched) or not _below(said.cache, names.DATA):
        return None
    if bool(said.commit) == spec.model.name.startswith("/"):
        return None
    found = said.dataset
    if (found is None) != (spec.dataset is None) or (found and not _below(found.path, names.DATA)):
        return None
    return Staged(said.commit, said.cache, found.path if found else None, found.sha256 if found else None)


def result(spec: FP8QuantizationSpec, fingerprint: str, job: JobFacts, pod: PodFacts) -> Result | None:
    """What a calibration tells that it has made; None where that is not what was asked for."""
    said = read_report(pod.last_words)
    if not isinstance(said, Calibrated):
        return None
    asked = spec.gaudi.generation or said.generation
    # Made by hand, it lies where it was made; else in its own folder, whatever a pod says.
    root = spec.existing.path.rpartition("/")[0] if spec.existing else f"{ROOT}/{fingerprint}"
    places = (said.output, said.quant_config)
    if not all(_below(place, root) for place in places) or not _below(said.manifest, names.DATA):
        return None
    if (said.world_size, said.generation) != (world_size(spec), asked):
        return None
    artifacts = Artifacts(
        fingerprint, said.output, said.manifest, said.quant_config, said.generation, said.sha256
    )
    counts = (said.samples or None, said.files, said.bytes)
    return Result(artifacts, said.world_size, *counts, job.created_at, pod.ended_at or job.created_at)


def world_size(spec: FP8QuantizationSpec) -> int:
    """`tensorParallelSize` of the servers that the result is for."""
    return spec.unify_to or spec.tensor_parallel_size


def _below(path: str, root: str) -> bool:
    """Whether a path is in a folder: what a pod says is not believed blindly."""
    return f"{path}/".startswith(f"{root}/") and not {".", ".."} & set(path.split("/"))


def write(result: Result) -> Json:
    """A result as it stands in a record."""
    return {
        "artifacts": result.artifacts._asdict(),
        "worldSize": result.world_size,
        "samples": result.samples,
        "files": result.files,
        "bytes": result.bytes,
        "startedAt": result.started_at,
        "completedAt": result.completed_at,
    }


def read(data: Mapping[str, Any]) -> Result | None:
    """The result that `write` was given, without what a later version adds; None if it cannot be read."""
    try:
        artifacts = Artifacts(*(str(data["artifacts"][field]) for field in Artifacts._fields))
        counts = (data.get("samples"), int(data["files"]), int(data["bytes"]))
        times = (str(data["startedAt"]), str(data["completedAt"]))
        return Result(artifacts, int(data["worldSize"]), *counts, *times)
    except (KeyError, TypeError, ValueError):
        return None


def read_staged(data: Mapping[str, Any]) -> Staged | None:
    """What a record says is staged, without what a later version adds; None where nothing is."""
    if not {"commit", "hub"} <= data.keys():
        return None
    return Staged(str(data["commit"]), str(data["hub"]), data.get("dataset"), data.get("dataset_sha256"))


def holders(observed: ObservedQuantization) -> tuple[str, ...]:
    """Servers whose pods hold the claim on a node, where only one node can have it."""
    claim, name = observed.claim, names.claim(observed.quantization)
    if claim is not None and "ReadWriteMany" in claim.access_modes:
        return ()
    return tuple(user.name for user in observed.users if user.held and user.claim == name)


def _placement(observed: ObservedQuantization, defaults: Defaults) -> Json:
    fields = jobs.single(observed.quantization, defaults)
    holding = holders(observed)
    if holding:
        among = {"key": names.SERVER, "operator": "In", "values": list(holding)}
        labels = {names.COMPONENT: names.OF_SERVERS, names.MANAGED_BY: names.FIELD_MANAGER}
        jobs.beside(fields, {"matchLabels": labels, "matchExpressions": [among]})
    return fields


def prefetch(observed: ObservedQuantization, defaults: Defaults) -> jobs.Work:
    """The Job that brings the model and stages the dataset: the only one with a token and a network.

    Raises StalledError(InvalidForEngine).
    """
    spec = observed.quantization.spec
    words, volumes = _dataset(spec)
    model = [spec.model.name]
    if spec.model.revision is not None:
        model += ["--revision", spec.model.revision]
    if spec.dataset is not None and spec.sample_limit is not None:
        words = [*words, "--sample-limit", str(spec.sample_limit)]
    mounts = [{"name": names.DATASET_VOLUME, "mountPath": DATASET, "readOnly": True}] if volumes else []
    return jobs.Work(
        component=names.PREFETCH,
        program="prefetch",
        arguments=[*model, "--trust-remote-code", *words],
        environment=engine.prefetch_environment(spec),
        resources=_of_download(observed),
        placement=jobs.without_cards(_placement(observed, defaults), defaults, gaudi=True),
        retries=jobs.RETRIES,
        volumes=volumes,
        mounts=mounts,
        annotations={names.RETRY: str(spec.retry)},
    )


def _of_download(observed: ObservedQuantization) -> dict[str, dict[str, str]]:
    """Resources of the prefetch: where a server's own binds the volume, that asks for the room."""
    asked = Resources() if shared(observed) else observed.quantization.spec.resources
    return jobs.of_a_download(observed, asked)


def shared(observed: ObservedQuantization) -> bool:
    """Whether a server that names the quantization has the same claim."""
    claim = names.claim(observed.quantization)
    return any(user.claim == claim for user in observed.users)


def _dataset(spec: FP8QuantizationSpec) -> tuple[list[str], list[Json]]:
    """Arguments that say where the dataset comes from, and the volume that it is in, if it is in one."""
    given = spec.dataset or Dataset.model_construct()
    if given.persistent_volume_claim is not None:
        source = given.persistent_volume_claim
        volume: Json = {"persistentVolumeClaim": {"claimName": source.claim_name, "readOnly": True}}
        return _file(source.path, volume)
    if given.config_map is not None:
        items = [{"key": given.config_map.key, "path": "dataset.pkl"}]
        return _file("dataset.pkl", {"configMap": {"name": given.config_map.name, "items": items}})
    if given.secret is not None:
        items = [{"key": given.secret.key, "path": "dataset.pkl"}]
        return _file("dataset.pkl", {"secret": {"secretName": given.secret.name, "items": items}})
    if given.url is not None:
        return ["--dataset-url", given.url.url, "--dataset-sha256", given.url.sha256], []
    if given.hugging_face is not None:
        named = given.hugging_face
        return ["--dataset-name", named.name, "--dataset-split", named.split], []
    return [word for task in spec.tasks or () for word in ("--task", task)], []


def _file(path: str, source: Json) -> tuple[list[str], list[Json]]:
    return ["--dataset-file", f"{DATASET}/{path}"], [{"name": names.DATASET_VOLUME, **source}]


def calibration(
    observed: ObservedQuantization, staged: Staged, fingerprint: str, defaults: Defaults
) -> jobs.Work:
    """The Job that measures: it has the cards, no network, and no token of any kind.

    Raises StalledError(InvalidForEngine).
    """
    spec = observed.quantization.spec
    placement = _placement(observed, defaults)
    measures = spec.existing is None
    memory = {"medium": "Memory", "sizeLimit": spec.shm_size or SHM_SIZE}
    return jobs.Work(
        component=names.CALIBRATION,
        program="calibrate",
        arguments=_arguments(spec, staged, fingerprint),
        environment=_environment(spec, staged),
        resources=(
            devices.resources(spec, cards=spec.tensor_parallel_size)
            if measures
            else jobs.of_a_download(observed, spec.resources)
        ),
        placement=placement if measures else jobs.without_cards(placement, defaults, gaudi=True),
        retries=spec.backoff_limit,
        deadline_seconds=spec.active_deadline_seconds,
        volumes=[{"name": "shm", "emptyDir": memory}, {"name": "work", "emptyDir": {}}],
        mounts=[{"name": "shm", "mountPath": "/dev/shm"}, {"name": "work", "mountPath": WORK}],  # noqa: S108
        annotations={names.RETRY: str(spec.retry)},
        # Pod Security `restricted` lets no container add it.
        capabilities=["SYS_NICE"] if measures and spec.gaudi.sys_nice else [],
    )


def _arguments(spec: FP8QuantizationSpec, staged: Staged, fingerprint: str) -> list[str]:
    name = spec.model.name
    words = ["--name", name.rpartition("/")[2], "--output", f"{ROOT}/{fingerprint}"]
    words += ["--tensor-parallel-size", str(spec.tensor_parallel_size)]
    if spec.gaudi.generation is not None:
        words += ["--generation", spec.gaudi.generation]
    if spec.existing is not None:
        return ["--existing", spec.existing.path, *words]
    folder = f"{staged.hub}/models--{name.replace('/', '--')}/snapshots/{staged.commit}"
    words += ["--backend", spec.backend, "--model", name if name.startswith("/") else folder]
    words += ["--batch-size", str(spec.batch_size)]
    if spec.sample_limit is not None:
        words += ["--sample-limit", str(spec.sample_limit)]
    if spec.unify_to is not None:
        words += ["--unify-to", str(spec.unify_to)]
    if spec.expert_parallel:
        words.append("--expert-parallel")
    if staged.dataset is not None and staged.dataset_sha256 is not None:
        words += ["--dataset", staged.dataset, "--dataset-sha256", staged.dataset_sha256]
    return words + [word for task in spec.tasks or () for word in ("--task", task)]


def _environment(spec: FP8QuantizationSpec, staged: Staged) -> list[Json]:
    variables = {
        **engine.common(),
        **devices.of_cards(spec.gaudi),
        **dict.fromkeys(("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE"), "1"),
        "VLLM_NO_USAGE_STATS": "1",
    }
    if staged.hub != names.HUB:
        variables["HF_HUB_CACHE"] = staged.hub
    return [*engine.entries(variables), *engine.own(spec)]
