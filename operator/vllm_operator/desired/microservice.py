"""The children of a server's LLM microservice.

Its pod template is in a record of its own, as the server's is: a new operator, whose image is also its image,
rolls none of its pods before `spec.rollout.refresh` changes.
"""

from collections.abc import Hashable
from typing import Any

from vllm_operator.api.observed import MicroserviceRecord, Observed
from vllm_operator.api.seen import Child, Manifest
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.desired import images, names, network, records
from vllm_operator.desired.canonical import digest
from vllm_operator.desired.defaults import Defaults
from vllm_operator.desired.engine import entries
from vllm_operator.desired.metadata import metadata
from vllm_operator.desired.render import render

USER = 65532
"""uid and gid of the operator's image."""
DRAIN_SECONDS = 120
"""How long running answers may go on after SIGTERM (its LLM_MICROSERVICE_GRACE_SECONDS)."""
PRE_STOP_SECONDS = 5
CLOSE_SECONDS = 10
RESOURCES = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "768Mi"}}
"""Half of the limit holds a thousand streams and all bodies that it buffers; the rest is for hostile ones."""


def manifests(observed: Observed, defaults: Defaults) -> list[Manifest]:
    """Everything that should be for the microservice, the record of its template first.

    Raises StalledError(ImageNotAllowed) for a new template.
    """
    server = observed.server
    if not server.spec.microservice.enabled:
        return []
    inputs, recorded = _inputs(observed, defaults), _recorded(observed, defaults)
    if recorded is None and server.spec.microservice.image is not None:
        images.check(server.spec.microservice.image, defaults, field="spec.microservice.image")
    template = records.unpack(recorded.content) if recorded else _template(server, inputs, defaults)
    made = [] if recorded else [_record(observed, inputs, template, defaults)]
    spec, name = server.spec.microservice, names.microservice(server.name)
    selector = names.microservice_selector(server.name)
    meta = metadata(server, name, component=names.MICROSERVICE)
    policy = network.of_microservice(server, meta)
    service = render("service", metadata=meta, type="ClusterIP", selector=selector, port=spec.port)
    several = _pods_wanted(observed) > 1
    budget = [render("poddisruptionbudget", metadata=meta, selector=selector)] if several else []
    deployment = render(
        "deployment",
        metadata=meta,
        replicas=_replicas(observed),
        progress_deadline_seconds=600,
        selector=selector,
        max_surge=1,
        max_unavailable=0,
    )
    deployment["spec"]["template"] = template
    return [*made, *policy, service, *budget, deployment]


def aim(observed: Observed, defaults: Defaults) -> str:
    """Digest of the inputs of the template that is aimed at; empty where there is to be no microservice."""
    if not observed.server.spec.microservice.enabled:
        return ""
    return records.digest_of(_inputs(observed, defaults))


def is_stale(observed: Observed, defaults: Defaults) -> bool:
    """Whether the present operator would make another template, or take another default image."""
    server = observed.server
    recorded = _recorded(observed, defaults) if server.spec.microservice.enabled else None
    if recorded is None:
        return False
    if recorded.default_image and recorded.default_image != defaults.microservice_image:
        return True
    if recorded.renderer == records.renderer(defaults):
        return False
    template = _template(server, _inputs(observed, defaults), defaults)
    return digest({"spec": template}) != digest({"spec": records.unpack(recorded.content)})


def superfluous(observed: Observed) -> list[Child]:
    """Children of the microservice that may go: all when it is switched off, else what its spec asks for no
    more, and old records.
    """
    spec, found = observed.server.spec, observed.microservice_records
    old = list(found) if not spec.microservice.enabled else _old(observed)
    kinds = {
        "Deployment": spec.microservice.enabled,
        "Service": spec.microservice.enabled,
        "PodDisruptionBudget": spec.microservice.enabled and _pods_wanted(observed) > 1,
        "NetworkPolicy": spec.microservice.enabled and spec.network_policy is not None,
    }
    name = names.microservice(observed.server.name)
    made = (observed.children.get((kind, name)) for kind, needed in kinds.items() if not needed)
    return [*old, *(child for child in made if child is not None)]


def _old(observed: Observed) -> list[Child]:
    """Records of templates that are rolled out no more."""
    deployment, found = observed.microservice, observed.microservice_records
    record = deployment.record if deployment else None
    if deployment is None or record is None or not deployment.rolled_out(record):
        return []
    # The newest is that of the template asked for: what is rolled out and older is about to be replaced.
    return [each for each in found[:-1] if each.name != names.microservice_record(observed.server, record)]


def basis(observed: Observed) -> Hashable:
    """All that `manifests` looks at beside the spec."""
    found = tuple((record.name, record.uid) for record in observed.microservice_records)
    return found, _replicas(observed), _pods_wanted(observed)


def _pods_wanted(observed: Observed) -> int:
    """How many pods there are to be, whoever says so."""
    deployment, replicas = observed.microservice, _replicas(observed)
    return deployment.wanted_replicas if replicas is None and deployment is not None else replicas or 0


def _replicas(observed: Observed) -> int | None:
    """The replica count, or None where another manager has set one."""
    deployment, wanted = observed.microservice, observed.server.spec.microservice.replicas
    return None if deployment is not None and deployment.left_alone(wanted) else wanted


def _inputs(observed: Observed, defaults: Defaults) -> dict[str, Any]:
    """Everything that decides a pod of it."""
    server = observed.server
    spec, model = server.spec.microservice, server.spec.model
    image = spec.image or _pinned(observed) or defaults.microservice_image
    values = {
        "image": image,
        "defaultImage": spec.image is None,
        "connector": spec.connector,
        "resources": spec.resources.model_dump(by_alias=True, exclude_none=True) if spec.resources else None,
        "endpoint": names.url(server),
        "model": (model.served_names or [model.name])[0],
        "imagePullSecrets": [secret.name for secret in server.spec.image_pull_secrets or ()],
        "serviceAccount": server.spec.service_account_name or names.service_account(server),
        "refresh": server.spec.rollout.refresh,
    }
    return {key: value for key, value in values.items() if value not in (None, [])}


def _pinned(observed: Observed) -> str | None:
    """The default image as it was when this server first used it with the present `rollout.refresh`."""
    refresh = observed.server.spec.rollout.refresh
    found = (each for each in reversed(observed.microservice_records) if each.refresh == refresh)
    return next((record.default_image for record in found if record.default_image), None)


def _recorded(observed: Observed, defaults: Defaults) -> MicroserviceRecord | None:
    name = names.microservice_record(observed.server, records.digest_of(_inputs(observed, defaults)))
    return next((record for record in observed.microservice_records if record.name == name), None)


def _record(observed: Observed, inputs: dict[str, Any], template: Manifest, defaults: Defaults) -> Manifest:
    found, name = (
        observed.microservice_records,
        names.microservice_record(observed.server, records.digest_of(inputs)),
    )
    manifest = render(
        "controllerrevision",
        metadata=metadata(observed.server, name, component=names.MICROSERVICE),
        revision=found[-1].revision + 1 if found else 1,
        inputs=inputs,
        renderer=records.renderer(defaults),
    )
    manifest["data"] |= {"component": names.MICROSERVICE, "template": template}
    return manifest


def _template(server: VLLMServer, inputs: dict[str, Any], defaults: Defaults) -> Manifest:
    environment = {
        "LLM_MODEL_SERVER_ENDPOINT": inputs["endpoint"],
        "LLM_MODEL_NAME": inputs["model"],
        "LLM_CONNECTOR": inputs["connector"],
        "LLM_MICROSERVICE_GRACE_SECONDS": str(DRAIN_SECONDS),
    }
    labels = {
        "app.kubernetes.io/name": "llm-microservice",
        "app.kubernetes.io/instance": server.name,
        **names.microservice_selector(server.name),
        names.RECORD: records.digest_of(inputs),
    }
    return render(
        "microservice",
        labels=labels,
        service_account=inputs["serviceAccount"],
        image_pull_secrets=[{"name": name} for name in inputs.get("imagePullSecrets", ())],
        ids={} if defaults.platform_assigns_ids else {"runAsUser": USER, "runAsGroup": USER},
        container=names.MICROSERVICE,
        image=inputs["image"],
        env=entries(environment),
        port=names.MICROSERVICE_PORT,
        resources=inputs.get("resources") or RESOURCES,
        pre_stop_seconds=PRE_STOP_SECONDS,
        drain_seconds=DRAIN_SECONDS,
        close_seconds=CLOSE_SECONDS,
    )
