"""The pages as a site: strict, complete, and with nothing from elsewhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    # With `--quiet` warnings are not counted, and nothing is strict.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def navigation(page: Path) -> list[str]:
    return re.findall(r'<a href="([^"]+)" class="md-nav__link', page.read_text())


def test_every_page_is_in_the_navigation_once(site: Path) -> None:
    """Whatever folder it is in: mkdocs.yml names folders by patterns (tools/docs/site.py)."""
    found = [link for link in navigation(site / "404.html") if not link.startswith("#")]
    pages = [str(page.relative_to(DOCS).with_suffix(".html")) for page in DOCS.rglob("*.md")]
    assert sorted(link.lstrip("/") for link in found) == sorted(pages)


@pytest.mark.parametrize("kind", ["vllmserver", "fp8quantization"])
def test_every_field_has_a_place_to_point_at(site: Path, kind: str) -> None:
    fields = re.findall(r"^\| `([^`]+)` \|", (DOCS / "reference" / f"{kind}.md").read_text(), re.M)
    assert len(fields) > 50
    assert re.findall(r'<a id="([^"]+)"', (site / "reference" / f"{kind}.html").read_text()) == fields


class Fetched(HTMLParser):
    """What a browser fetches by itself when it shows a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in ("script", "img", "iframe"):
            self.addresses.append(given.get("src") or "")
        elif tag == "link" and given.get("rel") in ("stylesheet", "preconnect", "preload", "icon"):
            self.addresses.append(given.get("href") or "")


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    fetched = {address for page in pages for address in Fetched(page.read_text()).addresses}
    assert any(address.endswith(".css") for address in fetched)
    assert not {address for address in fetched if re.match(r"(https?:)?//", address)}
