"""A hook of MkDocs: `folder/*.md` in `nav` stands for the pages that nothing else in it names, by name."""

from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put pages in the place of patterns."""
    named = set(_names(config.nav))
    config.nav = _expanded(config.nav, Path(config.docs_dir), named)
    return config


def _names(entry: Any) -> list[str]:
    if isinstance(entry, str):
        return [entry]
    return [name for each in (entry.values() if isinstance(entry, dict) else entry) for name in _names(each)]


def _expanded(entries: list[Any], docs: Path, named: set[str]) -> list[Any]:
    found: list[Any] = []
    for entry in entries:
        if isinstance(entry, dict):
            sections = {title: _expanded(pages, docs, named) for title, pages in entry.items()}
            found.append(sections)
        elif "*" in entry:
            pages = sorted(str(page.relative_to(docs)) for page in docs.glob(entry))
            found += [page for page in pages if page not in named]
        else:
            found.append(entry)
    return found
