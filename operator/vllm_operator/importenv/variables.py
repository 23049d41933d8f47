"""Variables of the pods: those that nobody has a field for, and proxies that ask for a password."""

from vllm_operator.api.owned import OWNED_VARIABLES
from vllm_operator.importenv.conversion import Conversion
from vllm_operator.importenv.draft import Draft
from vllm_operator.importenv.settings import Setting
from vllm_operator.importenv.table import TABLE

_PROXIES = {name: row.server for name, row in TABLE.items() if row.server.startswith("proxy.")}
_OF_VLLM = ("HABANA_", "HCCL_", "HF_", "PT_", "TORCH", "VLLM_")
"""Beginnings of variables that vLLM, PyTorch or Gaudi may read."""
_OF_OPERATOR = "VLLM_OPERATOR_"
_UNKNOWN = "Not known to the guide"
_HIDDEN = "Not shown: it may be a secret."


def add(conversion: Conversion, draft: Draft, setting: Setting, note: str = "") -> None:
    """Give a setting to the pods; what may not be shown comes from a Secret."""
    entry: dict[str, object] = {"name": setting.name}
    if conversion.hides(setting):
        secret = f"{conversion.name}-environment"
        keys = conversion.keys.setdefault(secret, [])
        if setting not in keys:
            keys.append(setting)
        entry["valueFrom"] = {"secretKeyRef": {"name": secret, "key": setting.name}}
        note = f"{note} {_HIDDEN}".lstrip()
    else:
        entry["value"] = conversion.shown(setting)
    draft.add("extraEnv", entry, str(setting), note)


def unknown(conversion: Conversion, setting: Setting) -> None:
    """What becomes of a variable that is not in the table."""
    if setting.name.startswith(_OF_OPERATOR):
        conversion.unused.append((setting, "A setting of the operator."))
    elif setting.name in OWNED_VARIABLES:
        conversion.unused.append((setting, f"{_UNKNOWN}; the operator sets it itself."))
    elif setting.name.startswith(_OF_VLLM) and setting.shows_name:
        add(conversion, conversion.server, setting, f"{_UNKNOWN}.")
    else:
        conversion.unused.append((setting, f"{_UNKNOWN}. For a variable of the pods there is extraEnv."))


def proxies(conversion: Conversion) -> None:
    """Proxies as fields; all as variables where the address of one has more in it than a host and a port,
    such as a password, since a resource has one or the other."""
    chosen: dict[str, Setting] = {}
    for name, field in _PROXIES.items():
        setting = conversion.settings.get(name)
        if setting is not None and chosen.setdefault(field, setting) is not setting:
            conversion.unused.append((setting, f"{chosen[field].name} says it already."))
    secret = any(
        each.value.startswith(("http://", "https://")) and conversion.hides(each) for each in chosen.values()
    )
    for setting in chosen.values():
        if not secret:
            conversion.put(setting)
            continue
        for draft in (conversion.server, conversion.quantization):
            if draft.body["metadata"]:
                add(conversion, draft, setting, "A variable, since one of the proxies may have a password.")
