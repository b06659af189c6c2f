"""Paths as users and files give them: what cannot be a file is refused in one line before anything is opened."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from symnet.errors import FileError, printable

__all__ = ["reason", "refuse_without_folder", "regular_file", "shown"]

_REASONS = {
    errno.ENOENT: "there is no such file",
    errno.ENOTDIR: "a part of its path is a file, not a folder",
    errno.EISDIR: "it is a folder",
    errno.ELOOP: "its links lead in a circle",
    errno.ENAMETOOLONG: "its name is too long",
    errno.EACCES: "you may not do so",
    errno.EPERM: "you may not do so",
    errno.EROFS: "its disk is read-only",
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your share of the disk is full",
    errno.EFBIG: "the disk or this process allows no file of that size",
}


def shown(path: str | Path, most: int = 200) -> str:
    """A path or name for a message: one bounded line."""
    return printable(str(path).replace("\n", "\\n"), most)


def reason(error: BaseException) -> str:
    """Why something failed, in a few words."""
    if isinstance(error, OSError) and error.errno is not None:
        return _REASONS.get(error.errno) or os.strerror(error.errno)
    text = " ".join(str(error).split())
    return printable(text, 160) or type(error).__name__


def refuse_without_folder(path: str | Path, target: Path) -> None:
    """Refuses a file whose folder is not there: none is made unless it was asked for.

    Args:
        path: as the user wrote it.
        target: where it really is, behind links.
    """
    if not target.parent.exists():
        raise FileError(
            f"{shown(path)} cannot be written: there is no folder {shown(target.parent)}. Make it first."
        )


def regular_file(path: str | Path) -> Path:
    """The path, if it is that of a file; one that waits for a partner or never ends (a pipe, a device) is not opened.

    Raises:
        FileError: there is none, it is a folder, a pipe or a device, or no path at all.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError as error:
        raise FileError(f"There is no file {shown(path)}: it cannot be read.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL, or text that no file name can have
        raise FileError(f"{shown(path)} cannot be read: {reason(error)}.") from error
    if stat.S_ISDIR(mode):
        raise FileError(f"{shown(path)} is a folder; name a file.")
    if not stat.S_ISREG(mode):
        raise FileError(f"{shown(path)} is no regular file but a pipe or a device; name a file.")
    return Path(path)
