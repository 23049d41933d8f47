"""The pages show what the demo prints: its parts in docs/demo.md, and some of that in the README."""

import ast
from pathlib import Path

from tests.demo.__main__ import OPENING
from tests.demo.answers import PLAYED

ROOT = Path(__file__).parents[2]
SHOWN = [
    line.removeprefix("    ")
    for line in (ROOT / "docs" / "demo.md").read_text().splitlines()
    if line.startswith("    ")
]
"""What docs/demo.md shows, line by line, after the command itself."""


def headings() -> set[str]:
    """Headings of parts, as the demo's modules have them."""
    return {
        ast.literal_eval(node.args[0])
        for file in (ROOT / "tests" / "demo").glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "heading"
    }


def test_the_page_has_every_part_and_no_other() -> None:
    told = [line.removeprefix("# ") for line in SHOWN if line.startswith("# ")]
    assert sorted(told) == sorted(headings())


def test_the_page_says_what_is_played() -> None:
    assert SHOWN[0] == "make demo"
    assert SHOWN[-1].startswith("Every state above was observed.")
    assert set(f"{OPENING}\n{PLAYED}".splitlines()) < set(SHOWN)


def test_the_readme_shows_lines_of_the_page_in_their_order() -> None:
    readme = (ROOT / "README.md").read_text()
    _, _, rest = readme.partition("](docs/demo.md):\n")
    excerpt, _, _ = rest.partition("\n## ")
    left = iter(SHOWN)
    lines = [line.removeprefix("    ") for line in excerpt.splitlines() if line]
    assert len(lines) > 20
    # `in` consumes the iterator up to the line that it finds.
    assert [line for line in lines if line not in left] == []
