"""The one way in which symnet writes a file: beside its place, flushed, then renamed. A file is whole, or the old one."""

from __future__ import annotations

import io
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from symnet.errors import FileError
from symnet.files.paths import reason, refuse_without_folder, shown

try:
    import fcntl
except ImportError:  # Windows has no such locks; names are unique there instead
    fcntl = None  # type: ignore[assignment]

__all__ = ["replacing", "write_file"]

Content = str | bytes | Callable[[BinaryIO], object]


def write_file(path: str | Path, content: Content, *, folders: bool = False) -> Path:
    """The path, written whole or not at all: on any failure its old content stays, and no scratch file is left.

    Args:
        path: replaced if there is a file; a link stays a link, and the file it names is replaced.
        content: text (written in UTF-8), bytes, or a function that writes to the open file that it is given, such
            as ``lambda file: torch.save(state, file)`` or ``lambda file: figure.savefig(file, format="png")``.
        folders: make missing folders above it.

    Raises:
        FileError: the disk is full, the folder is missing or may not be written; names the file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_file(f"{folder}/notes.txt", "twelve").read_text()
        'twelve'
    """
    with replacing(path, folders=folders) as scratch:
        file = _Noting(scratch)
        try:
            with io.BufferedWriter(file) as buffered:
                if isinstance(content, str):
                    buffered.write(content.encode("utf-8"))
                elif isinstance(content, bytes):
                    buffered.write(content)
                else:
                    content(buffered)
        except Exception as error:
            if (
                file.failure is not None
            ):  # what a library makes of it may not say that the disk is full
                raise file.failure from error
            raise
    return Path(path)


@contextmanager
def replacing(path: str | Path, *, folders: bool = False) -> Iterator[Path]:
    """A scratch file to write, which takes the path's place at the end of the block; errors as for ``write_file``.

    For writers that want a path; the scratch file exists and is empty. A block that fails leaves the old file.
    """
    target, old = _target(path, folders)
    if old is not None and not stat.S_ISREG(old):
        yield target  # a terminal, a pipe, /dev/null: there is nothing to keep
        return
    with _naming(path):
        scratch, lock = _open_scratch(target)
    try:
        with _naming(path):
            yield scratch
            if old is not None:
                os.chmod(scratch, stat.S_IMODE(old))
            _synchronise(scratch)  # the rename must not reach the disk before the content
            os.replace(scratch, target)
            _synchronise(target.parent)
    except BaseException:
        with suppress(OSError):
            scratch.unlink()
        raise
    finally:
        os.close(lock)


class _Noting(io.FileIO):
    """An open file that remembers the first failure of the disk, which libraries may hide behind an error of theirs."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "wb")
        self.failure: OSError | None = None

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            self.failure = self.failure or error
            raise


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Errors of the system become one line that names the file."""
    try:
        yield
    except OSError as error:
        raise FileError(
            f"{shown(path)} cannot be written: {reason(error)}. Nothing was changed; make room or name another file."
        ) from error


def _target(path: str | Path, folders: bool) -> tuple[Path, int | None]:
    """Where the file really is, behind links, and the mode of what is there."""
    with _naming(path):
        try:
            target = Path(os.path.realpath(path, strict=False))
            if folders:
                target.parent.mkdir(parents=True, exist_ok=True)
            mode = os.stat(target).st_mode
        except FileNotFoundError:
            refuse_without_folder(path, target)
            return target, None
        except ValueError as error:  # a NUL, or text that no file name can have
            raise FileError(f"{shown(path)} cannot be written: {reason(error)}.") from error
        if stat.S_ISDIR(mode):
            raise FileError(f"{shown(path)} cannot be written: it is a folder. Name a file in it.")
        return target, mode


def _open_scratch(target: Path) -> tuple[Path, int]:
    """An empty scratch file beside the target, and the lock that says that somebody writes it.

    Its name is the same each time, so that what a killed process left behind is taken over and not left for ever;
    while another process or thread writes to it, a name of its own is taken.
    """
    begin = f".{target.name[:40]}"
    for ending in ("", *(f".{secrets.token_hex(4)}" for _ in range(20))):
        scratch = target.with_name(f"{begin}{ending}.tmp")
        flags = (
            os.O_RDWR
            | os.O_CREAT
            | getattr(os, "O_NOFOLLOW", 0)
            | (0 if fcntl and not ending else os.O_EXCL)
        )
        try:
            number = os.open(scratch, flags, 0o666)
        except FileExistsError:
            continue
        if ending or fcntl is None or _lock(number, scratch):
            os.ftruncate(number, 0)
            return scratch, number
        os.close(number)
    raise FileExistsError(None, "too many processes write it", str(target))


def _lock(number: int, scratch: Path) -> bool:
    """Whether this open file is now ours alone, and still the one of that name."""
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(number), os.stat(scratch))
    except OSError:  # another holds it, has renamed it meanwhile, or this file system has no locks
        return False


def _synchronise(path: Path) -> None:
    """Wait until the disk has it; a folder that cannot be opened (Windows) is left to the system."""
    if path.is_dir():
        with suppress(OSError):
            _fsync(path, os.O_RDONLY)
    else:
        _fsync(path, os.O_RDWR)


def _fsync(path: Path, flags: int) -> None:
    number = os.open(path, flags)
    try:
        os.fsync(number)
    finally:
        os.close(number)
