"""What is printed: the drafts as YAML, below comments on Secrets and on what has no effect."""

from collections.abc import Iterable
from pathlib import Path

from vllm_operator.importenv.conversion import Conversion
from vllm_operator.importenv.draft import WRAPPER
from vllm_operator.importenv.settings import printable


def text(conversion: Conversion, files: Iterable[Path]) -> str:
    """The resources of a conversion that has been checked."""
    lines = [
        f"From {', '.join(printable(str(file)) for file in files)}. Look it through before you apply it."
    ]
    lines += _secrets(conversion)
    if conversion.unused:
        lines += ["", "Without effect:"]
        for setting, why in conversion.unused:
            first, *rest = WRAPPER.wrap(f"{setting}: {why}")
            lines += [f"- {first}", *(f"  {line}" for line in rest)]
    comments = "".join(f"# {line}".rstrip() + "\n" for line in lines)
    return comments + "".join(draft.text() for draft in conversion.drafts)


def _secrets(conversion: Conversion) -> list[str]:
    if not conversion.keys:
        return []
    lines = ["", "First make what the resources name, with the values in variables of your shell:"]
    namespace = conversion.options.namespace
    kubectl = f"kubectl -n {namespace}" if namespace else "kubectl"
    for secret, settings in conversion.keys.items():
        values = " ".join(f'--from-literal={each.name}="${{{each.name}:?}}"' for each in settings)
        lines.append(f"  {kubectl} create secret generic {secret} {values}")
        lines.append(f"  ({', '.join(map(str, settings))})")
    return lines
