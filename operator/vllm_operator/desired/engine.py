"""Arguments and environment of vLLM, from a spec and the profile of its engine."""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

from vllm_operator.api.fp8quantization import FP8QuantizationSpec
from vllm_operator.api.observed import Cached, Quantization
from vllm_operator.api.owned import flag_name
from vllm_operator.api.quantity import in_bytes
from vllm_operator.api.reasons import Reason, StalledError
from vllm_operator.api.vllmserver import VLLMServerSpec
from vllm_operator.desired import devices, names
from vllm_operator.desired.defaults import Image
from vllm_operator.desired.profile import Profile, invalid


def arguments(
    spec: VLLMServerSpec, profile: Profile, cached: Cached | None, quantization: Quantization | None = None
) -> list[str]:
    """The words after `vllm serve`.

    Raises StalledError(InvalidForEngine) for what the engine does not know.
    """
    words = [spec.model.name, "--served-model-name", *(spec.model.served_names or [spec.model.name])]
    for path, flag, value in _flags(spec, profile, cached, quantization):
        profile.check_value(path, flag, value, spec.device)
        words += [flag, value]
    if spec.model.trust_remote_code:
        words.append("--trust-remote-code")
    words += _knobs(spec, profile)
    for index, argument in enumerate(spec.extra_args or ()):
        profile.check_argument(f"spec.extraArgs[{index}]", argument)
        words.append(argument)
    if prefetches(spec):
        _check_second_models(spec.extra_args or [], profile)
    return [literal(word) for word in words]


def _flags(
    spec: VLLMServerSpec, profile: Profile, cached: Cached | None, quantization: Quantization | None
) -> list[tuple[str, str, str]]:
    """Flags that follow from fields: the field's path, the flag and its value."""
    flags: list[tuple[str, str, str]] = []
    revision = cached.commit if cached else spec.model.revision
    if revision is not None:
        flags.append(("spec.model.revision", "--revision", revision))
    flags += [
        ("spec.service", "--host", "0.0.0.0"),  # noqa: S104 - a pod is reached from outside
        ("spec.service", "--port", str(names.PORT)),
        ("spec.tensorParallelSize", "--tensor-parallel-size", str(spec.tensor_parallel_size)),
    ]
    if spec.pipeline_parallel_size > 1:
        ranks = str(spec.pipeline_parallel_size)
        flags.append(("spec.pipelineParallelSize", "--pipeline-parallel-size", ranks))
    if "--shutdown-timeout" in profile.flags:
        # Without it SIGTERM aborts what is running (seen with vllm 0.32.0 on CPUs).
        drain = str(spec.rollout.drain_seconds)
        flags.append(("spec.rollout.drainSeconds", "--shutdown-timeout", drain))
    if spec.model.chat_template is not None:
        flags.append(("spec.model.chatTemplate", "--chat-template", names.CHAT_TEMPLATE))
    if spec.cpu.kv_cache is not None:
        # The variable VLLM_CPU_KVCACHE_SPACE takes whole GiB only.
        flags.append(("spec.cpu.kvCache", "--kv-cache-memory-bytes", str(in_bytes(spec.cpu.kv_cache))))
    return flags + _fp8(spec, profile, quantization)


def _fp8(
    spec: VLLMServerSpec, profile: Profile, quantization: Quantization | None
) -> list[tuple[str, str, str]]:
    """Flags of FP8. What the engine refuses of it is said before anybody waits for a calibration."""
    if spec.fp8 is None:
        return []
    flags = [("spec.fp8", "--quantization", "inc")]
    if spec.fp8.mode is None:
        flags.append(("spec.fp8", "--kv-cache-dtype", "fp8_inc"))
    elif profile.dynamic is None:
        raise invalid(
            f"spec.fp8.mode: {profile.name} has no FP8 without a calibration: give spec.fp8.quantizationRef, "
            "or choose another image and engine"
        )
    for path, flag, value in flags:
        profile.check_value(path, flag, value, spec.device)
    return flags if quantization is not None or spec.fp8.mode is not None else []


def _knobs(spec: VLLMServerSpec, profile: Profile) -> list[str]:
    words = []
    for field, value in spec.engine_args.model_dump(by_alias=True, exclude_none=True).items():
        flag = profile.knobs[field]
        profile.check_value(f"spec.engineArgs.{field}", flag, str(value), spec.device)
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        else:
            words += [flag, str(value)]
    return words


_SECOND_MODELS = ("--tokenizer", "--hf-config-path", "--lora-modules", "--speculative-config")
"""Flags that may name another model than the one that is prefetched."""


def _check_second_models(arguments: Sequence[str], profile: Profile) -> None:
    """Raise StalledError(InvalidForEngine) for a model that an offline server could not find."""
    for index, argument in enumerate(arguments):
        word, equals, value = argument.partition("=")
        flag, _, key = word.partition(".")
        if profile.long(flag) not in _SECOND_MODELS or key not in ("", "model"):
            continue
        values = (
            [value] if equals else list(takewhile(lambda a: not a.startswith("-"), arguments[index + 1 :]))
        )
        for each in values:
            if f"{names.DATA}/" not in each and not _names_no_model(each):
                raise StalledError(
                    Reason.INVALID_FOR_ENGINE,
                    f"spec.extraArgs[{index}]: {word} names a second model, {each!r}, which is not "
                    "prefetched, and the server asks no hub: give a path below /data/, or set spec.prefetch "
                    "to false",
                )


def _names_no_model(value: str) -> bool:
    """Whether a value is an object of settings alone, such as those of an n-gram speculator."""
    return value.startswith("{") and '"model"' not in value and '"path"' not in value


def downloads(spec: VLLMServerSpec) -> bool:
    """Whether a server's pods fetch its model themselves."""
    return not (prefetches(spec) or spec.model.offline or spec.model.name.startswith("/"))


def prefetches(spec: VLLMServerSpec) -> bool:
    """Whether a server's model is fetched by a Job of its own, and the server then asks no hub."""
    return spec.prefetch and not spec.model.offline and not spec.model.name.startswith("/")


def load_format(arguments: Sequence[str]) -> str | None:
    """The value of `--load-format` among extra arguments; vLLM takes beginnings of it, and the last one."""
    found = None
    for index, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if "--load-format".startswith(flag_name(flag)) and flag_name(flag).startswith("--loa"):
            found = value if equals else next(iter(arguments[index + 1 :]), None)
    return found


def literal(text: str) -> str:
    """Keep the kubelet from expanding `$(NAME)` in a word: a value is never a template."""
    return text.replace("$", "$$")


def environment(
    spec: VLLMServerSpec,
    image: Image,
    cached: Cached | None,
    quantization: Quantization | None = None,
    fp8: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """The environment of the vLLM container, in the form of a pod; `fp8` are variables of FP8.

    Once the cache is filled, no hub is asked and no token given.
    """
    variables = {
        **common(),
        # Compiled code is kept beside the weights; a given claim may not be ours to write to.
        "VLLM_CACHE_ROOT": f"{names.HOME if spec.cache.claim_name else names.DATA}/.cache/vllm",
        "VLLM_ENGINE_READY_TIMEOUT_S": str(spec.warmup.timeout_seconds),
        "VLLM_NO_USAGE_STATS": "1",
        **devices.environment(spec, image, quantization),
        **(fp8 or {}),
        **_proxies(spec),
    }
    if cached is not None or spec.model.offline:
        variables |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    if cached is not None and cached.hub != names.HUB:
        variables["HF_HUB_CACHE"] = cached.hub
    return [*entries(variables), *_api_key(spec), *([] if cached else _hub(spec)), *own(spec)]


def _api_key(spec: VLLMServerSpec) -> list[dict[str, Any]]:
    """The key that vLLM asks callers for; `/health`, which the probes ask, answers without it."""
    key = spec.api_key_secret_ref
    return [_from_secret("VLLM_API_KEY", key.name, key.key)] if key is not None else []


def prefetch_environment(spec: VLLMServerSpec | FP8QuantizationSpec) -> list[dict[str, Any]]:
    """The environment of the prefetch container, in the form of a pod."""
    return [*entries({**common(), **_proxies(spec)}), *_hub(spec), *own(spec)]


def common() -> dict[str, str]:
    """Variables of every container of ours."""
    return {
        "HOME": names.HOME,
        # torch looks for a user name, and uid 1000 has none in the image.
        "USER": names.CONTAINER,
        "LOGNAME": names.CONTAINER,
        "TMPDIR": "/tmp",  # noqa: S108 - an emptyDir of the pod's own
        "XDG_CACHE_HOME": f"{names.HOME}/.cache",
        "HF_HOME": names.DATA,
        "DO_NOT_TRACK": "1",
    }


def entries(variables: Mapping[str, str]) -> list[dict[str, Any]]:
    """Variables in the form of a pod."""
    return [{"name": name, "value": literal(value)} for name, value in variables.items()]


def _hub(spec: VLLMServerSpec | FP8QuantizationSpec) -> list[dict[str, Any]]:
    """What it takes to ask a hub."""
    needed = []
    if spec.model.hub_endpoint is not None:
        needed += entries({"HF_ENDPOINT": spec.model.hub_endpoint})
    token = spec.model.token_secret_ref
    if token is not None:
        needed.append(_from_secret("HF_TOKEN", token.name, token.key))
    return needed


def _from_secret(variable: str, name: str, key: str) -> dict[str, Any]:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}


def _proxies(spec: VLLMServerSpec | FP8QuantizationSpec) -> dict[str, str]:
    variables: dict[str, str] = {}
    for name, value in (spec.proxy.model_dump(exclude_none=True) if spec.proxy else {}).items():
        # Some libraries read the one spelling and some the other.
        variables |= {name: value, name.upper(): value}
    return variables


def own(spec: VLLMServerSpec | FP8QuantizationSpec) -> list[dict[str, Any]]:
    """The user\'s own variables, in the form of a pod."""
    given = []
    for variable in spec.extra_env or ():
        entry = variable.model_dump(by_alias=True, exclude_none=True)
        if variable.value is not None:
            entry["value"] = literal(variable.value)
        given.append(entry)
    return given
