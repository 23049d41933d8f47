"""What a claim must be like for more than one pod to use it."""

from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.api.seen import ClaimFacts


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
