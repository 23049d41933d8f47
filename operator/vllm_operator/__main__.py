"""The command line: run the operator, render a resource's children, import dotenv files, print the CRDs."""

import asyncio
import dataclasses
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from vllm_operator import __version__
from vllm_operator.api.fp8quantization import FP8Quantization
from vllm_operator.api.kinds import CLASSES, Ours
from vllm_operator.api.meta import GROUP, InvalidObjectError
from vllm_operator.api.reasons import StalledError
from vllm_operator.api.schema import crds as all_crds
from vllm_operator.api.vllmserver import VLLMServer
from vllm_operator.config import InvalidSettingError, Settings
from vllm_operator.generate import dump
from vllm_operator.preview import Preview, without_programs


def _settings() -> Settings:
    try:
        return Settings.read()
    except InvalidSettingError as error:
        raise click.ClickException(str(error)) from error


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Run vLLM model servers on Kubernetes."""


@main.command()
@click.option("--namespace", "namespaces", multiple=True, help="Watch this namespace only; may be repeated.")
@click.option("--health-address", help="Address of the health and metrics server.")
@click.option("--health-port", type=click.IntRange(0, 65535), help="Port of the health and metrics server.")
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning"]), default="info", show_default=True
)
def run(
    namespaces: tuple[str, ...], health_address: str | None, health_port: int | None, log_level: str
) -> None:
    """Run the operator against the cluster of KUBECONFIG, or the one that this pod is in."""
    settings = _settings()
    changes: dict[str, Any] = {"namespaces": namespaces or settings.namespaces}
    if health_address is not None:
        changes["health_address"] = health_address
    if health_port is not None:
        changes["health_port"] = health_port
    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    # Imported here: kopf and the client take half a second, and the other commands need neither.
    from vllm_operator.controller.operator import run as run_operator  # noqa: PLC0415

    async def run_to_the_end() -> None:
        code = 1
        try:
            code = await run_operator(dataclasses.replace(settings, **changes))
        except InvalidSettingError:
            raise
        except Exception:
            logging.getLogger(__name__).exception("the operator has failed")
        # Before asyncio cancels what is left: after a fault, kopf's watchers take that for the end of a
        # pause, and go on for ever.
        logging.shutdown()
        os._exit(code)

    try:
        asyncio.run(run_to_the_end())
    except InvalidSettingError as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--commit", metavar="SHA", default="0" * 40, help="Commit that the prefetch finds. Default: zeros."
)
@click.option("--programs", is_flag=True, help="Print the programs for pods in full, not a line for each.")
def render(files: tuple[Path, ...], commit: str, *, programs: bool) -> None:
    """Print the objects that the operator would make of the resources in FILES, without a cluster: those that
    fill the cache first, and then those that measure or serve.

    A VLLMServer that names an FP8Quantization is shown as it serves once that is ready, where that is in
    FILES too; else as it serves until then, with a note: it may be in the cluster.

    Unknown fields are errors here, and objects of other kinds are left out with a note. Exit code 1 means
    that a resource cannot be rendered, or that a server and its quantization in FILES do not fit; each
    problem is printed with its field's path.
    """
    resources, broken, problems = _read(files)
    preview = Preview(_settings().defaults, commit, broken)
    rendered: list[dict[str, Any]] = []
    # Quantizations first: servers are shown with what these bring.
    for file, resource in sorted(resources, key=lambda each: isinstance(each[1], VLLMServer)):
        try:
            manifests, note = preview.show(resource)
        except StalledError as error:
            problems.append(f"{file}: {error.message}")
            continue
        rendered += manifests
        if note:
            click.echo(f"{file}: {resource.name}: {note}", err=True)
    for problem in problems:
        click.echo(problem, err=True)
    if problems:
        sys.exit(1)
    click.echo(dump(rendered if programs else without_programs(rendered)), nl=False)


def _read(files: tuple[Path, ...]) -> tuple[list[tuple[Path, Ours]], list[tuple[str, str]], list[str]]:
    """The resources in files, each with its file; namespace and name of others; what is wrong with these."""
    resources: list[tuple[Path, Ours]] = []
    broken: list[tuple[str, str]] = []
    problems: list[str] = []
    for file, body in _documents(files):
        if _is_foreign(body):
            name = (body.get("metadata") or {}).get("name")
            click.echo(f"{file}: {body['kind']} {name} is not of the operator's kinds: left out", err=True)
            continue
        try:
            resources.append((file, CLASSES.get(str(body.get("kind")), VLLMServer).parse(body, strict=True)))
        except InvalidObjectError as error:
            problems += [f"{file}: {problem}" for problem in error.problems]
            broken += _named(body)
    return resources, broken, problems


def _named(body: dict[str, Any]) -> list[tuple[str, str]]:
    """Namespace and name of a quantization that cannot be read, as far as it says them."""
    metadata = body.get("metadata")
    if body.get("kind") != FP8Quantization.kind or not isinstance(metadata, dict):
        return []
    return [(str(metadata.get("namespace") or "default"), str(metadata.get("name")))]


def _is_foreign(body: dict[str, Any]) -> bool:
    """Whether an object is of another kind; what is only misspelled is not."""
    version, kind = body.get("apiVersion"), body.get("kind")
    if not (isinstance(version, str) and isinstance(kind, str)):
        return False
    return kind not in CLASSES and not version.startswith(f"{GROUP}/")


def _documents(files: tuple[Path, ...]) -> Iterator[tuple[Path, dict[str, Any]]]:
    for file in files:
        try:
            documents = [
                document for document in yaml.safe_load_all(file.read_bytes()) if document is not None
            ]
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise click.ClickException(f"{file}: is not YAML: {error}") from error
        for document in documents:
            if not isinstance(document, dict):
                raise click.ClickException(f"{file}: holds {type(document).__name__}, not an object")
            yield file, document


@main.command("import-env")
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--name", help="Name of the server. Default: made of the model's name.")
@click.option("--namespace", help="Namespace of the resources. Default: none is written.")
@click.option(
    "--device", type=click.Choice(["cpu", "gaudi"]), help="Default: LLM_DEVICE, or what the variables tell."
)
@click.option("--cache-size", metavar="SIZE", help="Size of a new claim for the weights, such as 100Gi.")
@click.option("--cache-claim", metavar="NAME", help="Existing claim for the weights.")
@click.option("--dataset-claim", metavar="NAME", help="Claim with the file of FP8_DATASET_PATH.")
@click.option("--microservice", is_flag=True, help="Make the LLM microservice, whatever the variables tell.")
@click.option("--no-environment", is_flag=True, help="Take what the files say, and nothing else.")
def import_env(files: tuple[Path, ...], *, no_environment: bool, **options: Any) -> None:
    """Print the resources that dotenv FILES of the original guide mean: a VLLMServer, and an FP8Quantization
    where variables of FP8 are set.

    As there, variables of the environment go before those of files, and later files before earlier ones.
    Comments name the variable of each field, and those that have no effect. What is a secret, or may be one,
    is not printed: a `kubectl create secret` line takes its place. Exit code 1 means that nothing was
    printed; each problem is told with its file and line. One of --cache-size and --cache-claim is required.
    """
    # Imported here: nothing else reads such files.
    from vllm_operator.importenv.command import imported  # noqa: PLC0415
    from vllm_operator.importenv.conversion import Options  # noqa: PLC0415
    from vllm_operator.importenv.settings import NotImportedError  # noqa: PLC0415

    environment = {} if no_environment else os.environ
    try:
        printed = imported(files, environment, Options(**options), _settings().defaults)
    except NotImportedError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        sys.exit(1)
    click.echo(printed, nl=False)


@main.command()
def crds() -> None:
    """Print the CustomResourceDefinitions, for `kubectl apply --server-side -f -`."""
    click.echo(dump(all_crds()), nl=False)


if __name__ == "__main__":
    main()
