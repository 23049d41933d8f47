"""Every variable of the guide, and what becomes of it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from vllm_operator.api.owned import BUCKETS
from vllm_operator.importenv import values

API_KEY = "apiKeySecretRef"
"""The field of the key that callers give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What becomes of a variable.

    `server` and `quantization` are fields below `spec` of the two resources, `extraEnv` among them. `convert`
    lets through what may be printed; it is `str` where the field itself takes nothing else. `device` is the
    only one with which it has an effect. `note` stands beside the field; `why` says why there is no effect,
    or none on the other device.
    """

    server: str = ""
    quantization: str = ""
    convert: Callable[[str], Any] = values.plain
    device: Literal["", "cpu", "gaudi"] = ""
    note: str = ""
    why: str = ""
    secret: bool = False


_NOT_PASSED = "The guide's compose file did not pass it on."
_SAME = "The operator sets it in every pod."
_ASKS_THE_SERVER = "The LLM microservice asks this server, whatever stands here."
_BY_THE_REQUEST = "The LLM microservice goes by what a request says."
_NO_OAUTH = "The LLM microservice knows no OAuth: apiKeySecretRef is for a key."
_OF_CPUS = "It has an effect on CPUs only."
_OF_GAUDI = "It has an effect on Gaudi only."
_GONE = "vLLM does not know it any more."
_OPENVINO = "vLLM does not run on OpenVINO any more."
_CALLERS = "Every caller gives it; the LLM microservice is given it too."
_WRITABLE = "Pods have a folder for it already."


def _field(server: str, convert: Callable[[str], Any] = values.plain, note: str = "") -> Row:
    return Row(server=server, convert=convert, note=note)


def _of_gaudi(server: str, convert: Callable[[str], Any] = values.plain, note: str = "") -> Row:
    return Row(server=server, convert=convert, note=note, device="gaudi", why=_OF_GAUDI)


def _of_cpus(server: str, convert: Callable[[str], Any], note: str = "", why: str = _OF_CPUS) -> Row:
    return Row(server=server, convert=convert, note=note, device="cpu", why=why)


def _none(why: str, *, secret: bool = False) -> Row:
    return Row(why=why, secret=secret)


_BUCKETS = ("promptBatchSize", "promptQuery", "promptContext", "decodeBatchSize", "decodeBlocks")


def _buckets() -> Iterator[tuple[str, Row]]:
    """Variables of the buckets; PROMPT_SEQ is what PROMPT_QUERY was called in the guide's vLLM."""
    for kind, field in (*zip(BUCKETS, _BUCKETS, strict=True), ("PROMPT_SEQ", "promptQuery")):
        for bound in ("min", "step", "max"):
            row = _of_gaudi(f"warmup.buckets.{field}.{bound}", values.number)
            yield f"VLLM_{kind}_BUCKET_{bound.upper()}", row


TABLE: Mapping[str, Row] = {
    # The guide's .env files.
    "HF_TOKEN": Row(server="model.tokenSecretRef", quantization="model.tokenSecretRef", secret=True),
    "LLM_DEVICE": _field("device", values.device),
    "LLM_VLLM_MODEL_NAME": Row(server="model.name", quantization="model.name", convert=values.path),
    "LLM_VLLM_PORT": _field("service.port", values.number, "Of the Service, inside the cluster."),
    "LLM_CONNECTOR": _field("microservice.connector", str, "Both words mean the same today."),
    "FP8_DATASET_PATH": Row(quantization="dataset", convert=values.path, device="gaudi", why=_OF_GAUDI),
    "HABANA_VISIBLE_DEVICES": _none("The device plugin decides which cards a pod sees."),
    "OMPI_MCA_btl_vader_single_copy_mechanism": _none(
        "The operator sets it to none in every pod with cards."
    ),
    "PT_HPU_ENABLE_LAZY_COLLECTIVES": _of_gaudi("gaudi.lazyCollectives", values.truth),
    "PT_HPU_LAZY_ACC_PAR_MODE": _none("Of the lazy mode: vllm-gaudi compiles models by torch.compile."),
    "PT_HPU_LAZY_MODE": _none(
        f"Of the lazy mode: vllm-gaudi compiles models by torch.compile. {_NOT_PASSED}"
    ),
    "VLLM_CPU_KVCACHE_SPACE": _of_cpus("cpu.kvCache", values.gibibytes),
    "VLLM_DTYPE": _field("engineArgs.dtype", values.dtype),
    "VLLM_MAX_NUM_SEQS": _field("engineArgs.maxNumSeqs", values.number),
    "VLLM_BLOCK_SIZE": _field("engineArgs.blockSize", values.number, _NOT_PASSED),
    "VLLM_SKIP_WARMUP": _of_gaudi("warmup.skip", values.truth, "With true the first requests take minutes."),
    "VLLM_TP_SIZE": Row(
        server="tensorParallelSize", quantization="tensorParallelSize", convert=values.number
    ),
    "VLLM_ENABLE_EXPERT_PARALLEL": _field("extraArgs", values.expert_parallel, _NOT_PASSED),
    "OMP_NUM_THREADS": _none(f"Threads follow from resources.limits.cpu. {_NOT_PASSED}"),
    "VLLM_PP_SIZE": _of_cpus(
        "pipelineParallelSize", values.number, why="On Gaudi the guide's compose file set it to 1."
    ),
    "VLLM_MAX_MODEL_LEN": _field("engineArgs.maxModelLen", values.number),
    "VLLM_CPU_OMP_THREADS_BIND": _of_cpus("cpu.threadsBind", str, _NOT_PASSED),
    **{
        name: Row(server=f"proxy.{field}", quantization=f"proxy.{field}", convert=convert)
        for field, upper, convert in (
            ("httpProxy", "HTTP_PROXY", values.proxy),
            ("httpsProxy", "HTTPS_PROXY", values.proxy),
            ("noProxy", "NO_PROXY", values.no_proxy),
        )
        for name in (upper, upper.lower())
    },
    # Of its scripts and command lines.
    "IF_FP8_QUANTIZATION": Row(server="fp8", device="gaudi", why=_OF_GAUDI),
    "QUANT_CONFIG": Row(quantization="existing.path", convert=values.path, device="gaudi", why=_OF_GAUDI),
    "HUGGINGFACE_HUB_CACHE": _none(
        "A folder of a host. A claim takes its place; docs/tasks/fp8.md says how the files get there."
    ),
    "BATCH_SIZE": Row(
        quantization="batchSize",
        convert=values.number,
        device="gaudi",
        why=_OF_GAUDI,
        note="The guide's script was never given it.",
    ),
    "UID": _none("Pods run as uid 1000."),
    "USER_UID": _none("Pods run as uid 1000."),
    "HF_HOME": _none("Pods keep it in the cache, below /data."),
    "LD_PRELOAD": _none("The image sets it."),
    "VLLM_TARGET_DEVICE": _none("It is the image that decides."),
    # Of older and newer releases.
    "VLLM_OPENVINO_KVCACHE_SPACE": _none(_OPENVINO),
    "VLLM_OPENVINO_ENABLE_QUANTIZED_WEIGHTS": _none(_OPENVINO),
    "VLLM_OPENVINO_CPU_KV_CACHE_PRECISION": _none(_OPENVINO),
    "VLLM_CPU_NUM_OF_RESERVED_CPU": _of_cpus("cpu.reservedCores", values.number),
    "VLLM_CPU_MOE_PREPACK": _none(_GONE),
    "VLLM_CPU_SGL_KERNEL": _none(_GONE),
    "TORCHINDUCTOR_COMPILE_THREADS": _field("extraEnv"),
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": _field("extraEnv"),
    # It is in envs.py of vLLM 0.26, which Gaudi has, and not of 0.32.
    "VLLM_ENGINE_ITERATION_TIMEOUT_S": Row(
        server="extraEnv", device="gaudi", why="On CPUs vLLM does not know it any more."
    ),
    "VLLM_RPC_TIMEOUT": _none(_GONE),
    # Of the microservice.
    "LLM_USVC_PORT": _field("microservice.port", values.number, "Of its Service, inside the cluster."),
    "LLM_MODEL_SERVER": _field("microservice.enabled", values.model_server, _ASKS_THE_SERVER),
    "LLM_MODEL_SERVER_ENDPOINT": _field("microservice.enabled", note=_ASKS_THE_SERVER),
    "LLM_MODEL_NAME": _none("The LLM microservice is told the server's own name of its model."),
    "LLM_DISABLE_STREAMING": _none(_BY_THE_REQUEST),
    "LLM_OUTPUT_GUARD_EXISTS": _none(_BY_THE_REQUEST),
    "LLM_TLS_SKIP_VERIFY": _none("The LLM microservice asks the server without TLS, inside the cluster."),
    "LLM_VLLM_TOKEN_URL": _none(_NO_OAUTH),
    "LLM_VLLM_CLIENT_ID": _none(_NO_OAUTH),
    "LLM_VLLM_CLIENT_SECRET": _none(_NO_OAUTH, secret=True),
    "OPEA_LOGGER_LEVEL": _none("There is no field for it: the LLM microservice logs at INFO."),
    "TELEMETRY_ENDPOINT": _none("The LLM microservice makes no traces; it hands on those of its clients."),
    # The key that vLLM asks for, as vLLM and the microservice of release 2 call it.
    "VLLM_API_KEY": Row(server=API_KEY, secret=True, note=_CALLERS),
    "LLM_VLLM_API_KEY": Row(server=API_KEY, secret=True, note=_CALLERS),
    # Of the charts beside the guide, which people copy from.
    "HF_ENDPOINT": Row(server="model.hubEndpoint", quantization="model.hubEndpoint", convert=values.hub),
    "HF_HUB_OFFLINE": _field("model.offline", values.truth),
    "HUGGING_FACE_HUB_TOKEN": _none("Use HF_TOKEN.", secret=True),
    "VLLM_BUCKETING_STRATEGY": _of_gaudi("warmup.strategy", str),
    "VLLM_EXPONENTIAL_BUCKETING": _of_gaudi("warmup.strategy", values.strategy),
    **dict(_buckets()),
    "PT_HPU_RECIPE_CACHE_CONFIG": _of_gaudi(
        "warmup.recipeCache", values.recipe_cache, "The operator chooses the folder."
    ),
    "PT_HPU_WEIGHT_SHARING": _of_gaudi("extraEnv"),
    "EXPERIMENTAL_WEIGHT_SHARING": _none("It is called PT_HPU_WEIGHT_SHARING today."),
    "VLLM_GRAPH_RESERVED_MEM": _of_gaudi("extraEnv"),
    "VLLM_CONTIGUOUS_PA": _of_gaudi("extraEnv"),
    "VLLM_DISABLE_MARK_SCALES_AS_CONST": _of_gaudi("extraEnv"),
    "VLLM_HPU_FORCE_CHANNEL_FP8": _of_gaudi("extraEnv"),
    "RUNTIME_SCALE_PATCHING": _of_gaudi("extraEnv"),
    "HF_HUB_DISABLE_XET": _field("extraEnv"),
    "LLM_MODEL_ID": _none("Of a chart beside the guide. The guide's own is LLM_VLLM_MODEL_NAME."),
    "VLLM_POD_INDEX": _none("Pods are not numbered."),
    "VLLM_PORT": _none("Pods listen on 8000; service.port is the port that others see."),
    "VLLM_NO_USAGE_STATS": _none(_SAME),
    "DO_NOT_TRACK": _none(_SAME),
    "HABANA_LOGS": _none(_WRITABLE),
    "NUMBA_CACHE_DIR": _none(_WRITABLE),
    "OUTLINES_CACHE_DIR": _none(_WRITABLE),
    "TORCHINDUCTOR_CACHE_DIR": _none(_WRITABLE),
    "XDG_CONFIG_HOME": _none(_WRITABLE),
}
"""Of two variables that are the same field, the first one counts."""


def page() -> str:
    """The table as a page of the documentation."""
    lines = [
        "# Variables of the guide",
        "",
        "Generated by `make generate`. What `vllm-operator import-env` makes of each.",
        "",
        "| variable | becomes | with device | |",
        "|---|---|---|---|",
    ]
    for name, row in TABLE.items():
        fields = [f"`spec.{row.server}`"] if row.server else []
        if row.quantization:
            also = "the same" if row.quantization == row.server else f"`spec.{row.quantization}`"
            fields.append(f"{also} of the FP8Quantization")
        why = "" if row.why in (_OF_CPUS, _OF_GAUDI) else row.why
        text = " ".join(part for part in (row.note, why) if part)
        device = row.device and f"`{row.device}`"
        lines.append(f"| `{name}` | {', '.join(fields) or 'nothing'} | {device} | {text} |")
    return "\n".join([*lines, ""])
