"""The errors a user can cause. Each says what was given, what was expected and what to do next."""

from __future__ import annotations

LONGEST = (
    4_000  # characters of a message: names in it may come from files, and be as long as files are
)


def printable(text: str, most: int | None = None) -> str:
    r"""A text that is safe on any terminal: control and formatting characters are shown as escapes, not obeyed.

    Args:
        most: characters that are kept; of a longer text its beginning and end are.

    Example:
        >>> print(printable("red: \x1b[31m, and a long " + 40 * "tail", most=60))
        red: \x1b[31m, and a long tailtailtai ... iltailtailtailtail
    """
    if not text.isprintable():
        text = "".join(
            c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
        )
    if most is None or len(text) <= most:
        return text
    kept = most - 5
    return f"{text[: 2 * kept // 3 + 1]} ... {text[len(text) - kept // 3 :]}"


class SymnetError(ValueError):
    """Base class of every error that symnet raises for what a user gave it."""

    def __init__(self, *args: object) -> None:
        super().__init__(
            *(printable(each, LONGEST) if isinstance(each, str) else each for each in args)
        )


class GroupError(SymnetError):
    """A permutation group, or an element of one, that does not exist as described."""


class NotationError(SymnetError):
    """Axis notation or a graph's text form that cannot be read; names the line and column."""


class GraphError(SymnetError):
    """A neuron-permutation graph whose neuron sets and tensors do not fit together."""


class ShapeError(SymnetError):
    """Tensors whose names or shapes do not fit the graph."""


class TooLargeError(SymnetError):
    """A request whose answer would not fit; says the size it would take."""


class TraceError(SymnetError):
    """A module whose symmetries could not be read off its forward pass soundly."""


class VerificationError(SymnetError):
    """A check that did not hold, raised by ``report.raise_if_failed()``."""


class FileError(SymnetError):
    """A file that cannot be read or written; names it, and says what is wrong with it."""


class StateFileError(FileError):
    """A file that holds no state dict that can be read safely."""


class MissingExtraError(SymnetError, ModuleNotFoundError):
    """A part of symnet whose packages are not installed; names the extra that brings them."""


class BackendError(SymnetError):
    """A route of computation that this machine or these tensors do not have."""
