"""From settings to drafts of the resources."""

import re
from collections.abc import Mapping

from vllm_operator.api.access import ApiKeyReference
from vllm_operator.api.resource import NAME_RULES
from vllm_operator.importenv import fp8, variables
from vllm_operator.importenv.conversion import Conversion, Options
from vllm_operator.importenv.settings import Setting
from vllm_operator.importenv.table import API_KEY, TABLE

DEVICE, MODEL, TOKEN, CARDS = "LLM_DEVICE", "LLM_VLLM_MODEL_NAME", "HF_TOKEN", "VLLM_TP_SIZE"
MODEL_SERVER = "LLM_MODEL_SERVER"
TOKEN_SECRET = "hugging-face"  # noqa: S105 - the name of a Secret, as in the samples
_SAID = "Another setting says it already."
_SIGNS = {
    "gaudi": ("FP8_", "HABANA_", "OMPI_", "PT_HPU_"),
    "cpu": ("OMP_NUM_THREADS", "VLLM_CPU_OMP_", "VLLM_OPENVINO"),
}
"""Beginnings of variables that only one of the guide's two files has."""


def convert(settings: Mapping[str, Setting], options: Options) -> Conversion:
    """Make drafts of settings. Raises NotImportedError."""
    conversion = Conversion(settings, options)
    _metadata(conversion)
    device = _device(conversion)
    # Nothing else can be told without the device and the name.
    conversion.raise_problems()
    plan = fp8.plan(conversion, device)
    fp8.begin(conversion, plan, _cards(conversion))
    _cache(conversion)
    if options.microservice:
        conversion.server.put("microservice.enabled", True, "--microservice")
    _known(conversion, device)
    variables.proxies(conversion)
    fp8.finish(conversion, plan)
    for setting in settings.values():
        if setting.name not in TABLE:
            variables.unknown(conversion, setting)
    conversion.raise_problems()
    return conversion


def _device(conversion: Conversion) -> str:
    """The device, from the command line, the guide's own variable, or variables that only one device has."""
    setting, given = conversion.settings.get(DEVICE), conversion.options.device
    if given is not None:
        conversion.server.put("device", given, "--device")
        return given
    if setting is not None:
        conversion.put(setting)
        return str(conversion.server.body["spec"].get("device", ""))
    signs = {
        device: [each for each in conversion.settings.values() if each.name.startswith(beginnings)]
        for device, beginnings in _SIGNS.items()
    }
    found = {device: each for device, each in signs.items() if each}
    if len(found) != 1:
        conversion.problems.append(
            "The variables do not tell the device, or tell two: say --device gaudi or --device cpu, and "
            "import the guide's files for different devices one by one"
        )
        return ""
    ((device, (sign, *_)),) = found.items()
    conversion.server.put(
        "device", device, str(sign), f"It is a variable of {'Gaudi' if device == 'gaudi' else 'CPUs'}."
    )
    return device


def _metadata(conversion: Conversion) -> None:
    """The model, and the server's name, which is made of it unless it is given."""
    setting, options = conversion.settings.get(MODEL), conversion.options
    if setting is None:
        conversion.problems.append(f"{MODEL} is not set: write it into a file, or export it")
        return
    model = conversion.value(setting)
    if model is None:
        return
    name = _name(model) if options.name is None else options.name
    conversion.server.put("metadata.name", name, str(setting) if options.name is None else "--name")
    for rule in NAME_RULES:
        if rule.holds and not rule.holds(name):
            conversion.problems.append(
                f"{setting}: makes no name for a resource: give one by --name"
                if options.name is None
                else f"--name: {rule.message}"
            )
    if options.namespace:
        conversion.server.put("metadata.namespace", options.namespace, "--namespace")


def _name(model: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", model.rstrip("/").rpartition("/")[2].lower())
    return words.strip("-")[:40].rstrip("-")


def _cards(conversion: Conversion) -> str:
    """Number of cards, for the name of a quantization; what is none is told elsewhere."""
    setting = conversion.settings.get(CARDS)
    return setting.value if setting is not None and re.fullmatch("[1-8]", setting.value) else "1"


def _cache(conversion: Conversion) -> None:
    options = conversion.options
    if options.cache_claim is not None:
        conversion.server.put("cache.claimName", options.cache_claim, "--cache-claim")
    else:
        conversion.server.put("cache.size", options.cache_size, "--cache-size")


def _known(conversion: Conversion, device: str) -> None:
    """The variables of the table, but for those that something else looks at."""
    noted = {setting.name for setting, _ in conversion.unused}
    for name, row in TABLE.items():
        setting = conversion.settings.get(name)
        if setting is None or name in noted or name == DEVICE:
            continue
        if row.device not in ("", device) or not (row.server or row.quantization):
            conversion.unused.append((setting, row.why))
        elif name == TOKEN:
            _token(conversion, setting)
        elif row.server == API_KEY:
            _api_key(conversion, setting)
        elif row.server.startswith("microservice."):
            _microservice(conversion, setting)
        elif row.server == "extraEnv":
            variables.add(conversion, conversion.server, setting)
        elif row.server == "extraArgs":
            _flags(conversion, setting)
        elif name not in fp8.VARIABLES and not row.server.startswith("proxy."):
            _field(conversion, setting)
    _strategy(conversion)


def _field(conversion: Conversion, setting: Setting) -> None:
    if conversion.server.has(TABLE[setting.name].server):
        conversion.unused.append((setting, _SAID))
    else:
        conversion.put(setting)


def _token(conversion: Conversion, setting: Setting) -> None:
    conversion.keys[TOKEN_SECRET] = [setting]
    for draft in (conversion.server, conversion.quantization):
        if draft.body["metadata"]:
            draft.put("model.tokenSecretRef", {"name": TOKEN_SECRET}, str(setting))


def _api_key(conversion: Conversion, setting: Setting) -> None:
    if conversion.server.has(API_KEY):
        conversion.unused.append((setting, _SAID))
        return
    secret = f"{conversion.name}-callers"
    conversion.keys[secret] = [setting]
    key = {} if setting.name == ApiKeyReference.model_fields["key"].default else {"key": setting.name}
    conversion.server.put(API_KEY, {"name": secret, **key}, str(setting), TABLE[setting.name].note)


def _microservice(conversion: Conversion, setting: Setting) -> None:
    """What only the microservice reads, so that who sets it runs one."""
    row, enabled = TABLE[setting.name], "microservice.enabled"
    if not conversion.server.has(enabled):
        note = row.note if row.server == enabled else "Only the LLM microservice reads it."
        conversion.server.put(enabled, True, str(setting), note)
    elif row.server == enabled:
        conversion.unused.append((setting, row.note))
    if row.server != enabled:
        conversion.put(setting)
    elif setting.name == MODEL_SERVER:
        # An endpoint may be any: it is not asked. A server may not.
        conversion.value(setting)


def _flags(conversion: Conversion, setting: Setting) -> None:
    row = TABLE[setting.name]
    flags = conversion.value(setting)
    if flags == []:
        conversion.unused.append((setting, "It is off, as it is by default."))
    for flag in flags or ():
        conversion.server.add("extraArgs", flag, str(setting), row.note)


def _strategy(conversion: Conversion) -> None:
    """Sizes of buckets need a strategy that looks at them; the guide's vLLM had no other."""
    server = conversion.server
    if "buckets" in server.body["spec"].get("warmup", {}) and not server.has("warmup.strategy"):
        server.put("warmup.strategy", "lin", "The buckets below", "Only lin and pad look at them.")
