"""Cases of the name, the model, the engine and its knobs."""

from collections.abc import Iterator

from tests.cases.builders import bounds, choices, lists, optional, required, things, truths, words
from tests.cases.rules import (
    CONTROLS,
    DOTS,
    EMOJI,
    ENGINE,
    MAX_INT,
    NAMES,
    RESERVED,
    REVISION,
    data_keys,
    object_names,
)
from tests.cases.table import REMOVED, Case, accept, refuse


def names() -> Iterator[Case]:
    for name in ("a", "a1", "a-b-2", "a" * 40, "llm", "prefetch", "fp8q", "x-llm-1"):
        yield accept(f"name {name}", {"metadata.name": name}, rule=NAMES)
    for name in ("a" * 41, "1a", "0", "a.b", "a-", "-a", "A", "a_b", "ä", ""):
        yield refuse(f"name {name!a}", {"metadata.name": name}, "metadata.name", rule=NAMES)
    for name in ("x-fp8q", "x-llm", "x-prefetch"):
        yield refuse(f"name {name}", {"metadata.name": name}, "metadata.name", rule=RESERVED)
    for name in ("x-llms", "xfp8q", "x-fp8q-1"):
        yield accept(f"name {name}", {"metadata.name": name}, rule=RESERVED)


def model() -> Iterator[Case]:
    name, revision = "spec.model.name", "spec.model.revision"
    here = {revision: REMOVED}
    for good in ("gpt2", "a/b", "A_b.c-d/E.f", "_a", "0/1"):
        yield accept(f"model {good}", {name: good}, rule=DOTS)
    for good in (
        "/data/a",
        "/data/a/b.c/d e",
        "/data/...",
        "/data/.a/a..b",
        f"/data/{EMOJI}",
        "/data/\x85\x9f\ufeff",
    ):
        yield accept(f"model {good!a}", {name: good} | here, rule=DOTS)
    bad = (
        "",
        "/",
        "/data",
        "/data/",
        "/data//a",
        "/etc/passwd",
        "/database/a",
        "/data/a\nb",
        "/data/a\x7f",
        "/data/a/",
    )
    for text in (
        *bad,
        "a/b/c",
        "a b",
        "a:b",
        "-a",
        "a/-b",
        ".a",
        "a/.b",
        "https://a/b",
        "a\n",
        "$HOME",
        "{{a}}",
        "a/",
        "/a",
    ):
        yield refuse(f"model {text!a}", {name: text} | here, name, covers=[(name, "pattern")])
    for dots in (
        "/data/..",
        "/data/../etc",
        "/data/a/../b",
        "/data/.",
        "/data/./a",
        "/data/a/.",
        "/data/a/..",
    ):
        yield refuse(f"model {dots}", {name: dots} | here, "spec.model", rule=DOTS)
    yield accept("model name of 512", {name: "a" * 512})
    yield refuse("model name of 513", {name: "a" * 513}, name, covers=[(name, "maxLength")])
    yield refuse("model name a number", {name: 1}, name, covers=[(name, "type")])
    yield refuse("path and revision", {name: "/data/a"}, "spec.model", rule=REVISION)
    yield accept("path without revision", {name: "/data/a"} | here, rule=REVISION)
    good_revisions = ("main", "refs/pr/1", "v1.0", "0e9e39f249a16976918f6564b8830bc894c89659", "_a")
    bad_revisions = ("-a", "--a", ".a", "/a", "a b", "a\n", "a;b", "ä", "$(a)")
    yield from words(revision, longest=255, good=good_revisions, bad=bad_revisions)
    yield from truths("spec.model.trustRemoteCode")
    yield from object_names("spec.model.tokenSecretRef.name")
    yield from data_keys("spec.model.tokenSecretRef.key")


def hub() -> Iterator[Case]:
    path = "spec.model.hubEndpoint"
    good = (
        "http://hub",
        "https://hub.example:8443/a/b",
        "https://[::1]:8080",
        "https://hub.example/",
        "http://ä",
    )
    bad = ("hub.example", "ftp://hub", "https://", "https:///a", "//hub", "HTTPS://hub", "https:/hub")
    worse = (
        "https://u:p@hub",
        "https://u@hub/a",
        "https://hub?a",
        "https://hub/a?b",
        "https://hub#a",
        "https://hub/a#b",
    )
    worst = ("https://hub\n", "https://hub/a b", " https://hub", "https://hub/@", "https://\x00")
    fill = "https://" + "a" * 512
    yield from words(path, longest=512, good=good, bad=(*bad, *worse, *worst), fill=fill)
    yield from optional(path)


def offline() -> Iterator[Case]:
    yield from truths("spec.model.offline")
    yield from optional("spec.model.offline")


def chat_template() -> Iterator[Case]:
    path = "spec.model.chatTemplate"
    reference = f"{path}.configMapKeyRef"
    yield from optional(path)
    yield from required(reference, f"{reference}.name", f"{reference}.key")
    yield from object_names(f"{reference}.name")
    yield from data_keys(f"{reference}.key")
    yield from things(path)
    yield from things(reference)


def served_names() -> Iterator[Case]:
    path = "spec.model.servedNames"
    yield from lists(path, lambda n: f"name-{n}", 16, empty=False)
    good = ("a", "a b", "{{ a }}", "ä", EMOJI, "a-", "\x85", "a" + CONTROLS[3:], "no", "1", "\u00a0", "$(A)")
    bad = ("-a", "--port", " a", "\ta", "a\n", "a\x00", "a\x7f", "a\x1b")
    yield from words(f"{path}.0", longest=512, good=good, bad=bad)
    yield refuse(
        "served names repeat", {path: ["a", "b", "a"]}, path, covers=[(path, "x-kubernetes-list-type")]
    )
    yield accept("served names differ by case", {path: ["a", "A"]})


def device() -> Iterator[Case]:
    yield from choices("spec.device", "cpu")
    yield from choices("spec.engine.family", "vllm")


def images(path: str) -> Iterator[Case]:
    """References of images."""
    good = ("a", "registry:5000/a/b:c", "a@sha256:0123", "A_b.c")
    bad = ("-a", ":a", "a b", "a\n", "a;b", "$(a)", "ä", "/a")
    yield from words(path, longest=512, good=good, bad=bad)


def engine() -> Iterator[Case]:
    good, bad = (
        ("0.32", "0.32.0", "10.0"),
        ("0", "v0.32", "0.32.0.1", "0.32rc1", "0.32\n", "0..32", ".32", "\u0660.\u0663"),
    )
    yield from words("spec.engine.version", longest=32, good=good, bad=bad, fill="0." + "1" * 40)
    yield refuse("image without engine", {"spec.engine": REMOVED}, "spec", rule=ENGINE)
    yield refuse("image and a null engine", {"spec.engine": None}, "spec", rule=ENGINE)
    yield accept("engine without image", {"spec.image": REMOVED}, rule=ENGINE)
    yield accept("neither image nor engine", {"spec.image": REMOVED, "spec.engine": REMOVED}, rule=ENGINE)
    yield from images("spec.image")
    yield from choices("spec.imagePullPolicy", "Always", "IfNotPresent", "Never")
    yield from lists("spec.imagePullSecrets", lambda n: {"name": f"s-{n}"}, 8)
    yield from object_names("spec.imagePullSecrets.0.name")
    secrets = {"spec.imagePullSecrets": [{"name": "a"}, {"name": "a"}]}
    covers = [("spec.imagePullSecrets", "x-kubernetes-list-type")]
    yield refuse("pull secrets repeat", secrets, "spec.imagePullSecrets", covers=covers)


def engine_args() -> Iterator[Case]:
    args = "spec.engineArgs"
    yield from choices(f"{args}.dtype", "auto", "bfloat16", "float16", "float32")
    for field in ("maxModelLen", "maxNumSeqs", "maxNumBatchedTokens"):
        yield from bounds(f"{args}.{field}", 1, MAX_INT)
    yield from bounds(f"{args}.blockSize", 1, 4096)
    yield from bounds(f"{args}.gpuMemoryUtilization", 0.0, 1.0, 0.0625, open_below=True)
    yield accept("a whole share", {f"{args}.gpuMemoryUtilization": 1})
    yield from bounds(f"{args}.seed", 0, 2**32 - 1)
    yield from truths(f"{args}.enablePrefixCaching")
    yield from truths(f"{args}.enforceEager")
    kinds, bad = ("auto", "fp8_e5m2"), ("FP8", "fp8-e5m2", "-q", "fp8\n", "fp8 x")
    yield from words(f"{args}.kvCacheDtype", longest=64, good=kinds, bad=bad)
    for ranks in ("spec.tensorParallelSize", "spec.pipelineParallelSize"):
        yield from bounds(ranks, 1, 64)
        yield refuse(f"{ranks}: half a rank", {ranks: 1.5}, ranks)
