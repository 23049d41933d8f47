"""Prometheus by itself finds servers and operators as the pages say: its own discovery, on the cluster."""

import json
from pathlib import Path

import yaml

from tests.cluster import support
from tests.harness import helm, promql
from tests.harness.api import Api, Object
from tests.harness.operator import Cluster, OperatorProcess
from tests.unit.test_docs import DOCS, blocks

SECONDS = 5
"""For how long promtool looks, each time."""


def found(cluster: Cluster, folder: Path, page: str, namespace: str) -> list[dict[str, str]]:
    """Return the labels of the targets in a namespace that a page's scrape configuration leads to."""
    (block,) = (each for each in blocks(DOCS / page) if each.startswith("scrape_configs:"))
    config = yaml.safe_load(block)
    (scrape,) = config["scrape_configs"]
    (discovery,) = scrape["kubernetes_sd_configs"]
    discovery |= {"kubeconfig_file": str(cluster.kubeconfig), "namespaces": {"names": [namespace]}}
    file = folder / "prometheus.yaml"
    file.write_text(yaml.safe_dump(config))
    done = promql.promtool("check", "service-discovery", f"--timeout={SECONDS}s", file, scrape["job_name"])
    assert done.returncode == 0, done.stderr
    labels = [each["labels"] for each in json.loads(done.stdout) if each["labels"]]
    return [{name: value for name, value in each.items() if not name.startswith("__")} for each in labels]


def address(pod: Object, port: int) -> str:
    return f"{pod['status']['podIP']}:{port}"


def test_servers_are_found(
    api: Api, namespace: str, cluster: Cluster, operator: OperatorProcess, tmp_path: Path
) -> None:
    """With the labels that dashboards, alerts and autoscalers ask for, and without the pods beside them."""
    support.put(api, support.server(namespace, prefetch=True, microservice={"enabled": True}))
    support.wait_serving(api, namespace)
    support.wait_condition(api, namespace, "chat", "Serving", "True", kind="MicroserviceReady")
    labels = "vllm-operator.dev/server=chat,app.kubernetes.io/component=server"
    (pod,) = api.list("Pod", namespace, labels=labels)
    (target,) = api.wait_for(lambda: found(cluster, tmp_path, "tasks/monitoring.md", namespace))
    assert target == {
        "job": f"{namespace}/chat",
        "instance": address(pod, 8000),
        "namespace": namespace,
        "pod": pod["metadata"]["name"],
        "vllm_operator_dev_server": "chat",
    }
    assert target.keys() == promql.of_servers()


def test_operators_are_found(api: Api, namespace: str, cluster: Cluster, tmp_path: Path) -> None:
    """The pod of `helm test` has no metrics, and a stranger's are not the operator's."""
    objects = helm.render({})
    operator, test = helm.only(objects, "Deployment")["spec"]["template"], helm.only(objects, "Pod")
    for name, pod in {"operator": operator, "test": test, "stranger": {**operator, "metadata": {}}}.items():
        metadata = {"name": name, "namespace": namespace, "labels": pod["metadata"].get("labels")}
        # The chart's account is not of this namespace.
        spec = {**pod["spec"], "serviceAccountName": "default"}
        api.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        api.wait_object("Pod", namespace, name, lambda obj: bool(obj["status"].get("podIP")))
    (target,) = api.wait_for(lambda: found(cluster, tmp_path, "metrics.md", namespace))
    instance = address(support.child(api, namespace, "Pod", "operator"), 8080)
    assert target == {
        "job": "vllm-operator",
        "instance": instance,
        "namespace": namespace,
        "pod": "operator",
    }
    assert target.keys() == promql.OF_TARGETS
