"""Jobs that run our own programs: the prefetch, and the calibration."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from vllm_operator.api.kinds import Ours
from vllm_operator.api.parts import Resources
from vllm_operator.api.prefetch import EXIT_ACT
from vllm_operator.api.quantity import exact
from vllm_operator.api.seen import Manifest, Seen
from vllm_operator.desired import engine, names, pod
from vllm_operator.desired.defaults import Defaults, Image
from vllm_operator.desired.metadata import metadata
from vllm_operator.desired.render import render

PACKAGE = "podscripts"
FOLDER = "/opt/vllm-operator"
RETRIES = 20
"""Tries of a Job whose hub does not answer: the Job controller waits ever longer between them, for about two
hours in all."""
REQUESTS = {"cpu": "1", "memory": "2Gi"}
"""What a download needs. Without a volume yet, a pod asks for what the server will need: where it lands, the
volume may be bound, and there the server must fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a Job does: which program it runs, and what it needs to."""

    component: str
    program: str
    """Module of the package for pods."""
    arguments: Sequence[str]
    environment: Sequence[Mapping[str, Any]]
    resources: Mapping[str, Mapping[str, str]]
    placement: Mapping[str, Any]
    retries: int
    """How often it is tried again by itself."""
    volumes: Sequence[Mapping[str, Any]] = ()
    """Volumes of a pod beyond those that every Job has."""
    mounts: Sequence[Mapping[str, Any]] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Annotations of the Job."""
    deadline_seconds: int | None = None
    capabilities: Sequence[str] = ()


def job(resource: Ours, name: str, image: Image, work: Work, defaults: Defaults) -> Manifest:
    """A Job that runs one of our programs in an image, with the cache at `/data`."""
    spec = resource.spec
    return render(
        "job",
        metadata=metadata(resource, name, component=work.component, annotations=work.annotations),
        retries=work.retries,
        deadline_seconds=work.deadline_seconds,
        final_exit_code=EXIT_ACT,
        labels={**(spec.pod_labels or {}), **names.labels(resource, work.component)},
        annotations=spec.pod_annotations,
        service_account=spec.service_account_name or names.service_account(resource),
        image_pull_secrets=[{"name": secret.name} for secret in spec.image_pull_secrets or ()],
        placement=work.placement,
        ids=pod.ids(resource, defaults),
        container=work.component,
        image=image.image,
        image_pull_policy=spec.image_pull_policy,
        command=["python3", "-m", f"{PACKAGE}.{work.program}"],
        working_folder=FOLDER,
        args=[engine.literal(word) for word in work.arguments],
        env=work.environment,
        resources=work.resources,
        capabilities=work.capabilities,
        data=names.DATA,
        home=names.HOME,
        folder=f"{FOLDER}/{PACKAGE}",
        claim=names.claim(resource),
        script=names.script(resource),
        mounts=work.mounts,
        volumes=work.volumes,
    )


def program(resource: Ours, name: str, component: str) -> Manifest:
    """The ConfigMap with a program of a resource's Jobs."""
    made = metadata(resource, names.script(resource), component=component)
    config_map = render("configmap", metadata=made)
    config_map["data"] = {f"{part}.py": _source(part) for part in sorted(_parts(name))}
    return config_map


@cache
def _parts(name: str) -> frozenset[str]:
    """The modules that a program consists of: those that it imports of its own package, and so on."""
    found, waiting = {"__init__"}, [name]
    while waiting:
        part = waiting.pop()
        if part not in found:
            found.add(part)
            waiting += _imported(part)
    return frozenset(found)


def _imported(part: str) -> list[str]:
    imports = [
        node
        for node in ast.walk(ast.parse(_source(part)))
        if isinstance(node, ast.ImportFrom) and node.level == 1
    ]
    named = [[node.module] if node.module else [alias.name for alias in node.names] for node in imports]
    return [name for names_ in named for name in names_]


@cache
def _source(part: str) -> str:
    return (files("vllm_operator") / PACKAGE / f"{part}.py").read_text()


def of_a_download(seen: Seen, resources: Resources) -> dict[str, dict[str, str]]:
    """Requests and limits of a download: a quota on limits asks for some; those of the spec are enough."""
    claim = seen.claim
    limits = {name: amount for name, amount in (resources.limits or {}).items() if name in REQUESTS}
    unbound = claim is None or claim.phase != "Bound"
    asked = {**limits, **(resources.requests or {})} if unbound else {}
    requests = {
        name: min(wanted := asked.get(name, amount), limits.get(name, wanted), key=exact)
        for name, amount in REQUESTS.items()
    }
    return {"requests": requests, "limits": limits} if limits else {"requests": requests}


def single(resource: Ours, defaults: Defaults) -> dict[str, Any]:
    """Where the one pod of a Job may run: as the resource says, and there is nothing to spread.

    Raises StalledError(InvalidForEngine).
    """
    fields = pod.placement(resource, defaults)
    fields.pop("topologySpreadConstraints", None)
    return fields


def without_cards(fields: dict[str, Any], defaults: Defaults, *, gaudi: bool) -> dict[str, Any]:
    """Where a pod may run that fills a cache for cards, and has none itself."""
    # Intel's runtime would show it cards that it did not ask for: its images say HABANA_VISIBLE_DEVICES=all.
    fields.pop("runtimeClassName", None)
    if gaudi and defaults.gaudi_nodes:
        # Where it lands a volume may be bound, and there must be cards.
        fields["nodeSelector"] = {**fields.get("nodeSelector", {}), **defaults.gaudi_nodes}
    return fields


def beside(fields: dict[str, Any], selector: Mapping[str, Any]) -> None:
    """Let a pod run only where pods run that a selector finds: they hold the claim on their node."""
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": selector}
    affinity = fields.setdefault("affinity", {}).setdefault("podAffinity", {})
    affinity.setdefault("requiredDuringSchedulingIgnoredDuringExecution", []).append(term)
