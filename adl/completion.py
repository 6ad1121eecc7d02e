"""Completion of ``adl`` in bash and zsh: a script that knows the commands, their options and the options' values.

The script is generated from the parsers of the commands and starts no Python: ``adl completion bash`` prints it.
"""

from __future__ import annotations

import argparse
import collections
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from zoo.shared import command_line

SHELLS = ("bash", "zsh")
_INSTALL = """\
The script is read when a shell starts, from where it looks for such scripts:
  bash: mkdir -p ~/.local/share/bash-completion/completions
        adl completion bash > ~/.local/share/bash-completion/completions/adl
        (or at the end of ~/.bashrc: eval "$(adl completion bash)")
  zsh:  adl completion zsh > ~/.adl-completion.zsh; echo 'source ~/.adl-completion.zsh' >> ~/.zshrc"""
# zsh can run bash's completion script.
_ZSH = """\
autoload -Uz compinit bashcompinit
(( $+functions[compdef] )) || compinit
bashcompinit
"""
_SCRIPT = """\
# Completion of the command adl, printed by: adl completion {shell}
{start}_adl() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD - 1]}}" key="${{COMP_WORDS[1]}}" words=
  if [ "$word" = "=" ]; then word=; fi
  if [ "$before" = "=" ]; then before="${{COMP_WORDS[COMP_CWORD - 2]}}"; fi
  if [ "$COMP_CWORD" -gt 2 ]; then
    case "$key ${{COMP_WORDS[2]}}" in
      {sub_commands}) key="$key ${{COMP_WORDS[2]}}" ;;
    esac
  fi
  if [ "$COMP_CWORD" -eq 1 ]; then key=; before=; fi
  case "$key $before" in
{values}
  *)
    case "$key" in
{words}
    esac
    ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _adl adl
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = command_line.ArgumentParser(
        prog="adl completion",
        description="Print the completion script of a shell.",
        epilog=_INSTALL,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=SHELLS, help="the shell to complete in")
    shell = parser.parse_args(argv).shell
    from adl import commands

    parsers = {}
    for name in commands.COMMANDS:
        with command_line.called_as(f"adl {name}"):
            parsers[name] = command_line.parser_of(commands.function(name))
    print(script(shell, parsers), end="")
    return 0


def script(shell: str, parsers: Mapping[str, argparse.ArgumentParser]) -> str:
    """The completion script of a shell.

    Args:
        shell: One of :data:`SHELLS`.
        parsers: Command -> its parser.
    """
    words = {"": list(parsers)}  # command (and sub-command, if any) -> words that may follow
    values: dict[str, list[str]] = {}  # the same and an option -> its values; empty: a file, or any text
    sub_commands = []
    for name, parser in parsers.items():
        for key, one in _with_sub_commands(name, parser):
            words[key] = [*_positional(key, one), *(o for action in one._actions for o in action.option_strings)]
            values |= _values(key, one)
            sub_commands += [key] * (key != name)
    return _SCRIPT.format(
        shell=shell,
        start=_ZSH if shell == "zsh" else "",
        sub_commands="|".join(f'"{key}"' for key in sub_commands),
        values="\n".join(_cases(values, indent=2)),
        words="\n".join(_cases(words, indent=4)),
    )


def _cases(words: Mapping[str, Sequence[str]], indent: int) -> Iterator[str]:
    """The cases of a ``case``; keys with the same words share one."""
    keys = collections.defaultdict(list)
    for key, each in words.items():
        keys[" ".join(each)].append(f'"{key}"')
    for each, same in keys.items():
        yield f'{" " * indent}{"|".join(same)}) words="{each}" ;;'


def _with_sub_commands(key, parser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """A command's parser and those of its sub-commands."""
    yield key, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield from _with_sub_commands(f"{key} {name}", command)


def _values(key: str, parser: argparse.ArgumentParser) -> dict[str, list[str]]:
    """Command and option -> the values that it takes."""
    taking = [action for action in parser._actions if action.option_strings and action.nargs != 0]
    return {
        f"{key} {option}": list(map(str, action.choices or _named(f"{key} {option}")))
        for action in taking
        for option in action.option_strings
    }


def _positional(key: str, parser: argparse.ArgumentParser) -> list[str]:
    """The values of a command's positional arguments."""
    choices = [action.choices or () for action in parser._actions if not action.option_strings]
    return [str(choice) for each in choices for choice in each] or list(_named(key))


def _named(key: str) -> Iterable[str]:
    """The known names for an argument that also accepts other values, such as a path."""
    return _NAMES[key]() if key in _NAMES else ()


def _recipes() -> Iterable[str]:
    from recipes import config

    return config.names()


def _models() -> Iterable[str]:
    import zoo

    return zoo.list_models()


def _weights() -> Iterable[str]:
    import zoo

    return zoo.list_pretrained()


_NAMES: dict[str, Callable[[], Iterable[str]]] = {
    "train --recipe": _recipes,
    "models": _models,
    "weights": _weights,
    "export --pretrained": _weights,
}
