"""From files to what is printed."""

import re
from collections.abc import Mapping
from pathlib import Path

from vllm_operator.api.meta import InvalidObjectError
from vllm_operator.api.reasons import StalledError
from vllm_operator.desired.defaults import Defaults
from vllm_operator.importenv.conversion import Conversion, Options
from vllm_operator.importenv.convert import convert
from vllm_operator.importenv.settings import NotImportedError, read
from vllm_operator.importenv.text import text
from vllm_operator.preview import Preview

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)
_NO_COMMIT = "0" * 40


def imported(
    files: tuple[Path, ...], environment: Mapping[str, str], options: Options, defaults: Defaults
) -> str:
    """The resources that files of the guide mean, as YAML. Raises NotImportedError."""
    _check(options)
    conversion = convert(read(files, environment), options)
    problems = _refused(conversion) or _stalled(conversion, defaults)
    if problems:
        raise NotImportedError(problems)
    return text(conversion, files)


def _check(options: Options) -> None:
    if (options.cache_size is None) == (options.cache_claim is None):
        raise NotImportedError(
            [
                "No variable says where the weights are kept: give --cache-size SIZE for a new claim, "
                "such as 100Gi, or --cache-claim NAME for one that exists, and not both"
            ]
        )
    if options.namespace is not None and not _NAMESPACE.fullmatch(options.namespace):
        raise NotImportedError(
            ["--namespace: must be at most 63 of a-z, 0-9 and -, and begin and end with none of -"]
        )


def _refused(conversion: Conversion) -> list[str]:
    """What the API server would refuse."""
    problems = []
    for draft in conversion.drafts:
        try:
            draft.parsed()
        except InvalidObjectError as error:
            problems += [draft.sourced(problem) for problem in error.problems]
    return list(dict.fromkeys(problems))


def _stalled(conversion: Conversion, defaults: Defaults) -> list[str]:
    """What the operator would refuse, with its present settings."""
    preview = Preview(defaults, _NO_COMMIT)
    problems = []
    for draft in conversion.drafts:
        try:
            preview.show(draft.parsed())
        except StalledError as error:
            problems.append(draft.sourced(error.message))
    return problems
