"""The command line: ``symnet --help`` lists its commands."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import NoReturn

from symnet.errors import SymnetError, VerificationError

# Modules that come with an extra, and the extra that brings them.
_EXTRAS = {"typer": "cli", "rich": "cli", "click": "cli", "matplotlib": "show", "jinja2": "show", "sklearn": "data"}
_EXTRAS["safetensors"] = "data"
_EXTRAS |= dict.fromkeys(("lightning_fabric", "pydantic", "tensorboardX"), "train")


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs one command and exits: 0 if all that it checked holds, 1 if not, 2 if it could not be run.

    Args:
        arguments: what stands after ``symnet``; default: the command line's.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without some character gets a question mark
    try:
        from symnet.cli.commands import app

        app(args=None if arguments is None else list(arguments), prog_name="symnet")
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
        if missing not in _EXTRAS:
            raise
        stop(f"this command needs '{missing}', which is not installed. Run: pip install 'symnet[{_EXTRAS[missing]}]'")
    raise SystemExit(0)


def stop(problem: str, code: int = 2) -> NoReturn:
    """Exits with one line that says what is wrong and what to do."""
    print(f"symnet: {' '.join(problem.split())}", file=sys.stderr)
    raise SystemExit(code)
