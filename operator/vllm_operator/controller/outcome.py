"""The three kinds of errors, and the one place that tells them apart.

Stalled: a user must act, and there is no retry (`api.reasons.StalledError`). Waiting: normal, look again
later. Anything else is a passing fault and backs off.
"""

import json
from collections.abc import Collection

from vllm_operator.api.meta import InvalidObjectError
from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.api.seen import Refusal
from vllm_operator.status.conditions import Verdict

# What we cannot watch (an object that is not ours, a quota) may still mend itself.
STALLED_RECHECK_SECONDS = 60.0

APPLY_CRDS = "kubectl apply --server-side --force-conflicts -f crds/"


class ApiError(Exception):
    """The API server refused a request.

    `status` is the HTTP status code, `retry_after` the seconds that it asked us to wait, `fields` the
    paths of what it found wrong, and `causes` the reasons that it gives for that, by their fixed names. A
    message also holds values, which are anybody's words: nothing may be decided by what occurs in it.
    """

    def __init__(
        self,
        status: int,
        message: str,
        retry_after: float = 0.0,
        fields: Collection[str] = (),
        causes: Collection[str] = (),
    ) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message
        self.retry_after = retry_after
        self.fields = frozenset(fields)
        self.causes = frozenset(causes)

    @classmethod
    def read(cls, status: int, body: bytes, retry_after: str) -> "ApiError":
        """The error in an answer of the API server, or of a proxy on the way to it."""
        try:
            answer = json.loads(body)
            message = answer["message"]
            causes = (answer.get("details") or {}).get("causes") or ()
        except (ValueError, KeyError, TypeError, AttributeError):
            message, causes = body.decode(errors="replace")[:1000], ()
        seconds = float(retry_after) if retry_after.isdecimal() else 0.0
        fields, reasons = ({cause.get(key, "") for cause in causes} for key in ("field", "reason"))
        return cls(status, message, seconds, fields, reasons)


PASSING = (ApiError, OSError, TimeoutError)
"""What a request may end in that another one may not."""


class WaitingError(Exception):
    """Nothing is wrong, and nothing can be done before something else has happened.

    Look again after `seconds`, if no event comes before.
    """

    def __init__(self, reason: Reason, message: str, seconds: float) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.seconds = seconds


_REJECTIONS = frozenset({400, 403, 422})
_GOING = "NamespaceTerminating"
"""The cause of a refused create where the namespace is in deletion: NamespaceTerminatingCause in
k8s.io/api v0.36.3, core/v1/types.go. The resource goes with it, so there is nothing to tell its user."""
_UNFIT = ("failed to create typed patch object", "failed to convert new object")
"""How the API server speaks, with code 500, of an applied object that does not fit its schema: a field that
its version does not know, a key that comes twice."""


def rejected(child: str, error: ApiError) -> StalledError | None:
    """What a refused write of a child means for its server: Stalled, or None for a passing fault."""
    if _GOING in error.causes:
        return None
    if error.status not in _REJECTIONS and not unfit(error):
        return None
    return StalledError(Reason.CHILD_REJECTED, refusal(child, error))


def unfit(error: ApiError) -> bool:
    """Whether the API server's schema does not know what was sent."""
    return error.status == 500 and error.message.startswith(_UNFIT)


def refusal(child: str, error: ApiError) -> str:
    """What to say of a child that the API server refused."""
    words = error.message.strip().removesuffix(".")
    return (
        f"{child} was refused by the API server: {words}. Mend what it names, or change the spec; it is "
        "tried again every minute"
    )


NO_POD_MONITOR = Refusal(
    Reason.POD_MONITOR_NOT_INSTALLED,
    "The cluster knows no PodMonitor (monitoring.coreos.com/v1): install the Prometheus Operator and "
    "its CRDs, or take spec.monitoring.podMonitor out. It is looked for every minute: "
    "`kubectl get crd podmonitors.monitoring.coreos.com`",
)


def verdict(error: StalledError | WaitingError) -> Verdict:
    """What an error says to the user."""
    return Verdict(False, error.reason, error.message, stalled=isinstance(error, StalledError))


def recheck_seconds(error: StalledError | WaitingError) -> float:
    """When to look again, if no event comes before."""
    return error.seconds if isinstance(error, WaitingError) else STALLED_RECHECK_SECONDS


def invalid(error: InvalidObjectError) -> StalledError:
    """What an object that cannot be parsed means for itself."""
    return StalledError(Reason.INVALID_SPEC, "; ".join(error.problems))
