"""Shared by all commands: one-line errors, exit statuses and progress bars."""

from __future__ import annotations

import argparse
import atexit
import contextlib
import difflib
import errno
import importlib
import io
import os
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from tqdm import tqdm

from zoo.shared import extras, messages
from zoo.shared.errors import UserError

BUG = 1  # exit status of an error that leaves a traceback: Python's own
USER_ERROR = 2  # exit status of an error that the user can correct
INTERRUPTED = 130  # 128 + SIGINT, as shells report it


_HOME = re.compile(r"^([\w.-]*=)?(~/.*)$", re.DOTALL)  # after an option, or a recipe's key


def _at_home(word):
    return (word[1] or "") + os.path.expanduser(word[2])


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Help that states defaults, where there are any to state."""

    def _get_help_string(self, action):
        said = action.default in (None, False, "") or action.default == [] or "default: " in action.help
        return action.help if said else super()._get_help_string(action)


_called_as: str | None = None


@contextlib.contextmanager
def called_as(name: str) -> Iterator[None]:
    """In the block, parsers call their command by this name, such as ``adl train``, instead of their own."""
    global _called_as
    outer, _called_as = _called_as, name
    try:
        yield
    finally:
        _called_as = outer


class ArgumentParser(argparse.ArgumentParser):
    """An ``argparse`` parser whose errors are one line that names the nearest valid option."""

    def __init__(self, *args: Any, **kwargs: Any):
        # Abbreviated options would change their meaning when an option is added.
        kwargs.setdefault("allow_abbrev", False)
        kwargs.setdefault("formatter_class", _HelpFormatter)
        # The parser of a sub-command has a name already, which begins with its parent's.
        if _called_as and not (kwargs.get("prog") or "").startswith(f"{_called_as} "):
            kwargs["prog"] = _called_as
        super().__init__(*args, **kwargs)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As ``argparse``, with ``~/`` for the home folder where shells do not replace it: ``--out=~/data``."""
        given = sys.argv[1:] if args is None else args
        return super().parse_args([_HOME.sub(_at_home, word) for word in given], namespace)

    def print_help(self, file: Any = None) -> None:
        """Print the help; in :func:`parser_of` note the parser instead."""
        if _noted is None:
            super().print_help(file)
        else:
            _noted.append(self)

    def error(self, message: str) -> NoReturn:
        """Print one line and leave with status 2."""
        unknown = message.partition("unrecognized arguments: ")[2].split()
        if unknown:
            nearest = difflib.get_close_matches(unknown[0], list(self._options()), n=1)
            message = f"unknown argument {unknown[0]!r}"
            message += f", did you mean {nearest[0]}?" if nearest else ""
        self.exit(USER_ERROR, f"{self.prog}: error: {message} (try --help)\n")

    def _options(self) -> Iterator[str]:
        """Every option, those of sub-commands too, because this parser also reports their unknown arguments."""
        for action in self._actions:
            yield from action.option_strings
            if isinstance(action, argparse._SubParsersAction):
                for command in action.choices.values():
                    yield from command._options()


_noted: list[ArgumentParser] | None = None


def parser_of(main: Callable[[Sequence[str]], int | None]) -> ArgumentParser:
    """The parser of a command, which only its function ``main`` knows: the parser that would print the help."""
    global _noted
    noted: list[ArgumentParser] = []
    _noted = noted
    try:
        with contextlib.suppress(SystemExit):
            main(["--help"])
    finally:
        _noted = None
    return noted[0]


def run(main: Callable[[Sequence[str] | None], int | None], argv: Sequence[str] | None = None) -> int:
    """Calls ``main(argv)`` and turns the errors a user can cause into one line and an exit status.

    Args:
        main: A function of an argument list (``None``: ``sys.argv[1:]``) that returns an exit status or ``None``.
        argv: The arguments given to ``main``.

    Returns:
        The exit status: ``main``'s own, 2 after a user's error, 130 after ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal's encoding may lack characters of a label
            stream.reconfigure(errors="backslashreplace")
    status: Any = BUG
    try:
        status = _run(main, argv)
        return status
    except SystemExit as leaving:  # argparse prints and leaves by itself
        status = leaving.code
        raise
    finally:
        _status_at_exit.append(status or 0)


def run_module(module: str) -> int:
    """:func:`run` of a module's ``main``, imported inside it: a missing package becomes an error of one line."""
    return run(lambda argv: importlib.import_module(module).main(argv))


_status_at_exit: list = []  # of each call of run()
_destructors_abort = False


def skip_destructors() -> None:
    """Makes the process end with the status of :func:`run`, without the destructors of C++ libraries.

    It is for libraries that abort in their destructors, as the AWS library of tensorflow-io does (status 134).
    """
    global _destructors_abort
    _destructors_abort = True


@atexit.register
def _leave():
    """Ends the process before destructors that would abort.

    ``atexit`` calls last what was registered first, as this function is: everything else has been written and closed.
    """
    if _destructors_abort and _status_at_exit:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(ValueError, OSError):  # closed, or its reader has gone
                stream.flush()
        os._exit(_status_at_exit[-1])


def _run(main, argv):
    try:
        return _printed(main, argv)
    except UserError as error:
        return _fail(USER_ERROR, str(error))
    except ModuleNotFoundError as error:
        if not (advice := extras.advice(error)):
            raise
        return _fail(USER_ERROR, advice)
    except KeyboardInterrupt:
        return _fail(INTERRUPTED, "interrupted; what was complete is kept, run the same command to go on")
    except BrokenPipeError:  # the reader of our output (head, less) has gone
        _drop_output()
        return 0
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            if not error.filename:
                _drop_output()
            return _fail(
                USER_ERROR, f"no space left while writing {error.filename or 'output'}: free some and run again"
            )
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            return _fail(USER_ERROR, f"not permitted to use {error.filename}: check its owner and mode")
        if error.filename is not None:
            return _fail(USER_ERROR, f"cannot use {error.filename} ({error.strerror}): check the path")
        raise
    except Exception as error:
        if not (advice := _tensorflow_advice(error)):
            raise
        return _fail(USER_ERROR, advice)


def _tensorflow_advice(error):
    """What to do about a TensorFlow error that a disk causes; empty for other errors."""
    errors = getattr(sys.modules.get("tensorflow"), "errors", None)
    if errors is None or not isinstance(error, errors.OpError):
        return ""
    reason = messages.one_line(messages.without_graph(error.message))
    if os.strerror(errno.ENOSPC) in reason:
        return f"no space left while writing ({reason}): free some and run again"
    if isinstance(error, errors.DataLossError):
        return f"a file of records is damaged ({reason}): find it with python -m tfrecords.inspect DIR --verify"
    return ""


def _printed(main, argv):
    """The status of a command, after its output is flushed: an error while Python ends could not become one line."""
    try:
        status = main(argv) or 0
    except SystemExit:  # of argparse, which has printed its help
        _flush()
        raise
    _flush()
    return status


def _flush():
    if sys.stdout is not None:  # None where the shell has closed it
        sys.stdout.flush()


def _drop_output():
    """Discards output that could not be printed; otherwise Python would try to print it again when it ends."""
    with contextlib.suppress(AttributeError, OSError, ValueError):  # stdout is no file, as in a test
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, sys.stdout.fileno())
        os.close(nothing)


def _fail(status, message):
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return status


class StopSignals:
    """Lets the main thread wait for SIGTERM or SIGINT.

    The signal's number arrives through a socket, because an event would not be safe. A handler that sets an event may
    interrupt the thread that holds the event's lock, and a signal that reaches another thread does not wake a main
    thread that waits for a lock.
    """

    def __init__(self) -> None:
        self._received, self._sender = socket.socketpair()
        self._sender.setblocking(False)
        # Python writes the number to the socket.
        self._before = {n: signal.signal(n, lambda *_: None) for n in (signal.SIGTERM, signal.SIGINT)}
        signal.set_wakeup_fd(self._sender.fileno())

    def wait(self, seconds: float | None = None) -> bool:
        """Returns when a signal has arrived.

        Args:
            seconds: How long to wait at most; default: for ever.

        Returns:
            Whether a signal has arrived.
        """
        self._received.settimeout(seconds)
        try:
            return bool(self._received.recv(1))
        except socket.timeout:
            return False

    def close(self) -> None:
        """Restores the former handlers of the signals."""
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._received.close()
        self._sender.close()


def quiet_tensorflow() -> None:
    """Keeps TensorFlow from printing notices about missing devices; to be called before it is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def positive(kind: type) -> Callable[[str], Any]:
    """A number above 0, for ``argparse``.

    Args:
        kind: ``int`` or ``float``.
    """

    def number(text):
        value = kind(text)
        if not value > 0:
            raise ValueError(text)
        return value

    number.__name__ = f"positive {kind.__name__}"
    return number


def not_negative(text: str) -> int:
    """An integer from 0, for ``argparse``."""
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value


not_negative.__name__ = "not negative int"


class _Lines:
    """Turns tqdm's in-place updates into lines, for logs."""

    def write(self, text):
        text = text.replace("\r", "").rstrip("\n")
        if text:
            print(text, file=sys.stderr)

    def flush(self):
        sys.stderr.flush()


def progress(total: int | None, description: str, unit: str = "clip") -> tqdm:
    """A progress bar with rate and time left; plain lines, one in ten seconds, when not on a terminal.

    Args:
        total: Number of steps.
        description: Name of the work.
        unit: Name of a step.

    Returns:
        A ``tqdm.tqdm`` to ``update`` and ``close`` (or to use in a ``with``).
    """
    if sys.stderr.isatty():
        return tqdm(total=total, desc=description, unit=unit, dynamic_ncols=True)
    return tqdm(total=total, desc=description, unit=unit, file=_Lines(), mininterval=10, ascii=True, ncols=100)
