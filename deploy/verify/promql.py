"""What a PromQL expression is about, from its text alone. Whether it parses is Prometheus' to say.

Pure. It tells apart what is quoted, what selects, what groups and what is a name; the rest it leaves alone.
"""

import re
from typing import Final

_NAME: Final = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_TOKEN: Final = re.compile(
    r"""(?P<quoted>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)"""
    r"""|(?P<matchers>\{(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[^}"'])*\})"""
    r"""|(?P<range>\[[^\]]*\])"""
    r"""|(?P<grouping>\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\))"""
    r"""|(?P<offset>\boffset\s+-?\s*(?:\d+(?:ms|[smhdwy]))+)"""
    r"""|(?P<comparison>(?:==|!=|>=|<=|>|<)(?!~))"""
    rf"""|(?P<name>{_NAME})"""
    r"""|(?P<other>.)""",
    re.DOTALL,
)
# A function or an aggregation: `rate (`, `sum by (a) (`.
_CALLED: Final = re.compile(r"\s*(?:(?:by|without)\s*\([^)]*\)\s*)?\(")
_BOOL: Final = re.compile(r"\s*bool\b")
_WORDS: Final = frozenset(
    {
        *("and", "or", "unless", "atan2", "bool", "offset", "inf", "nan"),
        *("by", "without", "on", "ignoring", "group_left", "group_right"),
    }
)
_POSITIVE: Final = {"unless": "and", "absent": "count", "absent_over_time": "present_over_time"}
_DURATION: Final = re.compile(r"(?:\d+(?:ms|[smhdwy]))+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")


def selectors(expression: str) -> list[str]:
    """Every metric that it names, as often as it does, with the matchers behind it: `up{job="a"}`."""
    found: list[str] = []
    position = 0
    bare = False  # whether a name stands right before: then braces belong to it
    while position < len(expression):
        number = _DURATION.match(expression, position)
        if number is not None:
            position, bare = number.end(), False
            continue
        token = _TOKEN.match(expression, position)
        assert token is not None  # noqa: S101  the last of its cases takes anything
        text = token[0]
        if token.lastgroup == "matchers":
            if bare:
                found[-1] += text
            else:
                found.append(text)
            bare = False
        elif token.lastgroup == "name":
            bare = text.lower() not in _WORDS and _CALLED.match(expression, token.end()) is None
            if bare:
                found.append(text)
        elif not text.isspace():
            bare = False
        position = token.end()
    return found


def metrics(expression: str) -> set[str]:
    """The names of its metrics. A selector without a name is `""`."""
    return {selector.partition("{")[0] for selector in selectors(expression)}


def unfiltered(expression: str) -> str:
    """The same for an alert, made to answer where the alert is quiet.

    A quiet alert returns nothing, and so does one that asks for a label that does not exist. Here comparisons answer 0 or 1
    instead of leaving out what is not so, `unless` asks for what it leaves out, `absent` for what it misses, and what was a
    week ago is asked for as it is now. So a sound alert returns something, and one whose sides cannot meet still nothing.
    """
    return "".join(_asked(token, expression) for token in _TOKEN.finditer(expression))


def _asked(token: re.Match[str], expression: str) -> str:
    if token.lastgroup == "comparison" and _BOOL.match(expression, token.end()) is None:
        return f"{token[0]} bool"
    if token.lastgroup == "offset":
        return ""
    return _POSITIVE.get(token[0], token[0])
