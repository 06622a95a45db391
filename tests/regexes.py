"""Whether a regular expression may take more than time in proportion: told from the expression itself, without a clock.

A backtracking engine is slow where one stretch of text can be taken in more than one way and what follows it may fail: `(a+)+b`,
`a*a*b`, and, since a search begins anew at every character, `a+b` as well. As a machine: there are two places p and q that can
both be in when a word has been read over and over, with a way from p to q on that same word. From each repetition on the engine
may try to go over, so the tries grow with the square of the length at least. Where both stay in one place but on two paths, they
double. A place at which the search could stop successfully is harmless: it would.

Taken for more than they are: bounded repeats (as unbounded), possessive ones (as ordinary), references to a group (as its
expression), and assertions about more than one character (as true). So an expression that is found fast is fast.
"""

import importlib
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Final

_parser: Final[Any] = importlib.import_module("re._parser")
_op: Final[Any] = importlib.import_module("re._constants")

_Test = Callable[[str], bool]
_Condition = Callable[[str | None, str | None], bool]
"""On the characters before and behind; None is an end of the text."""
_At = tuple[int, str]
"""A place, and the character that was read on the way to it."""

_ROOT: Final = -1
"""The place of a search that has not begun to match."""
_MOST_COPIES: Final = 9
_ANYWHERE: Final = "aZéβЖ界ツ0٣_ \n\t.!-~🦊\u0301\u200d\x00"


def is_linear(pattern: re.Pattern[str], *, anchored: bool = False) -> bool:
    """Whether it takes time in proportion to the text, whatever the text.

    Args:
        pattern: the expression.
        anchored: it is only asked whether it matches a whole text.
    """
    machine = _Machine(pattern, anchored=anchored)
    return not (machine.doubles() or machine.squares())


class _Machine:
    """The expression as places to be in. `search` also stays at the root, from where it may begin at any character."""

    def __init__(self, pattern: re.Pattern[str], *, anchored: bool) -> None:
        self._free: list[list[tuple[int, _Condition]]] = [[]]
        self._reads: dict[int, tuple[_Test, int]] = {}
        self._groups: dict[int, Any] = {}
        self._ignore_case = bool(pattern.flags & re.IGNORECASE)
        self._anchored = anchored
        self._candidates = set(_ANYWHERE)
        self._end = self._build(_parser.parse(pattern.pattern, pattern.flags), 0)
        self._alphabet = self._representatives()
        self.step = cache(self._step)
        self._nodes = self._reachable()

    # ---- from the parsed expression

    def _new(self) -> int:
        self._free.append([])
        return len(self._free) - 1

    def _join(self, start: int, end: int, condition: _Condition = lambda *_: True) -> None:
        self._free[start].append((end, condition))

    def _build(self, items: Any, start: int) -> int:
        for op, argument in items:
            start = self._add(op, argument, start)
        return start

    def _add(self, op: Any, argument: Any, start: int) -> int:
        if (test := self._test(op, argument)) is not None:
            reading, end = self._new(), self._new()
            self._join(start, reading)
            self._reads[reading] = test, end
            return end
        if op is _op.SUBPATTERN:
            self._groups[argument[0]] = argument[3]
            return self._build(argument[3], start)
        if op is _op.ATOMIC_GROUP:
            return self._build(argument, start)
        if op is _op.GROUPREF:
            return self._build(self._groups[argument], start)
        if op in (_op.MAX_REPEAT, _op.MIN_REPEAT, _op.POSSESSIVE_REPEAT):
            least, most, repeated = argument
            return self._repeat(least, most, repeated, start)
        end = self._new()
        if op is _op.BRANCH:
            for branch in argument[1]:
                begin = self._new()
                self._join(start, begin)
                self._join(self._build(branch, begin), end)
        else:
            self._join(start, end, self._condition(op, argument))
        return end

    def _repeat(self, least: int, most: int, items: Any, start: int) -> int:
        for _ in range(min(least, _MOST_COPIES)):
            start = self._build(items, start)
        if most == least:
            return start
        begin, end = self._new(), self._new()
        self._join(start, begin)
        self._join(start, end)
        after = self._build(items, begin)
        self._join(after, end)
        if most > least + 1:
            self._join(after, begin)
        return end

    def _test(self, op: Any, argument: Any) -> _Test | None:
        if op in (_op.LITERAL, _op.NOT_LITERAL):
            self._candidates |= {chr(argument), chr(argument).lower(), chr(argument).upper()[0]}
        if op is _op.IN:
            for kind, value in argument:
                if kind in (_op.LITERAL, _op.RANGE):
                    edges = (value,) if kind is _op.LITERAL else (value[0], value[1], min(value[1] + 1, 0x10FFFF))
                    self._candidates |= set(map(chr, edges))
        return _fold(_one_character(op, argument), self._ignore_case)

    def _condition(self, op: Any, argument: Any) -> _Condition:
        if op is _op.AT:
            return _CONDITIONS[argument]
        if op in (_op.ASSERT, _op.ASSERT_NOT) and len(argument[1]) == 1:
            direction, ((kind, value),) = argument
            if (test := self._test(kind, value)) is not None:
                wanted = op is _op.ASSERT

                def holds(before: str | None, behind: str | None) -> bool:
                    character = before if direction < 0 else behind
                    return (character is not None and test(character)) == wanted

                return holds
        return lambda *_: True

    def _representatives(self) -> str:
        """One character of each kind that the expression can tell apart."""
        kinds: dict[object, str] = {}
        for character in sorted(self._candidates):
            tests = tuple(test(character) for test, _ in self._reads.values())
            kinds.setdefault((tests, _is_word(character)), character)
        return "".join(kinds.values())

    # ---- as a machine

    def _step(self, at: _At, character: str) -> Counter[int]:
        """Where reading one more leads, with the number of ways; nowhere if it could as well stop here."""
        place, before = at
        found: Counter[int] = Counter()
        start = 0 if place == _ROOT else self._reads[place][1]
        paths = [(start, frozenset({start}))]
        while paths:
            state, passed = paths.pop()
            if state == self._end and place != _ROOT and not self._anchored:
                return Counter()
            if state in self._reads and self._reads[state][0](character):
                found[state] += 1
            paths += [
                (to, passed | {to})
                for to, condition in self._free[state]
                if to not in passed and condition(before, character)
            ]
        if place == _ROOT and not self._anchored:
            found[_ROOT] += 1
        return found

    def _next(self, at: _At) -> Iterator[_At]:
        for character in self._alphabet:
            for place in self.step(at, character):
                yield place, character

    def _reachable(self) -> dict[_At, set[_At]]:
        """Every place that can be in, and those that can be reached from it."""
        roots = [(_ROOT, character) for character in self._alphabet]
        everywhere = _closure(roots, self._next)
        return {at: _closure([*self._next(at)], self._next) for at in everywhere}

    def _cycles(self) -> list[_At]:
        return [at for at, later in self._nodes.items() if at in later]

    def doubles(self) -> bool:
        """Whether there are two paths from a place back to it on the same text."""
        for at in self._cycles():
            for character in self._alphabet:
                for place, ways in self.step(at, character).items():
                    if ways > 1 and at in self._nodes[place, character]:
                        return True
        return False

    def squares(self) -> bool:
        """Whether a place and another that comes after it can both be stayed in, on the same text."""
        cycles = self._cycles()
        return any(
            self._meet(p, q, b)
            for p, b in cycles
            for q, c in cycles
            if b == c and p != q and (q, c) in self._nodes[p, b]
        )

    def _meet(self, p: int, q: int, character: str) -> bool:
        def step(at: tuple[int, int, int, str]) -> Iterator[tuple[int, int, int, str]]:
            x, y, z, before = at
            for c in self._alphabet:
                for x2 in self.step((x, before), c):
                    if (p, character) not in self._nodes[x2, c] or (x2 == _ROOT) != (p == _ROOT):
                        continue
                    for z2 in self.step((z, before), c):
                        if (q, character) in self._nodes[z2, c]:
                            yield from ((x2, y2, z2, c) for y2 in self.step((y, before), c))

        goal = (p, q, q, character)
        return goal in _closure([(p, p, q, character)], step, goal)


def _closure(starts: Sequence[Any], step: Callable[[Any], Iterator[Any]], goal: Any = None) -> set[Any]:
    seen = set(starts)
    waiting = deque(seen)
    while waiting:
        for at in step(waiting.popleft()):
            if at not in seen:
                seen.add(at)
                waiting.append(at)
                if at == goal:
                    return seen
    return seen


def _one_character(op: Any, argument: Any) -> _Test | None:
    if op is _op.LITERAL:
        return lambda c: ord(c) == argument
    if op is _op.NOT_LITERAL:
        return lambda c: ord(c) != argument
    if op is _op.ANY:
        return lambda _: True
    if op is not _op.IN:
        return None
    negated = bool(argument) and argument[0][0] is _op.NEGATE

    def within(c: str) -> bool:
        return any(
            (kind is _op.LITERAL and ord(c) == value)
            or (kind is _op.RANGE and value[0] <= ord(c) <= value[1])
            or (kind is _op.CATEGORY and _CATEGORIES[value](c))
            for kind, value in argument
        )

    return lambda c: within(c) != negated


def _fold(test: _Test | None, ignore_case: bool) -> _Test | None:
    if test is None or not ignore_case:
        return test
    return lambda c: any(map(test, {c, c.lower()[0], c.upper()[0]}))


def _is_word(character: str | None) -> bool:
    return character is not None and (character.isalnum() or character == "_")


_CATEGORIES: Final[dict[Any, _Test]] = {
    _op.CATEGORY_WORD: _is_word,
    _op.CATEGORY_NOT_WORD: lambda c: not _is_word(c),
    _op.CATEGORY_DIGIT: str.isdecimal,
    _op.CATEGORY_NOT_DIGIT: lambda c: not c.isdecimal(),
    _op.CATEGORY_SPACE: str.isspace,
    _op.CATEGORY_NOT_SPACE: lambda c: not c.isspace(),
}
_CONDITIONS: Final[dict[Any, _Condition]] = {
    _op.AT_BEGINNING: lambda before, _: before is None,
    _op.AT_BEGINNING_STRING: lambda before, _: before is None,
    _op.AT_END: lambda _, behind: behind is None,
    _op.AT_END_STRING: lambda _, behind: behind is None,
    _op.AT_BOUNDARY: lambda before, behind: _is_word(before) != _is_word(behind),
    _op.AT_NON_BOUNDARY: lambda before, behind: _is_word(before) == _is_word(behind),
}
