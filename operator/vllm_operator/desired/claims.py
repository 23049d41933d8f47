"""The claim of a cache: the one that is made, and what any must be like for more than one pod to use it."""

from vllm_operator.api.observed import Observed
from vllm_operator.api.quantity import exact
from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.api.seen import ClaimFacts, Manifest
from vllm_operator.desired import names
from vllm_operator.desired.metadata import metadata
from vllm_operator.desired.render import render


def check(claim: ClaimFacts | None, path: str) -> None:
    """Raise StalledError(CacheNotShareable) for a claim that only one pod can ever mount.

    `path` is that of the field that names it.
    """
    if claim is not None and claim.access_modes == ("ReadWriteOncePod",):
        raise StalledError(
            Reason.CACHE_NOT_SHAREABLE,
            f"Claim {claim.name} is ReadWriteOncePod: a second pod (rollout, replica, prefetch) could "
            f"never mount it. Give {path} one that is ReadWriteOnce or ReadWriteMany",
        )


def manifests(observed: Observed) -> list[Manifest]:
    """The claim of the cache, unless one was given; a retained one has no owner and outlives its server."""
    server, cache = observed.server, observed.server.spec.cache
    if cache.size is None:
        return []
    size = cache.size
    if observed.claim is not None and exact(observed.claim.size) > exact(size):
        size = observed.claim.size  # a claim cannot shrink; one that was retained may be larger
    return [
        render(
            "persistentvolumeclaim",
            metadata=metadata(server, names.claim(server), owned=cache.retention == "Delete"),
            access_modes=cache.access_modes or ["ReadWriteOnce"],
            storage_class_name=cache.storage_class_name,
            size=size,
        )
    ]
