"""A policy's YAML: as dicts and text, with the line of everything in it, and what is wrong with it as YAML."""

from typing import Final, NamedTuple

import yaml

from worker.errors import PolicyError

_LONGEST_QUOTE: Final = 300

Keys = tuple[str, ...]


class Problem(NamedTuple):
    path: Keys
    text: str
    line: int | None = None  # where it is not the line of the path


def compose(content: bytes, file: str) -> yaml.Node | None:
    """Parse YAML, keeping every scalar as the text that was written.

    BaseLoader, because YAML 1.1 reads `13_15` as the number 1315, and a version like 1.10 as 1.1. Nothing but text
    comes of it, so there is nothing unsafe to construct.
    """

    def problem(line: int, text: str) -> PolicyError:
        return PolicyError([f"{file}:{line}: {text}"])

    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise problem(content.count(b"\n", 0, error.start) + 1, "not UTF-8; save the file as UTF-8") from None
    try:
        loader = yaml.BaseLoader(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise problem(line, f"not YAML: the character U+{ord(text[error.position]):04X} is not allowed") from None
    try:
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = _on_a_line(", ".join(filter(None, (error.context, error.problem))))
        raise problem(mark.line + 1 if mark else 1, f"not YAML: {what}") from None
    except (ValueError, OverflowError):
        # PyYAML makes numbers of what an escape or a version line says, and has no word for those that are none.
        raise problem(
            loader.line + 1, "not YAML: a number that stands for nothing, in an escape or a version"
        ) from None
    except RecursionError:
        raise problem(loader.line + 1, "not a policy: nested too deeply") from None


def _on_a_line(text: str) -> str:
    """What a file says, where a message quotes it: on one line, and no longer than anybody reads."""
    cut = text if len(text) <= _LONGEST_QUOTE else f"{text[:_LONGEST_QUOTE]}…"
    return cut if cut.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in cut)


class Tree:
    """The document as dicts and text, the line of every key, and the keys that are wrong as YAML.

    `places` says from which character to which a value stands.
    """

    def __init__(self, root: yaml.Node | None) -> None:
        self.lines: dict[Keys, int] = {}
        self.places: dict[Keys, tuple[int, int]] = {}
        self.problems: list[Problem] = []
        self._seen: set[yaml.Node] = set()
        self.plain = self._read(root, ())

    def locate(self, problem: Problem) -> tuple[int, str]:
        """The line of a problem, or of the nearest thing around it, and its text with the path."""
        around = problem.path
        while around and around not in self.lines:
            around = around[:-1]
        line = problem.line or self.lines.get(around, 1)
        text = _on_a_line(problem.text)
        return line, f"{_on_a_line('.'.join(problem.path))}: {text}" if problem.path else text

    def at(self, path: Keys) -> dict[str, object]:
        """The mapping at this path; an empty one that belongs to nothing where there is none."""
        plain = self.plain
        for key in path:
            plain = plain.get(key) if isinstance(plain, dict) else None
        return plain if isinstance(plain, dict) else {}

    def _read(self, node: yaml.Node | None, path: Keys) -> object:
        if node in self._seen:
            # An alias is the same node again: its rules would stand on no line of their own, or inside themselves.
            self.problems.append(Problem(path, "is an alias (*name); write out what it stands for"))
            return {}
        if node:
            self._seen.add(node)
        if isinstance(node, yaml.ScalarNode):
            self.places[path] = node.start_mark.index, node.end_mark.index
            return node.value
        if not isinstance(node, yaml.MappingNode):
            return None  # a list stands nowhere in a policy
        plain: dict[str, object] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if not isinstance(key, yaml.ScalarNode):
                self.problems.append(Problem(path, "a key has to be text", line))
            elif key.value in plain:
                here = (*path, key.value)
                text = f"written twice, here and on line {self.lines[here]}; keep one"
                self.problems.append(Problem(here, text, line))
            else:
                here = (*path, key.value)
                self.lines[here] = line
                plain[key.value] = self._read(value, here)
        return plain
