"""What a server's children say, as a flat map from places to values: what the leaf table speaks of.

Only what somebody has to decide is in it: neither identities, nor times, nor what the API server allots.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from tests.campaign.table import GONE, Gone
from tests.cluster.support import RECORD_LABEL
from tests.harness.api import Api, Object

View = dict[str, Any]

NAME = "chat"
CHILDREN = {
    "deployment": ("Deployment", NAME),
    "service": ("Service", NAME),
    "claim": ("PersistentVolumeClaim", f"{NAME}-cache"),
    "budget": ("PodDisruptionBudget", NAME),
    "autoscaler": ("HorizontalPodAutoscaler", NAME),
    "monitor": ("PodMonitor", NAME),
    "account": ("ServiceAccount", f"{NAME}-vllm"),
    "llm": ("Deployment", f"{NAME}-llm"),
    "llm-service": ("Service", f"{NAME}-llm"),
    "llm-budget": ("PodDisruptionBudget", f"{NAME}-llm"),
    "llm-policy": ("NetworkPolicy", f"{NAME}-llm"),
    "policy": ("NetworkPolicy", NAME),
    "prefetchPolicy": ("NetworkPolicy", f"{NAME}-prefetch"),
}
_ALLOTTED = {
    "Deployment": {"template"},
    "PersistentVolumeClaim": {"volumeName"},
    "Service": {
        *("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "sessionAffinity"),
        *("allocateLoadBalancerNodePorts", "externalTrafficPolicy", "internalTrafficPolicy"),
    },
}
_STATUS = ("image", "precision", "url")
_LISTS_BY_NAME = {"env": "name", "volumes": "name", "volumeMounts": "name"}


def view(api: Api, namespace: str, server: Object) -> View:
    """Read all children of the campaign's server in a namespace."""
    found: View = {}
    for prefix, (kind, name) in CHILDREN.items():
        obj = api.get(kind, namespace, name)
        if obj is not None and "deletionTimestamp" not in obj["metadata"]:
            found |= flat(prefix, _decided(kind, obj))
            if prefix == "llm":
                found |= flat(f"{prefix}.pod", obj["spec"]["template"]["spec"])
            elif kind == "Deployment":
                found |= _template(obj["spec"]["template"])
    status = {field: server["status"][field] for field in _STATUS if field in server.get("status", {})}
    found |= flat("status", status)
    return {place: _anywhere(value, namespace) for place, value in found.items()}


def flat(place: str, value: Any) -> View:
    """Every scalar of a value by its place."""
    return dict(_walk(place, value))


def difference(before: View, after: View) -> View:
    """The places at which two views differ, with the value after; GONE where there is none."""
    places = sorted(before.keys() | after.keys())
    return {
        place: after.get(place, GONE) for place in places if before.get(place, GONE) != after.get(place, GONE)
    }


def expected(base: View, seen: Mapping[str, Any]) -> View:
    """The differences that a row tells of, place by place: a GONE stands for all that the base has there."""
    found: View = {}
    for place, value in seen.items():
        if not isinstance(value, Gone):
            continue
        below = [each for each in base if each == place or each.startswith(f"{place}.")]
        assert below, f"the base has nothing at {place}"
        found |= dict.fromkeys(below, GONE)
    for place, value in seen.items():
        if not isinstance(value, Gone):
            found |= flat(place, value)
    return found


def _walk(place: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _walk(f"{place}.{key}", item)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(f"{place}.{index}", item)
    else:
        yield place, value


def _decided(kind: str, obj: Object) -> Object:
    spec = {key: value for key, value in obj.get("spec", {}).items() if key not in _ALLOTTED.get(kind, ())}
    for port in spec.get("ports", ()) if kind == "Service" else ():
        port.pop("nodePort", None)
    owners = [f"{owner['kind']} {owner['name']}" for owner in obj["metadata"].get("ownerReferences", ())]
    decided: Object = {"spec": spec}
    if owners:
        decided["owner"] = " ".join(owners)
    if kind == "Service":
        decided["annotations"] = obj["metadata"].get("annotations", {})
    if kind == "PodMonitor":
        decided["labels"] = obj["metadata"]["labels"]
    if kind == "ServiceAccount":
        decided["automountServiceAccountToken"] = obj.get("automountServiceAccountToken")
    return decided


def _template(template: Object) -> View:
    labels = dict(template["metadata"]["labels"])
    pod = dict(template["spec"])
    (container,) = (dict(each) for each in pod.pop("containers"))
    pod.pop("serviceAccount", None)  # an older name of serviceAccountName, which the API server fills in
    arguments, environment = container.pop("args"), container.pop("env")
    recipes = _recipes(environment)
    return (
        {"record": labels.pop(RECORD_LABEL)}
        | recipes
        | flat("labels", labels)
        | flat("annotations", template["metadata"].get("annotations", {}))
        | flat("pod", by_name(pod))
        | flat("container", by_name(container))
        | flat("env", {each.pop("name"): each for each in environment})
        | _arguments(arguments)
    )


def _recipes(environment: list[Object]) -> View:
    """The name of the folder for compiled graphs, which is taken out of its variable."""
    for each in environment:
        if each["name"] == "PT_HPU_RECIPE_CACHE_CONFIG":
            folder, *rest = each["value"].split(",")
            above, _, name = folder.rpartition("/")
            each["value"] = ",".join([f"{above}/FOLDER", *rest])
            return {"recipes": name}
    return {}


def by_name(part: Object) -> Object:
    """Some lists as maps, so that a place does not hang on an order that decides nothing."""
    return {
        key: {item[_LISTS_BY_NAME[key]]: item for item in value} if key in _LISTS_BY_NAME else value
        for key, value in part.items()
    }


def _arguments(words: list[str]) -> View:
    """The words of `vllm serve`: the model, and each flag with the words that follow it."""
    model, *rest = words
    found: View = {"args.model": model}
    flag = ""
    for word in rest:
        if word.startswith("-"):
            flag = f"args.{word}"
            assert flag not in found, f"{word} comes twice"
            found[flag] = ""
        else:
            found[flag] = f"{found[flag]} {word}".strip()
    return found


def _anywhere(value: Any, namespace: str) -> Any:
    return value.replace(namespace, "NAMESPACE") if isinstance(value, str) else value
