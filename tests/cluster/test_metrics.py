"""What the operator counts, held against what the API server knows."""

from collections import Counter
from datetime import datetime

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster import quantizing, support
from tests.harness.api import Api
from tests.harness.audit import Audit
from tests.harness.operator import OperatorProcess

Labels = dict[str, str]
AUDITED = {"APPLY": "patch", "PATCH": "patch", "POST": "create", "PUT": "update", "DELETE": "delete"}


def samples(operator: OperatorProcess, name: str) -> list[tuple[Labels, float]]:
    """Return all series of a name, as Prometheus reads them."""
    answer = httpx.get(f"http://127.0.0.1:{operator.health_port}/metrics", timeout=10.0, trust_env=False)
    return [
        (sample.labels, sample.value)
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
        if sample.name == name
    ]


def value(operator: OperatorProcess, name: str, **labels: str) -> float:
    """Return the sum of the series that have these labels."""
    return sum(
        found for own, found in samples(operator, name) if all(own.get(k) == v for k, v in labels.items())
    )


def counted(operator: OperatorProcess) -> Counter[tuple[str, str]]:
    """Return how many writes of each verb, as the audit log calls it, were answered by each code."""
    result: Counter[tuple[str, str]] = Counter()
    for labels, count in samples(operator, "vllm_operator_api_requests_total"):
        if labels["verb"] in AUDITED:
            result[AUDITED[labels["verb"]], labels["code"]] += int(count)
    return result


def test_every_write_is_counted_with_its_verb_and_code(
    api: Api, namespace: str, operator: OperatorProcess, audit: Audit
) -> None:
    support.put(api, support.server(namespace))
    support.put(api, support.server(namespace, "other"))
    support.wait_serving(api, namespace)
    api.delete("VLLMServer", namespace, "other")
    support.wait_at_rest(audit, operator, namespace)

    def agree() -> bool:
        """Hold both against each other once the Lease has been renewed, which it may be between two looks."""
        made = Counter((each.verb, str(each.code)) for each in audit.writes(operator.user, leases=True))
        return ("update", "200") in made and made == counted(operator)

    api.wait_for(agree, message="the operator's own count is that of the audit log")
    assert counted(operator)["patch", "201"] >= 5
    # A child is looked for before it is made.
    assert value(operator, "vllm_operator_api_requests_total", verb="GET", code="404") >= 5


def test_resources_are_counted_by_what_they_say(api: Api, namespace: str, operator: OperatorProcess) -> None:
    support.put(api, support.server(namespace))
    support.put(api, support.server(namespace, "broken", life="crash"))
    support.wait_serving(api, namespace)
    support.wait_condition(api, namespace, "broken", "CrashLooping", "False")
    conditions = "vllm_operator_conditions"

    def told() -> bool:
        serving = value(operator, conditions, kind="VLLMServer", condition="Ready", reason="Serving")
        failing = value(operator, conditions, kind="VLLMServer", condition="Ready", reason="CrashLooping")
        return (serving, failing) == (1, 1)

    api.wait_for(told, message="one server serves, and one does not start")
    assert value(operator, "vllm_operator_resources", kind="VLLMServer") == 2
    done = value(operator, "vllm_operator_reconciles_total", kind="VLLMServer", result="done")
    waiting = value(operator, "vllm_operator_reconciles_total", kind="VLLMServer", result="waiting")
    assert done + waiting > 0
    took = value(operator, "vllm_operator_reconcile_duration_seconds_count", kind="VLLMServer")
    assert took >= done + waiting


def test_a_calibration_is_counted_once_whatever_restarts(
    api: Api, namespace: str, operator: OperatorProcess, audit: Audit
) -> None:
    count = "vllm_operator_calibration_duration_seconds_count"
    quantizing.make_claim(api, namespace)
    support.put(api, quantizing.quantization(namespace))
    status = quantizing.wait_ready(api, namespace)["status"]
    support.wait_at_rest(audit, operator, namespace)
    assert value(operator, count) == 1
    took = datetime.fromisoformat(status["completionTime"]) - datetime.fromisoformat(status["startTime"])
    assert value(operator, "vllm_operator_calibration_duration_seconds_sum") == took.total_seconds()
    assert operator.restart() == 0
    support.wait_reconciles(api, operator, 1)
    support.wait_at_rest(audit, operator, namespace)
    assert value(operator, count) == 0
