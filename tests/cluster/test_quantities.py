"""The API server stores quantities exactly as `canonical` writes them."""

import random

from tests.harness import manifests
from tests.harness.api import Api
from vllm_operator.api.quantity import canonical, exact

SUFFIXES = ["", *"numkMGTPE", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "E-2", "e+7"]
EDGES = [
    "0",
    "0Gi",
    "0.0",
    "0.5n",
    "1.5",
    ".5",
    "5.",
    "007",
    "1000m",
    "2048Mi",
    "0.1Gi",
    "1E",
    "1e3",
    "0.5Ki",
]
EDGES += ["1Ei", "0.9Ei", "9e17", "1023Pi"]


def numbers(count: int) -> list[str]:
    chance = random.Random(20260101)
    found = list(EDGES)
    while len(found) < count:
        whole = str(chance.choice([0, 1, 512, 1000, 1024, chance.randrange(10 ** chance.randrange(1, 12))]))
        part = chance.choice(
            ["", "", ".", f".{chance.randrange(10**3):03}", f".{chance.randrange(10**9):09}", ".5"]
        )
        text = whole + part + chance.choice(SUFFIXES)
        found += [text] * (exact(text) <= 2**60)  # larger ones the API refuses
    return found


def test_quantities_in_resource_lists_come_back_as_we_write_them(api: Api, namespace: str) -> None:
    """Limits, requests and the size of a claim."""
    given = numbers(400)

    def stored(words: list[str]) -> list[str]:
        most = {f"example.com/r{n}": word for n, word in enumerate(words)}
        limits = {
            "apiVersion": "v1",
            "kind": "LimitRange",
            "metadata": {"name": "fuzz", "namespace": namespace},
            "spec": {"limits": [{"type": "Container", "max": most}]},
        }
        answer = api.create(limits, dry_run=True)["spec"]["limits"][0]["max"]
        return [answer[name] for name in most]

    ours = [canonical(word) for word in given]
    check(ours, stored(ours))
    # What others wrote, such as a claim of an earlier server, has the same value (but `1e3` stays so).
    check(ours, [canonical(word) for word in stored(given)])


def test_quantities_of_volumes_come_back_as_we_write_them(api: Api, namespace: str) -> None:
    """The size of /dev/shm."""
    ours = [canonical(word) for word in numbers(200)]
    pod = manifests.pod(namespace, "fuzz")
    pod["spec"]["volumes"] = [
        {"name": f"v{n}", "emptyDir": {"sizeLimit": word}} for n, word in enumerate(ours)
    ]
    stored = api.create(pod, dry_run=True)["spec"]["volumes"]
    by_name = {volume["name"]: volume["emptyDir"]["sizeLimit"] for volume in stored if "emptyDir" in volume}
    check(ours, [by_name[f"v{n}"] for n in range(len(ours))])


def check(ours: list[str], theirs: list[str]) -> None:
    assert [pair for pair in zip(ours, theirs, strict=True) if pair[0] != pair[1]] == []
