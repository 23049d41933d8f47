"""Hooks of MkDocs: which pages the navigation holds, and an anchor for each field of the reference."""

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import Files
from mkdocs.structure.pages import Page

FIELD = re.compile(r"^\| `((?:spec|status)\.[^`]+)` \|", re.M)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put pages in the place of `folder/*.md` in `nav`: those that nothing else in it names, by name."""
    config.nav = _expanded(config.nav, Path(config.docs_dir), set(_names(config.nav)))
    return config


def _names(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    return [name for each in (entry.values() if isinstance(entry, dict) else entry) for name in _names(each)]


def _expanded(entries: list[Any], docs: Path, named: set[str]) -> list[Any]:
    found: list[Any] = []
    for entry in entries:
        if isinstance(entry, dict):
            found.append({title: _expanded(pages, docs, named) for title, pages in entry.items()})
        elif "*" in entry:
            pages = sorted(str(page.relative_to(docs)) for page in docs.glob(entry))
            found += [page for page in pages if page not in named]
        else:
            found.append(entry)
    return [entry for entry in found if not isinstance(entry, dict) or all(entry.values())]


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Make each field of a reference page a place to point at: `vllmserver.html#spec.model.name`."""
    if not page.file.src_uri.startswith("reference/"):
        return markdown
    return FIELD.sub(lambda row: f'| <a id="{row[1]}" href="#{row[1]}"><code>{row[1]}</code></a> |', markdown)
