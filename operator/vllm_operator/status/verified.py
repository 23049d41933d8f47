"""Whether a server answers as a client would see it. It decides nothing else."""

from collections.abc import Mapping

from vllm_operator.api.observed import Observed
from vllm_operator.api.reasons import Reason
from vllm_operator.api.seen import Answer, Question
from vllm_operator.desired import names
from vllm_operator.status.conditions import Transition, Verdict
from vllm_operator.status.view import View

STATUS: Mapping[Reason, bool | None] = {
    Reason.ANSWERS: True,
    Reason.KEY_REQUIRED: None,
    Reason.UNREACHABLE: None,
    Reason.MODEL_NOT_SERVED: False,
    Reason.NOT_ANSWERING: False,
}
"""What each says of the server; None where it was not reached, or not asked to the end."""


def question(view: View) -> Question | None:
    """What a server is to be asked: once every pod is of the revision aimed at, and one answers."""
    deployment, model = view.deployment, view.server.spec.model
    if not view.server.spec.verify or deployment is None or not deployment.ready_replicas:
        return None
    if not deployment.rolled_out(view.target.record):
        return None
    name = (model.served_names or [model.name])[0]
    return Question(names.url(view.server), name, view.target.record)


def kept(observed: Observed, previous: Transition | None) -> Verdict | None:
    """What an earlier answer has said, while children cannot be made and nobody is asked anew."""
    deployment = observed.deployment
    if not observed.server.spec.verify or deployment is None or not deployment.ready_replicas:
        return None
    return _told(names.url(observed.server), previous)


def judge(view: View, answer: Answer | None, previous: Transition | None) -> Verdict | None:
    """What the last answer says, or what an earlier one has said; None before there is one.

    Each answer takes another time: the message keeps that of the first one of its kind, so that neither
    asking again nor a restart of the operator writes anything.
    """
    asked = question(view)
    if asked is None:
        return None
    told = _told(asked.url, previous)
    if told is not None and (answer is None or answer.reason is told.reason):
        return told
    if answer is None:
        return None
    return Verdict(STATUS[answer.reason], answer.reason, f"{answer.detail}{_remedy(view, answer.reason)}")


def _told(url: str, previous: Transition | None) -> Verdict | None:
    # What was said of another address is not said of this one.
    if previous is None or f"{url}/" not in previous.message:
        return None
    said = next((reason for reason in STATUS if previous.reason == reason), None)
    return Verdict(STATUS[said], said, previous.message) if said is not None else None


def _remedy(view: View, reason: Reason) -> str:
    off = view.kubectl(f'patch vllm {view.server.name} --type=merge -p \'{{"spec":{{"verify":false}}}}\'')
    if reason is Reason.UNREACHABLE:
        return (
            ". The pods pass their own probes, so the way there is closed: let the operator's pods through "
            "the NetworkPolicies of this namespace (an operator outside of the cluster has no way there: "
            f"start it with VLLM_OPERATOR_VERIFY=false), or do not ask: {off}"
        )
    if reason is Reason.NOT_ANSWERING:
        return f". See {view.kubectl(f'logs deployment/{names.deployment(view.server.name)} --tail=50')}"
    if reason is Reason.MODEL_NOT_SERVED:
        return ". Clients ask by the names in spec.model.servedNames, or spec.model.name"
    return ""
