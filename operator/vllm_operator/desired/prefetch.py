"""The prefetch of a server: a Job that resolves the model's revision and fills the cache.

It runs before the pods, so that no card idles during a download, and it is the only pod of a server with
the token and with the hub. What it has found stands in its termination message, and then in the record.
"""

import hashlib
import json
import re
from collections.abc import Hashable
from typing import Any

from vllm_operator.api.observed import Cached, Observed, Prefetch
from vllm_operator.api.prefetch import Prefetched, read_report
from vllm_operator.api.seen import JobFacts, Manifest
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.desired import engine, jobs, names, records
from vllm_operator.desired.defaults import Defaults, Image

COMMIT = re.compile(r"[0-9a-f]{40}")


def find(observed: Observed, image: Image) -> Prefetch | None:
    """The prefetch of a server, or None if it needs none."""
    spec = observed.server.spec
    if not engine.prefetches(spec):
        return None
    job = names.prefetch_job(observed.server, _digest(observed.server, image))
    return Prefetch(job, _recorded(observed) or _reported(observed, job))


def _recorded(observed: Observed) -> Cached | None:
    source = records.source(observed.server)
    found = [record.cached for record in observed.records if record.source == source and record.cached]
    return found[-1] if found else None


def _reported(observed: Observed, job: str) -> Cached | None:
    made = observed.children.get(("Job", job))
    if made is None or made.owner != observed.server.uid:
        return None
    for pod_ in observed.pods:
        # By uid: a Job of an earlier server of this name had this name, and may have filled another claim.
        said = read_report(pod_.last_words) if pod_.job_uid == made.uid and pod_.exit_code == 0 else None
        if isinstance(said, Prefetched) and COMMIT.fullmatch(said.commit) and _is_ours(said.cache):
            return Cached(said.commit, said.cache)
    return None


def _is_ours(folder: str) -> bool:
    """Whether a folder is in the cache: what a pod says is not believed blindly."""
    return f"{folder}/".startswith(f"{names.DATA}/") and ".." not in folder.split("/")


def useless(observed: Observed, prefetch: Prefetch) -> bool:
    """Whether the Job can tell nothing any more, and is to be made anew.

    Its pod, and so its report, is gone; or it waits for a node that nobody holds the claim on any more.
    """
    job = observed.children.get(("Job", prefetch.job))
    if prefetch.cached is not None or not isinstance(job, JobFacts):
        return False
    pods = [pod_ for pod_ in observed.pods if pod_.job_uid == job.uid]
    left = job.beside and not observed.held and any(pod_.unschedulable for pod_ in pods)
    return left or (job.succeeded and not pods)


def basis(observed: Observed) -> Hashable:
    """What the prefetch looks at beyond the server, its records and its claim's modes."""
    if _recorded(observed):
        return None
    claim, deployment = observed.claim, observed.deployment
    return (
        frozenset((pod_.job_uid, pod_.last_words) for pod_ in observed.pods if pod_.exit_code == 0),
        frozenset((child.uid, child.owner) for child in observed.children.values() if child.kind == "Job"),
        claim.phase if claim else None,
        deployment.record if deployment else None,
        observed.held,
    )


def _digest(server: VLLMServer, image: Image) -> str:
    """Digest of all that decides the Job: a Job cannot be changed, so another one is made."""
    fields = {
        *("image_pull_policy", "image_pull_secrets", "extra_env", "proxy", "node_selector", "tolerations"),
        *("affinity", "priority_class_name", "service_account_name", "device", "resources"),
        *("pod_labels", "pod_annotations"),
    }
    include: dict[str, Any] = dict.fromkeys(fields, True)
    include["model"] = {"name", "revision", "token_secret_ref", "hub_endpoint", "trust_remote_code"}
    include["cache"] = {"claim_name", "fs_group"}
    include["rollout"] = {"refresh"}
    include["gaudi"] = {"generation"}
    deciding = server.spec.model_dump(mode="json", include=include, exclude_none=True, exclude_defaults=True)
    text = json.dumps(
        [deciding, image.image, engine.load_format(server.spec.extra_args or ())], sort_keys=True
    )
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def manifests(observed: Observed, image: Image, job: str, defaults: Defaults) -> list[Manifest]:
    """The Job and its program.

    Raises StalledError(InvalidForEngine).
    """
    server, spec = observed.server, observed.server.spec
    work = jobs.Work(
        component=names.PREFETCH,
        program="prefetch",
        arguments=_arguments(server),
        environment=engine.prefetch_environment(spec),
        resources=jobs.of_a_download(observed, spec.resources),
        placement=_placement(observed, defaults),
        retries=jobs.RETRIES,
    )
    return [jobs.program(server, work.program, names.PREFETCH), jobs.job(server, job, image, work, defaults)]


def _arguments(server: VLLMServer) -> list[str]:
    model, format_ = server.spec.model, engine.load_format(server.spec.extra_args or ())
    words = [model.name]
    if model.revision is not None:
        words += ["--revision", model.revision]
    if format_ is not None:
        words += ["--load-format", format_]
    return [*words, "--trust-remote-code"] if model.trust_remote_code else words


def _placement(observed: Observed, defaults: Defaults) -> dict[str, Any]:
    """Where the Job may run: as the server, where cards are; or beside the pods that hold the claim."""
    server, claim = observed.server, observed.claim
    fields = jobs.single(server, defaults)
    fields = jobs.without_cards(fields, defaults, gaudi=server.spec.device == "gaudi")
    if observed.held and not (claim and "ReadWriteMany" in claim.access_modes):
        # They have a node, or soon will. What has come into the spec since could only keep the Job from it.
        for field in ("nodeSelector", "affinity"):
            fields.pop(field, None)
        jobs.beside(fields, {"matchLabels": names.selector(server.name)})
    return fields
