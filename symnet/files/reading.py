"""Text and JSON from files that anybody may have written: bounded, and each fault told in one line."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from symnet.errors import FileError
from symnet.files.paths import reason, shown

__all__ = ["LARGEST_TEXT", "parse_json", "read_bytes", "read_json", "read_text"]

LARGEST_TEXT = 2**28  # bytes of a file that is read as text


def read_bytes(path: str | Path, most: int = LARGEST_TEXT) -> bytes:
    """The content of a file of at most so many bytes.

    Raises:
        FileError: there is none, it may not be read, or it is longer.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(most + 1)
    except FileNotFoundError as error:
        raise FileError(f"There is no file {shown(path)}.") from error
    except (OSError, ValueError) as error:
        raise FileError(f"{shown(path)} cannot be read: {reason(error)}.") from error
    if len(content) > most:
        raise FileError(
            f"{shown(path)} is longer than the {most:,} bytes that are read of such a file."
        )
    return content


def read_text(path: str | Path, most: int = LARGEST_TEXT) -> str:
    """The text of a file in UTF-8; the byte order mark that some editors begin a file with is left out.

    Raises:
        FileError: as for ``read_bytes``, or it holds no UTF-8.
    """
    content = read_bytes(path, most)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(
            f"{shown(path)} holds no text in UTF-8: byte {error.start + 1} fits nothing."
        ) from error


def read_json(path: str | Path, most: int = LARGEST_TEXT) -> Any:
    """The value in a JSON file.

    Raises:
        FileError: as for ``read_text``, or no JSON, nested too deeply, or with a name twice in one object.
    """
    try:
        return parse_json(read_text(path, most))
    except (ValueError, RecursionError) as error:
        if isinstance(error, FileError):
            raise
        why = "it is nested too deeply" if isinstance(error, RecursionError) else reason(error)
        raise FileError(f"{shown(path)} holds no JSON that can be read: {why}.") from error


def parse_json(text: str) -> Any:
    """The value of a JSON text; a name that stands twice in one object is refused, since one of the two would be lost."""
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"{twice!r:.80} stands twice in one object")
    return values
