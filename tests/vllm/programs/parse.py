"""Asks vLLM's own parser: reads lists of words after `vllm` as JSON, a line each, and answers line by line.

The first line of the answer describes the flags of `vllm serve`. Run it with the Python of the vLLM
environment; one process for all, because the imports take longer than everything else.
"""

import contextlib
import dataclasses
import enum
import io
import json
import sys
from typing import Any

from vllm.entrypoints.cli.serve import ServeSubcommand
from vllm.utils.argparse_utils import FlexibleArgumentParser


def make_parser() -> tuple[FlexibleArgumentParser, FlexibleArgumentParser]:
    """The parser of the command line and that of `serve`, as vllm/entrypoints/cli/main.py makes them."""
    parser = FlexibleArgumentParser(prog="vllm")
    subparsers = parser.add_subparsers(required=False, dest="subparser")
    command = ServeSubcommand()
    serve = command.subparser_init(subparsers)
    serve.set_defaults(dispatch_function=command.cmd)
    return parser, serve


def plain(value: object) -> Any:
    """A value as JSON has it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    if isinstance(value, enum.Enum):
        return value.name
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def described(serve: FlexibleArgumentParser) -> list[dict[str, Any]]:
    """The flags of a parser."""
    return [
        {
            "names": action.option_strings,
            "dest": action.dest,
            "takesValue": action.nargs != 0,
            "choices": [str(choice) for choice in action.choices or ()],
        }
        for action in serve._actions
        if action.option_strings
    ]


def parsed(parser: FlexibleArgumentParser, words: list[str]) -> dict[str, Any]:
    """What the parser makes of words: the values of its namespace, or what it says against them."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            namespace = parser.parse_args(words)
    except SystemExit:
        return {"error": said.getvalue()}
    except Exception as error:  # --config reads its file while parsing
        return {"error": repr(error)}
    return {"values": {name: plain(value) for name, value in vars(namespace).items()}}


def main() -> None:
    """Answer every line."""
    parser, serve = make_parser()
    out = sys.stdout
    print(json.dumps(described(serve)), file=out, flush=True)
    for line in sys.stdin:
        print(json.dumps(parsed(parser, json.loads(line))), file=out, flush=True)


if __name__ == "__main__":
    main()
