"""The one writer: a file is whole or as it was, whatever happens at whichever byte, and nothing else stays behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from symnet.errors import FileError
from symnet.files import replacing, write_file

CONTENT = b"0123456789" * 10


def failing_at(byte: int, error: BaseException):
    """A function that writes so many bytes of the content, and then fails as a disk would."""

    def write(file) -> None:
        file.write(CONTENT[:byte])
        file.flush()
        raise error

    return write


@pytest.mark.parametrize("byte", [0, 1, 50, 99, 100])
@pytest.mark.parametrize("old", [None, b"the old content"])
def test_a_disk_that_is_full_at_any_byte_leaves_the_old_file(
    tmp_path: Path, byte: int, old: bytes | None
) -> None:
    path = tmp_path / "net.bin"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(FileError, match=r"net\.bin cannot be written: the disk is full"):
        write_file(path, failing_at(byte, OSError(errno.ENOSPC, "No space left on device")))
    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([] if old is None else [old])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ZeroDivisionError()])
def test_other_failures_pass_as_they_are_and_leave_the_old_file(
    tmp_path: Path, error: BaseException
) -> None:
    write_file(tmp_path / "a", "old")
    with pytest.raises(type(error)):
        write_file(tmp_path / "a", failing_at(5, error))
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "old"


def test_torch_on_a_limited_disk_names_the_reason(tmp_path: Path) -> None:
    """What torch makes of a failed write is an error of its archive; the reason is the system's."""
    code = (
        "import resource, signal, sys, torch\n"
        "from symnet.files import write_state_file\n"
        "write_state_file(sys.argv[1], {'a': torch.ones(3)})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "try: write_state_file(sys.argv[1], {'a': torch.ones(100_000)})\n"
        "except ValueError as error: print(type(error).__name__, error)\n"
    )
    for name in ("net.pt", "net.safetensors", "net.safetensors.index.json"):
        path = tmp_path / name / name
        path.parent.mkdir()
        run = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True
        )
        assert (
            run.stdout.startswith("StateFileError") and "allows no file of that size" in run.stdout
        ), run.stderr
        assert path.exists() and not [
            file for file in os.listdir(path.parent) if file.endswith(".tmp")
        ]
        assert len(os.listdir(path.parent)) == (2 if name.endswith("json") else 1)


def test_what_a_killed_process_left_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / ".a.tmp").write_text("half of somethi")
    write_file(tmp_path / "a", "whole")
    assert os.listdir(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "whole"


def test_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    """Eight threads write one file at once, and read it: it is always the whole text of one of them."""
    texts = {str(number) * 50_000 for number in range(8)}
    seen: set[str] = set()

    def work(text: str) -> None:
        for _ in range(10):
            write_file(tmp_path / "a", text)
            seen.add((tmp_path / "a").read_text())

    threads = [threading.Thread(target=work, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen <= texts and os.listdir(tmp_path) == ["a"]


def test_links_stay_links_and_rights_stay(tmp_path: Path) -> None:
    write_file(tmp_path / "real", "old")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    write_file(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_text() == "new"
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640
    assert (
        write_file("/dev/null", "anything") == Path("/dev/null") and not Path("/dev/null").is_file()
    )


def test_places_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    write_file(tmp_path / "file", "x")
    places = {
        "missing/a": "there is no folder",
        ".": "it is a folder",
        "x" * 300: "its name is too long",
        "nul\0": "null",
        "loop": "circle",
        "file/a": "is a file, not a folder",
    }
    for place, why in places.items():
        with pytest.raises(FileError, match=f"cannot be written: .*{why}") as caught:
            write_file(tmp_path / place, "text")
        assert len(str(caught.value)) < 500 and str(caught.value).isprintable()
    assert write_file(tmp_path / "missing" / "a", "text", folders=True).read_text() == "text"
    assert write_file(tmp_path / ("x" * 255), "text").read_text() == "text"


def test_a_writer_that_wants_a_path_gets_one(tmp_path: Path) -> None:
    with replacing(tmp_path / "a.pt") as scratch:
        torch.save({"a": torch.ones(2)}, scratch)
    assert os.listdir(tmp_path) == ["a.pt"]
