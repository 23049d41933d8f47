"""What the pages for people say of files, reasons, fields and samples is so."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from vllm_operator.api.kinds import CLASSES
from vllm_operator.api.reasons import Reason

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SAMPLES = ROOT / "manifests" / "samples"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
TASKS = sorted((DOCS / "tasks").glob("*.md"))
CODE = re.compile(r"^(?: {4,}.*\n(?:[ \t]*\n)*)+", re.M)
"""A block of code: lines that are indented."""


def where(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    return CODE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """What GitHub makes of headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def blocks(page: Path) -> list[str]:
    """Blocks of code, without their indentation."""
    return [re.sub(r"^ {4}", "", found[0], flags=re.M) for found in CODE.finditer(page.read_text())]


@pytest.mark.parametrize("page", PAGES, ids=where)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=where)
def test_lists_and_code_are_shown_alike_on_the_site_and_elsewhere(page: Path) -> None:
    """The site wants a blank line before a list, and code in a list eight deep; GitHub takes that too."""
    assert not re.findall(r"^(?![-*] |\d+\. |\s)\S.*\n[-*] ", prose(page), re.M)
    starts = [re.match(" +", found[0]) for found in CODE.finditer(page.read_text())]
    assert {len(start[0]) for start in starts if start} <= {4, 8}


@pytest.mark.parametrize("page", PAGES, ids=where)
def test_samples_that_are_named_exist(page: Path) -> None:
    for sample in re.findall(r"manifests/samples/[-\w]+\.yaml", page.read_text()):
        assert (ROOT / sample).exists(), sample


def test_every_page_and_every_sample_is_named_somewhere() -> None:
    linked = {
        (page.parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in re.findall(r"\]\(([^)\s]+)\)", prose(page))
    }
    lonely = [where(page) for page in PAGES if DOCS in page.parents and page not in linked]
    # Decisions are found by their folder.
    assert [page for page in lonely if not page.startswith("docs/decisions/")] == []
    text = "".join(page.read_text() for page in TASKS)
    unused = {sample.name for sample in SAMPLES.glob("*.yaml")} - set(re.findall(r"[-\w]+\.yaml", text))
    assert unused == set()


def test_troubleshooting_has_every_reason_and_no_other() -> None:
    told = re.findall(r"^### (.+)$", prose(DOCS / "troubleshooting.md"), re.M)
    assert sorted(told) == sorted(reason.value for reason in Reason)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_says_more_than_its_name(reason: Reason) -> None:
    text = (DOCS / "troubleshooting.md").read_text()
    _, _, rest = text.partition(f"\n### {reason.value}\n")
    assert len(re.split(r"^##", rest, maxsplit=1, flags=re.M)[0].split()) > 5


@pytest.mark.parametrize("page", PAGES, ids=where)
def test_reasons_that_tasks_name_exist(page: Path) -> None:
    """Words in backquotes that look like reasons are reasons, or words of the API and of Kubernetes."""
    if page not in (*TASKS, DOCS / "troubleshooting.md"):
        return
    words = set(re.findall(r"`([A-Z][a-z0-9]+(?:[A-Z][a-z]+)+)`", prose(page)))
    kinds = {*CLASSES, "PersistentVolumeClaim", "ConfigMap", "NetworkPolicy"}
    modes = {"ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"}
    types = {"ModelCached", "MicroserviceReady", "ArtifactsVerified", "DoNotSchedule"}
    assert words - {reason.value for reason in Reason} - kinds - modes - types == set()


def documents() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for file in [*sorted(DOCS.rglob("*.md")), *sorted(SAMPLES.glob("*.yaml"))]:
        texts = blocks(file) if file.suffix == ".md" else [file.read_text()]
        for text in texts:
            # Such a block stands between the lines of a `kubectl apply -f - <<'END'`.
            body = re.sub(r"^kubectl apply -f - <<'END'\n(.*?)^END$.*", r"\1", text, flags=re.M | re.S)
            if body.startswith("apiVersion:") or file.suffix == ".yaml":
                found += [(where(file), each) for each in yaml.safe_load_all(body) if each]
    return found


@pytest.mark.parametrize(
    ("file", "body"), documents(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_resources_in_docs_and_samples_are_read_without_a_misspelled_field(
    file: str, body: dict[str, Any]
) -> None:
    assert {"apiVersion", "kind", "metadata"} <= body.keys()
    if body["kind"] in CLASSES:
        CLASSES[body["kind"]].parse(body, strict=True)
