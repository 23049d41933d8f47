"""Quantities as the API server writes them."""

import re
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.things import server
from vllm_operator.api.quantity import PATTERN, canonical, exact, in_bytes, whole

SUFFIXES = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
EXPONENTS = [f"{e}{sign}{n}" for e in "eE" for sign in ("", "+", "-") for n in (0, 1, 3, 6, 9, 10, 18)]
NUMBERS = st.from_regex(re.compile(r"([0-9]{1,12}(\.[0-9]{0,9})?|\.[0-9]{1,9})", re.ASCII), fullmatch=True)
QUANTITIES = st.builds(str.__add__, NUMBERS, st.sampled_from(SUFFIXES + EXPONENTS))


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("1000m", "1"), ("1.5", "1500m"), ("2048Mi", "2Gi"), ("0.1Gi", "107374182400m"), ("1e3", "1k"),
        ("0.5n", "1m"), ("0", "0"), ("0Gi", "0"), ("0.0", "0"), ("0e5", "0"), ("1.5Gi", "1536Mi"),
        ("1024", "1024"), ("1000", "1k"), ("1024Ki", "1Mi"), ("1Ki", "1Ki"), ("0.5Ki", "512"), ("8", "8"),
        ("16000m", "16"), ("1e-3", "1m"), ("1E3", "1k"), ("1E", "1E"), ("1000P", "1E"), ("9000P", "9E"),
        ("5.", "5"), (".5", "500m"), ("007", "7"), ("1e+10", "10G"), ("100000000000", "100G"), ("1.1m", "2m"),
        ("999m", "999m"), ("1u", "1m"), ("1001u", "2m"), ("12.500Mi", "12800Ki"), ("1000Ki", "1000Ki"),
    ],
)  # fmt: skip
def test_known_forms(given: str, stored: str) -> None:
    assert canonical(given) == stored


@given(QUANTITIES)
@example("0.0000000001")
@example("9E")
@example("7.9Ei")
def test_canonical_is_idempotent_and_keeps_the_value(text: str) -> None:
    assert re.fullmatch(PATTERN, text, re.ASCII)
    stored = canonical(text)
    assert re.fullmatch(PATTERN, stored, re.ASCII)
    assert canonical(stored) == stored
    assert exact(stored) == Fraction(ceil(exact(text) * 1000), 1000)


@given(QUANTITIES, QUANTITIES)
def test_one_value_has_few_forms(one: str, other: str) -> None:
    """Two quantities of one value and one kind of suffix are written alike."""
    if exact(one) == exact(other) and one.endswith("i") == other.endswith("i"):
        assert canonical(one) == canonical(other)


def test_bytes_are_whole() -> None:
    assert in_bytes("1.5Gi") == 1536 * 2**20
    assert in_bytes("1.5") == 2
    assert in_bytes("1n") == 1
    assert in_bytes("0") == 0


@pytest.mark.parametrize("text", ["1", "1.5", "100m", "2Gi", "3E", "2e3", "2E-3", ".5k"])
def test_exact_values(text: str) -> None:
    known = {"1": 1, "1.5": 1.5, "100m": Fraction(1, 10), "2Gi": 2**31, "3E": 3 * 10**18, "2e3": 2000}
    more = {"2E-3": Fraction(2, 1000), ".5k": 500}
    assert exact(text) == (known | more)[text]


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("0.1Gi", "107374183"),
        ("100m", "1"),
        ("1.5Gi", "1536Mi"),
        ("1999.5", "2k"),
        ("0", "0"),
        ("1Gi", "1Gi"),
    ],
)
def test_sizes_are_rounded_up_to_whole_bytes(given: str, stored: str) -> None:
    assert whole(canonical(given)) == stored


def test_what_counts_bytes_has_no_fraction() -> None:
    """The API server warns of it, and only the operator would hear that."""
    tenth = "0.1Gi"
    limits = {"memory": tenth, "ephemeral-storage": tenth, "cpu": "0.1"}
    spec = server(
        {
            "shmSize": tenth,
            "cache": {"size": tenth},
            "cpu": {"kvCache": tenth},
            "resources": {"limits": limits},
        }
    ).spec
    assert [spec.shm_size, spec.cache.size, spec.cpu.kv_cache] == ["107374183"] * 3
    assert spec.resources.limits == {"memory": "107374183", "ephemeral-storage": "107374183", "cpu": "100m"}
