"""No regular expression of the worker takes more than time in proportion to the text, whoever wrote the text."""

import importlib
import re
from pathlib import Path
from typing import Final

import pytest

import worker
from tests.regexes import is_linear

ROOT: Final = Path(worker.__file__).parent
ASKED: Final = "search|match|fullmatch|sub|subn|split|findall|finditer"
"""What is asked of an expression, or of the module `re` with one that has no name."""


def _patterns() -> list[tuple[str, re.Pattern[str], bool]]:
    """Name, expression, and whether it is asked about whole texts only. Others that a module holds are another module's."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        source = path.read_text()
        if "re.compile(" not in source:
            continue
        module = ".".join(("worker", *path.relative_to(ROOT).with_suffix("").parts))
        for name, value in vars(importlib.import_module(module)).items():
            if isinstance(value, re.Pattern) and f"\n{name}: Final = re.compile(" in source:
                asked = set(re.findall(rf"\b{name}\.({ASKED})\(", source))
                text = value if isinstance(value.pattern, str) else re.compile(value.pattern.decode("latin-1"))
                found.append((f"{module}.{name}", text, asked == {"fullmatch"}))
    return found


PATTERNS = _patterns()


@pytest.mark.parametrize(("pattern", "anchored"), [case[1:] for case in PATTERNS], ids=[case[0] for case in PATTERNS])
def test_it_is_linear(pattern: re.Pattern[str], *, anchored: bool) -> None:
    assert is_linear(pattern, anchored=anchored)


def test_none_is_left_out() -> None:
    sources = {str(path.relative_to(ROOT)): path.read_text() for path in ROOT.rglob("*.py")}
    written = sum(source.count("re.compile(") for source in sources.values())

    assert len(PATTERNS) == written > 30
    assert [
        name for name, source in sources.items() if re.search(rf"\bre\.({ASKED})\(|\bfrom re import\b", source)
    ] == []


@pytest.mark.parametrize(
    "pattern",
    [
        "a+b",
        r"\w+@",
        r"\w+@\w+",
        "(a+)+b",
        "(?:a|a)*b",
        "(?:a|aa)+b",
        "(?:a*)*b",
        "x(?:a+)+b",
        "xa*a*b",
        r"x\w*\d\w*!",
        r"x\s*\s+y",
        "x(?:ab|a|b)+!",
        "(?i)xa*A*b",
        r"x.*=.*;",
        "(a*)b",
    ],
)
def test_what_is_slow_is_found(pattern: str) -> None:
    assert not is_linear(re.compile(pattern))


@pytest.mark.parametrize(
    "pattern",
    [
        "a+",
        r"\S+",
        r"(?<!a)a+b",
        r"\bword\w*",
        r"\b\w+@",
        "x(?:ab)+!",
        r"https?://\S+",
        "x[ab]*c[ab]*d",
        "(a+)b?",
        "a{1,1}b",
    ],
)
def test_what_is_fast_is_not(pattern: str) -> None:
    assert is_linear(re.compile(pattern))


@pytest.mark.parametrize(
    ("pattern", "linear"), [("a+b", True), ("a+a+b", False), ("(?:a+)+", False), (r"\s*x\s*", True)]
)
def test_a_whole_text_has_one_place_to_begin_at(pattern: str, *, linear: bool) -> None:
    assert is_linear(re.compile(pattern), anchored=True) is linear
