"""The variables of FP8: a calibration, its result, and a server that serves it."""

from dataclasses import dataclass

from vllm_operator.importenv.conversion import Conversion
from vllm_operator.importenv.settings import Setting

SWITCH, DATASET, RESULT, BATCH = "IF_FP8_QUANTIZATION", "FP8_DATASET_PATH", "QUANT_CONFIG", "BATCH_SIZE"
VARIABLES = (SWITCH, DATASET, RESULT, BATCH)
_DATA = "/data/"
_GROUP = 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """What the variables ask for: the setting that serves FP8, and one or the other source of its scales."""

    serves: Setting | None = None
    dataset: Setting | None = None
    existing: Setting | None = None


def plan(conversion: Conversion, device: str) -> Plan:
    """What the variables ask for. Those that have no effect are noted."""
    if device != "gaudi":
        return Plan()
    serves, dataset, result, batch = map(conversion.settings.get, VARIABLES)
    unused = conversion.unused
    if serves is not None and serves.value != "true":
        unused.append((serves, "Only true, in lower case, has ever switched FP8 on."))
        serves = None
    if result is not None and serves is None:
        unused.append((result, f"Without {SWITCH}=true it had no effect."))
        result = None
    existing = result or (serves if dataset is None else None)
    if dataset is not None and existing is not None:
        unused.append((dataset, f"{RESULT} names a result, so that nothing is measured."))
        dataset = None
    if batch is not None and dataset is None:
        unused.append((batch, "Nothing is measured."))
    return Plan(serves, dataset, existing)


def begin(conversion: Conversion, found: Plan, cards: str) -> None:
    """Give the quantization its name, if there is to be one, so that other settings find it."""
    source = found.dataset or found.existing
    if source is None:
        return
    serves = f"It is there for fp8.quantizationRef: without {SWITCH}=true the server does not name it."
    # Names have at most 40 characters.
    name = f"{conversion.name[:34].rstrip('-')}-tp{cards}"
    conversion.quantization.put("metadata.name", name, str(source), "" if found.serves else serves)
    if conversion.options.namespace:
        conversion.quantization.put("metadata.namespace", conversion.options.namespace, "--namespace")


def finish(conversion: Conversion, found: Plan) -> None:
    """The quantization's source and cache, and the server's reference to it."""
    if not conversion.quantization.body["metadata"]:
        return
    claim = conversion.options.cache_claim or f"{conversion.name}-cache"
    conversion.quantization.put("cache.claimName", claim, "The server's claim")
    if found.existing is not None:
        _existing(conversion, found.existing)
    if found.dataset is not None:
        _dataset(conversion, found.dataset, claim)
    if found.serves is not None:
        reference = {
            "quantizationRef": {"name": conversion.quantization.body["metadata"]["name"]},
            "whilePending": "Wait",
        }
        note = "No pod until the result is there; its cards may have to measure first, as in the guide."
        conversion.server.put("fp8", reference, str(found.serves), note)


def _existing(conversion: Conversion, setting: Setting) -> None:
    """A result that the guide's container has left in a claim."""
    if conversion.options.cache_claim is None:
        conversion.problem(
            setting,
            "asks for a result that is there already, and a new cache is empty: name the claim that holds it "
            f"by --cache-claim (docs/tasks/fp8.md says how to fill it), or measure with {DATASET}",
        )
        return
    note = "The calibration script writes names in lower case, whatever the guide's default said."
    model = conversion.server.body["spec"].get("model", {}).get("name", "")
    path = f"{_DATA}inc/{model.rpartition('/')[2].lower()}"
    if setting.name == RESULT:
        path, note = conversion.value(setting), ""
        if path is None:
            return
        path = path.rpartition("/")[0] if path.endswith(".json") else path
    conversion.quantization.put("existing.path", path, str(setting), note)
    # The guide's container ran as root: uid 1000 reads its files through this group.
    for draft in (conversion.server, conversion.quantization):
        draft.put(
            "cache.fsGroup",
            _GROUP,
            "The guide's calibration ran as root",
            "Its files are given to this group.",
        )


def _dataset(conversion: Conversion, setting: Setting, claim: str) -> None:
    """Samples, and what measuring them takes."""
    path = conversion.value(setting)
    if path is None:
        return
    quantization, given = conversion.quantization, conversion.options.dataset_claim
    if given is None and not path.endswith(".pkl") and not path.startswith(("/", ".")):
        quantization.put("dataset.huggingFace.name", path, str(setting))
    elif given is None and not path.startswith(_DATA):
        conversion.problem(
            setting,
            "is no file below /data, which is all that the guide's container saw: put it into a claim, and "
            "name that by --dataset-claim",
        )
    else:
        inside = path.removeprefix(_DATA) if path.startswith(_DATA) else path.rpartition("/")[2]
        file = {"claimName": given or claim, "path": inside}
        note = "It has to be there. A pickle is a program: take it from people whose code you would run."
        quantization.put("dataset.persistentVolumeClaim", file, str(setting), note)
    quantization.put(
        "model.trustRemoteCode",
        True,
        "The calibration scripts",
        "They run the code that a model's repository brings along, as in the guide: look at it first.",
    )
    if conversion.options.cache_claim is None:
        note = "Whichever pod mounts the new volume first gives it to this group."
        quantization.put("cache.fsGroup", _GROUP, "The server's claim", note)
    batch = conversion.settings.get(BATCH)
    if batch is not None:
        conversion.put(batch)
