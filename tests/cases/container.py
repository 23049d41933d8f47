"""Cases of arguments, environment, threads and resources."""

from collections.abc import Iterator

from tests.cases.builders import bounds, lists, quantities, required, truths, words
from tests.cases.rules import (
    CONTROLS,
    EMOJI,
    GAUDI,
    KV_CACHE,
    ONE_SOURCE,
    ONE_VALUE,
    OWNED_FLAG,
    OWNED_VARIABLE,
    RESERVED_CORES,
    RESOURCE_NAME,
    data_keys,
    object_names,
)
from tests.cases.table import REMOVED, Case, accept, refuse
from vllm_operator.api.owned import OWNED_FLAGS, OWNED_VARIABLES


def extra_args() -> Iterator[Case]:
    path = "spec.extraArgs"
    first = f"{path}.0"
    yield from lists(path, str, 64)
    yield from words(
        first, longest=4096, good=("a", CONTROLS, EMOJI, "a\nb", "{{ a }}", "$(A)"), bad=NULS, empty=True
    )
    yield from (accept(f"argument {word}", {first: word}, rule=OWNED_FLAG) for word in FREE_ARGUMENTS)
    for flag in dict.fromkeys((*PROMISED_FLAGS, *OWNED_FLAGS)):
        underscored = "--" + flag[2:].replace("-", "_") if flag.startswith("--") else flag
        for spelling in {flag: 0, underscored: 0, f"{flag}=x": 0, f"{underscored}=x": 0, f"{flag}.key=x": 0}:
            yield refuse(f"argument {spelling}", {first: spelling}, first, rule=OWNED_FLAG)
    for word in OWNED_ARGUMENTS:
        yield refuse(f"argument {word}", {path: ["a", word]}, f"{path}.1", rule=OWNED_FLAG)


PROMISED_FLAGS = (
    "--model", "--revision", "--served-model-name", "--host", "--port", "--uds",
    "--tensor-parallel-size", "--pipeline-parallel-size", "--data-parallel-size", "--quantization",
    "--kv-cache-dtype", "--download-dir", "--hf-token", "--api-key", "--ssl-ca-certs", "--root-path",
    "--config", "--headless", "--trust-remote-code", "--no-trust-remote-code", "--shutdown-timeout",
    "-tp", "-pp", "-dp", "-q",
)  # fmt: skip
"""Flags that the design says are owned, whatever the code's own list holds."""

PROMISED_VARIABLES = (
    "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_ENDPOINT",
    "TRANSFORMERS_OFFLINE", "HOME", "QUANT_CONFIG", "VLLM_API_KEY",
    "VLLM_HOST_IP", "VLLM_PORT", "VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_OMP_THREADS_BIND", "OMP_NUM_THREADS",
    "HABANA_VISIBLE_DEVICES", "HABANA_VISIBLE_MODULES", "PT_HPU_ENABLE_LAZY_COLLECTIVES",
    "PT_HPU_RECIPE_CACHE_CONFIG", "VLLM_SKIP_WARMUP", "VLLM_BUCKETING_STRATEGY", "VLLM_DEVELOPER_MODE",
    "VLLM_PROMPT_BS_BUCKET_MIN", "VLLM_PROMPT_BS_BUCKET_STEP", "VLLM_PROMPT_BS_BUCKET_MAX",
    "VLLM_PROMPT_QUERY_BUCKET_MIN", "VLLM_PROMPT_QUERY_BUCKET_STEP", "VLLM_PROMPT_QUERY_BUCKET_MAX",
    "VLLM_PROMPT_CTX_BUCKET_MIN", "VLLM_PROMPT_CTX_BUCKET_STEP", "VLLM_PROMPT_CTX_BUCKET_MAX",
    "VLLM_DECODE_BS_BUCKET_MIN", "VLLM_DECODE_BS_BUCKET_STEP", "VLLM_DECODE_BS_BUCKET_MAX",
    "VLLM_DECODE_BLOCK_BUCKET_MIN", "VLLM_DECODE_BLOCK_BUCKET_STEP", "VLLM_DECODE_BLOCK_BUCKET_MAX",
)  # fmt: skip
"""Variables that have a field, or would undo what a field says."""

FREE_ON_GAUDI = ("PT_HPU_LAZY_MODE", "PT_HPU_LAZY_ACC_PAR_MODE", "VLLM_GRAPH_RESERVED_MEM")
"""Variables of Gaudi that no field stands for."""

NULS = ("\x00", "a\x00b")

FREE_ARGUMENTS = (
    "-O=3", "-Ofast", "-dc", "-dc=x", "-dc.a=x",
    "--model-impl", "--max-model-len", "--max_model_len=1", "model", "port", "-1", "-0.5",
    "--hf-overrides", "--tokenizer", "--trust-request-chat-template", "-O3", "-O", "-ac",
    "--quantization-config", " --port", "x--port", "--revisions", "--tokenizer-revision",
    "--code-revision", '{"port": 1}', "--no-enable-log-requests", "\u2014port",
)  # fmt: skip
"""Words that look a little like an owned flag and are none."""


OWNED_ARGUMENTS = (
    "-O--api-key.x=1", "-O --port", "-O3-x", "-O.level=3", "-O=--port", "-O\u0663",
    "--mod", "--tensor-p", "--tensor_p=4", "--served-model", "--api", "--trust", "--trust-remote",
    "--no-trust", "--data-parallel-backend", "--data_parallel_rank=1", "--ssl-keyfile",
    "--ssl_certfile=x", "-qfp8", "-q=fp8", "-t", "-dp2", "-dpn", "--hea", "--conf", "--conf=x", "--",
    "--d", "--root", "--down", "--kv-cache-d", "-", "-hq", "--ud", "--tensor-parallel_size",
    "--tensor_parallel-size=2", "--shutdown", "--dow=x.y", "--quant",
)  # fmt: skip
"""Prefixes, families and short forms; a prefix that fits several flags is refused too."""


def extra_env() -> Iterator[Case]:
    path = "spec.extraEnv"
    yield from lists(path, lambda n: {"name": f"V{n}"}, 64)
    good, bad = ("A", "_", "a1", "_1A"), ("1A", "A-B", "A.B", "A B", "A\n", "A=B", "Ä", "$A")
    yield from words(f"{path}.0.name", longest=256, good=good, bad=bad)
    values = ("a", CONTROLS, EMOJI, "a\nb", "{{ a }}", "$(A)", "!!python/object:os.system", "no")
    yield from words(f"{path}.0.value", longest=32768, good=values, bad=NULS, empty=True, fill="\U0001f600")
    covers = [(path, "x-kubernetes-list-type")]
    yield refuse(
        "variables repeat", {path: [{"name": "A"}, {"name": "B"}, {"name": "A"}]}, path, covers=covers
    )
    for name in dict.fromkeys((*PROMISED_VARIABLES, *OWNED_VARIABLES)):
        yield refuse(f"variable {name}", {f"{path}.0.name": name}, f"{path}.0.name", rule=OWNED_VARIABLE)
    for name in ("home", "HF_TOKENS", "XHOME", "VLLM_LOGGING_LEVEL", "HF_HUB_DISABLE_XET", *FREE_ON_GAUDI):
        yield accept(f"variable {name}", {f"{path}.0.name": name}, rule=OWNED_VARIABLE)
    source = {"fieldRef": {"fieldPath": "status.podIP"}}
    both = {f"{path}.0": {"name": "A", "value": "", "valueFrom": source}}
    yield refuse("value and valueFrom", both, f"{path}.0", rule=ONE_VALUE)
    yield accept("neither value nor valueFrom", {f"{path}.0": {"name": "A"}}, rule=ONE_VALUE)
    yield accept("value and a null valueFrom", {f"{path}.0.valueFrom": None}, rule=ONE_VALUE)
    where = f"{path}.0.valueFrom"
    key = {"name": "a", "key": "b"}
    for number, sources in enumerate(
        ({}, source | {"secretKeyRef": key}, {"secretKeyRef": key, "configMapKeyRef": key})
    ):
        change = {f"{path}.0": {"name": "A", "valueFrom": sources}}
        yield refuse(f"{number} sources", change, where, rule=ONE_SOURCE)
    yield accept("one source", {f"{path}.0": {"name": "A", "valueFrom": source}}, rule=ONE_SOURCE)
    for index, kind in ((1, "secretKeyRef"), (2, "configMapKeyRef")):
        reference = f"{path}.{index}.valueFrom.{kind}"
        yield from object_names(f"{reference}.name")
        yield from data_keys(f"{reference}.key")
        yield from truths(f"{reference}.optional")
        yield from required(f"{reference}.name", f"{reference}.key")
    yield from words(f"{path}.3.valueFrom.fieldRef.fieldPath", longest=512, good=("metadata.labels['a']",))
    yield from required(f"{path}.3.valueFrom.fieldRef.fieldPath", f"{path}.0.name")


def cpu() -> Iterator[Case]:
    yield from quantities("spec.cpu.kvCache", zero=False)
    for nothing in ("0", 0, "0Gi", "0e5"):
        yield refuse(f"kvCache {nothing!r}", {"spec.cpu.kvCache": nothing}, "spec.cpu", rule=KV_CACHE)
    yield accept("kvCache 1n", {"spec.cpu.kvCache": "1n"}, rule=KV_CACHE)
    binds, free = "spec.cpu.threadsBind", {"spec.cpu.reservedCores": REMOVED}
    for good in ("auto", "nobind", "0", "0-31", "0-31|32-63", "0,2,4", "0-3,5|7"):
        yield accept(f"bind {good}", {binds: good} | free)
    for bad in ("", "none", "0-", "-1", "0||1", "0 1", "all", "0-31\n", "Auto", "a-b"):
        yield refuse(f"bind {bad!a}", {binds: bad} | free, binds, covers=[(binds, "pattern")])
    yield accept("bind 512", {binds: "1" * 512} | free)
    yield refuse("bind 513", {binds: "1" * 513} | free, binds, covers=[(binds, "maxLength")])
    yield refuse("bind a number", {binds: 1} | free, binds, covers=[(binds, "type")])
    yield from bounds("spec.cpu.reservedCores", 0, 1024)
    for bind in ("nobind", "0-3"):
        yield refuse(f"reserved cores and {bind}", {binds: bind}, "spec.cpu", rule=RESERVED_CORES)
    yield accept("reserved cores alone", {binds: REMOVED}, rule=RESERVED_CORES)
    yield accept("reserved cores and auto", {binds: "auto"}, rule=RESERVED_CORES)


def resources(of: str = "spec.resources") -> Iterator[Case]:
    """Amounts that a container may use."""
    for side in ("limits", "requests"):
        path = f"{of}.{side}"
        yield from quantities(f"{path}.cpu", zero=True)
        for name in ("habana.ai/gaudi2", "gaudi", "example.com/gpu"):
            yield accept(f"{of}: {side} {name}", {path: {name: 1}}, rule=GAUDI)
        yield refuse(f"{of}: {side} of cards", {path: {"habana.ai/gaudi": 1}}, of, rule=GAUDI)
        yield accept(f"{of}: {side} long name", {path: {"a" * 317: 1}}, rule=RESOURCE_NAME)
        yield refuse(f"{of}: {side} too long a name", {path: {"a" * 318: 1}}, of, rule=RESOURCE_NAME)
        yield accept(f"{of}: {side} 16", {path: {f"r{n}": n for n in range(16)}})
        many = {path: {f"r{n}": n for n in range(17)}}
        yield refuse(f"{of}: {side} 17", many, path, covers=[(path, "maxProperties")])
        yield refuse(f"{of}: {side} a list", {path: []}, path, covers=[(path, "type")])
        yield accept(f"{of}: {side} null", {f"{path}.cpu": None})
        yield accept(f"{of}: {side} empty", {path: {}})
