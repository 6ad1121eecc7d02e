"""What the pages show: fenced blocks, the commands in them, and the commands that a sentence names."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import shlex
from collections.abc import Iterable, Iterator

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = [
    *ROOT.glob("*.md"),
    *(path for path in sorted(DOCS.rglob("*.md")) if not path.is_relative_to(DOCS / "_generated")),
]
CHECKED = ("adl", "docker", "make", "pip", "python")  # programs whose arguments are known here
UNCHECKED = ("aws", "chmod", "cp", "curl", "echo", "kubectl", "mkdir", "python3", "set", "source", "tail")
_FENCE = re.compile(r"^ *```(\S*)")
_INLINE = re.compile(r"`([^`\n]+)`")
_VARIABLE = re.compile(r"(\w+)=(.*)", re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: The page's path in the repository.
        line: Number of its first line.
        language: As the fence names it; may be empty.
        text: What is between the fences.
    """

    page: str
    line: int
    language: str
    text: str

    @property
    def where(self) -> str:
        """For messages: page and line."""
        return f"{self.page}:{self.line}"


@dataclasses.dataclass(frozen=True)
class Command:
    """A command: one simple command of a shell, of a loop once for each of its values.

    Attributes:
        page: The page's path in the repository.
        line: Number of its first line.
        words: Program and arguments.
        variables: What is set in its environment.
        output: File that ``>`` names, or an empty text.
        whole: False: a sentence names it, perhaps without its required arguments.
    """

    page: str
    line: int
    words: tuple[str, ...]
    variables: tuple[tuple[str, str], ...] = ()
    output: str = ""
    whole: bool = True

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {shlex.join(self.words)}"


def blocks(path: pathlib.Path) -> Iterator[Block]:
    """The fenced blocks of a page, without the directives of the site."""
    page, begun = path.relative_to(ROOT).as_posix(), None
    lines = path.read_text("utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        fence = _FENCE.match(line)
        if fence and begun is None:
            begun = (number, fence[1])
        elif fence:
            first, language = begun
            if not language.startswith("{"):
                yield Block(page, first + 1, language, "\n".join(lines[first : number - 1]))
            begun = None


def commands(block: Block) -> list[Command]:
    """The commands of a block; none of one in another language than the shell's, or that shows a layout or output.

    A block without a language holds commands if its first line is one. In a ``console`` they follow ``$``; its other
    lines are output.
    """
    if block.language not in ("", "sh", "console"):
        return []
    lines = list(_joined(block))
    if block.language == "console":
        lines = [(number, line[2:]) for number, line in lines if line.startswith("$ ")]
    parsed = [(number, _words(line)) for number, line in lines]
    found = [
        dataclasses.replace(command, page=block.page, line=number)
        for number, words in _expanded((number, words) for number, words in parsed if words)
        for command in _split(words)
    ]
    is_text = not block.language and found and found[0].words[0] not in (*CHECKED, *UNCHECKED)
    return [] if is_text else found


def inline(path: pathlib.Path) -> Iterator[Command]:
    """The commands that the sentences and tables of a page name, such as ```make bench```."""
    page, in_block = path.relative_to(ROOT).as_posix(), False
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if _FENCE.match(line):
            in_block = not in_block
        elif not in_block:
            for text in _INLINE.findall(line):
                words = _words(re.sub(r"[][<>]", "", text)) if text.split(" ")[0] in CHECKED else []
                if len(words) > 1:
                    yield Command(page, number, tuple(words), whole=False)


def _joined(block: Block) -> Iterator[tuple[int, str]]:
    """Lines with those that continue them, under the number of the first."""
    begun, first = "", block.line
    for number, line in enumerate(block.text.splitlines(), block.line):
        if not begun:
            first = number
        if line.endswith("\\"):
            begun += line[:-1]
        else:
            yield first, (begun + line).strip()
            begun = ""


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
    lexer.whitespace_split = True
    try:
        return list(lexer)
    except ValueError:  # an apostrophe: a sentence
        return line.split()


def _expanded(lines: Iterable[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
    """The lines, those of a ``for`` loop once for each value."""
    variable, values, body = None, [], []
    for number, words in lines:
        if words[0] == "for":
            variable, values, body = words[1], words[3 : words.index(";")], []
        elif words == ["done"]:
            for value in values:
                yield from ((n, [word.replace(f"${variable}", value) for word in each]) for n, each in body)
            variable = None
        elif variable:
            body.append((number, words))
        else:
            yield number, words


def _split(words: list[str]) -> Iterator[Command]:
    """The simple commands of a line."""
    one: list[str] = []
    for word in [*words, ";"]:
        if word in ("&&", "||", ";", "|", "&"):
            if one:
                yield _command(one)
            one = []
        else:
            one.append(word)


def _command(words: list[str]) -> Command:
    variables, output = [], ""
    while words and (match := _VARIABLE.fullmatch(words[0])):
        variables.append((match[1], match[2]))
        words = words[1:]
    if ">" in words or ">>" in words:
        position = next(index for index, word in enumerate(words) if word in (">", ">>"))
        words, output = [*words[:position], *words[position + 2 :]], words[position + 1]
    return Command("", 0, tuple(words), tuple(variables), output)
