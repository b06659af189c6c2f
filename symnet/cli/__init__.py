"""The command line: ``symnet --help`` lists its commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Any, NoReturn

from symnet.errors import LONGEST, SymnetError, VerificationError, printable

# Modules that come with an extra, and the extra that brings them.
_EXTRAS = {
    "typer": "cli",
    "rich": "cli",
    "click": "cli",
    "matplotlib": "show",
    "jinja2": "show",
    "sklearn": "data",
}
_EXTRAS |= dict.fromkeys(("lightning_fabric", "pydantic", "tensorboardX"), "train")
INTERRUPTED = 130  # what shells say of a command that Ctrl-C ended


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and exits: 0 if all that it checked holds, 1 if not, 2 if it could not be run, 130 on Ctrl-C.

    Args:
        arguments: what stands after ``symnet``; default: the command line's.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(
                errors="replace"
            )  # a terminal without some character gets a question mark
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        code = _run(given or ["--help"])
    except KeyboardInterrupt:
        code = INTERRUPTED
    except VerificationError as error:
        stop(str(error), code=1)
    except SymnetError as error:
        stop(str(error))
    except OSError as error:
        stop(
            f"{error.filename or 'a file'} cannot be read or written: {error.strerror or error}. Name another, or make room."
        )
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "symnet":
            raise  # a fault of ours, to be reported whole
        if missing not in _EXTRAS:
            stop(
                f"the code that was named imports '{error.name}', which is not installed. Install it, and try again."
            )
        stop(
            f"this command needs '{missing}', which is not installed. Run: pip install 'symnet[{_EXTRAS[missing]}]'"
        )
    raise SystemExit(code)


def _run(arguments: list[str]) -> int:
    """The exit code of one command; what the parser refuses is an error like all others."""
    import typer

    from symnet.cli.commands import app

    refused: type[Any] = typer.BadParameter.__mro__[
        1
    ]  # UsageError, of click or of the copy that newer typers carry
    try:
        # Not standalone: typer would draw its errors as boxes of several lines.
        return int(app(args=arguments, prog_name="symnet", standalone_mode=False) or 0)
    except typer.Abort:
        return INTERRUPTED
    except refused as error:
        context = getattr(error, "ctx", None)
        problem = error.format_message().rstrip(".")
        problem += "" if problem.endswith("?") else "."
        raise SymnetError(
            f"{problem} See: {context.command_path if context else 'symnet'} --help"
        ) from error


def stop(problem: str, code: int = 2) -> NoReturn:
    """Exits with one line that says what is wrong and what to do."""
    print(f"symnet: {printable(' '.join(problem.split()), LONGEST)}", file=sys.stderr)
    raise SystemExit(code)
