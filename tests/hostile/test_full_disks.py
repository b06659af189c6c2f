"""Every file that symnet writes, on a disk that is full: the old file stays, nothing else is left, and one line says so."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

# What writes a file, as code: the path is sys.argv[1]; `big` says whether it is to outgrow the disk.
WRITERS: Mapping[str, tuple[str, str]] = {
    "graph.save": ("net.symnet", "sn.catalogue.mlp([2] * (9000 if big else 3)).save(path)"),
    "a picture": (
        "a.png",
        "from symnet.show import tying_matrix\n"
        "from symnet.show.figures import save_picture\n"
        "save_picture(tying_matrix(sn.derive(sn.catalogue.mlp([2, 3, 2]))), path, dpi=150 if big else 20)",
    ),
    "a page": (
        "a.html",
        "from symnet.show import write_architecture_page\n"
        "write_architecture_page(path, sn.catalogue.mlp([2, 3, 2] if big else [2, 1]), title='x' * (10**6 if big else 1))",
    ),
    "a state dict": (
        "a.pt",
        "sn.data.write_state_file(path, {'a': torch.ones(10**6 if big else 10)})",
    ),
    "safetensors": (
        "a.safetensors",
        "sn.data.write_state_file(path, {'a': torch.ones(10**6 if big else 10)})",
    ),
    "a saved network": (
        "net",
        "sn.nn.save(sn.nn.FlatNetwork(sn.catalogue.mlp([2, 8, 3]), 2000 if big else 8, 10), path)",
    ),
    "arrays": (
        "a.npz",
        "from symnet.files import write_arrays\nwrite_arrays(path, {'a': np.ones(10**6 if big else 10)})",
    ),
    "a command": (
        "net.symnet",
        "from symnet.cli import main\n"
        "open('mine.py', 'w').write('import torch\\ndef f(): return torch.nn.Linear(1, 1), torch.ones(1, 1)') if not big else 0\n"
        "main(['trace', 'mine:f', '-o', path])",
    ),
}
# The rest of the disk, or the largest file that this process may write.
FILL = """
def fill():
    if sys.argv[2] == 'limit':
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]),) * 2)
    else:
        filler = os.open('filler', os.O_WRONLY | os.O_CREAT)
        try:
            while os.write(filler, b'0' * 4096):
                pass
        except OSError:
            os.close(filler)
"""
HEAD = "import os, sys\nimport numpy as np, torch\nimport symnet as sn\npath = sys.argv[1]\n"
REASONS = {"limit": "allows no file of that size", "disk": "the disk is full"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few megabytes of its own, where this machine lets one be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.name != "posix" or os.geteuid() != 0:
        pytest.skip("only root mounts a small file system")
    if subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], capture_output=True
    ).returncode:
        pytest.skip("this machine mounts no small file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def run(code: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


def check(folder: Path, kind: str, limit: int = 0) -> None:
    """All writers in one process: each first writes its file, and then, without room, fails to replace it."""
    lines = [HEAD, FILL]
    for number, (name, code) in enumerate(WRITERS.values()):
        path = f"{number}/{name}"
        body = "".join(f"    {line}\n" for line in code.split("\n"))
        lines.append(f"def write_{number}(big):\n    path = {path!r}\n{body}")
        lines.append(f"os.makedirs('{number}', exist_ok=True)\n")
        lines.append(
            f"try: write_{number}(False)\nexcept SystemExit as stop: assert not stop.code, stop.code\n"
        )
    lines.append("fill()\n")
    for number in range(len(WRITERS)):
        lines.append(
            f"try: write_{number}(True); print({number}, 'wrote')\n"
            f"except sn.SymnetError as error: print({number}, error)\n"
            f"except SystemExit as stop: print({number}, 'ended with', stop.code)\n"
        )
    done = run("".join(lines), folder, "path", kind, str(limit))
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines() if line[:1].isdigit())
    assert len(said) == len(WRITERS), done.stderr
    for number, (name, (file, _)) in enumerate(WRITERS.items()):
        if name == "a command":
            assert (
                said[str(number)] == "ended with 2"
                and REASONS[kind] in done.stderr
                and file in done.stderr
            )
        else:
            assert REASONS[kind] in said[str(number)] and file in said[str(number)], (
                name,
                said[str(number)],
            )
        assert os.listdir(folder / str(number)) == [file], name
        assert (folder / str(number) / file).stat().st_size > 0, name


def test_no_file_is_lost_where_files_may_not_grow(tmp_path: Path, record_property) -> None:
    check(tmp_path, "limit", limit=16)
    record_property("writers on full disks", len(WRITERS))


@pytest.mark.slow  # where files may not grow the same writers fail in the same place
def test_no_file_is_lost_on_a_full_disk(small_disk: Path, record_property) -> None:
    check(small_disk, "disk")
    record_property("writers on full disks", len(WRITERS))


WAYS_AROUND = (
    "write_text",
    "write_bytes",
    '.open("w',
    ".savefig(",
    "torch.save(",
    "np.save",
    "os.replace",
)


def test_no_file_of_the_package_writes_by_itself() -> None:
    """The source says so: what writes to a path stands in symnet/files, all others hand their content over."""
    root = Path(__file__).parents[2] / "symnet"
    handed_over = ("lambda file:", "buffer", "...     torch.save", "...         torch.save")
    whole_folders = ("os.replace(target, aside)", "os.replace(scratch, target)")  # of surgery
    around = [
        f"{path.relative_to(root)}: {line.strip()}"
        for path in sorted(root.rglob("*.py"))
        if path.parent.name != "files"
        for line in path.read_text(encoding="utf-8").splitlines()
        if any(way in line for way in WAYS_AROUND)
        and not any(way in line for way in (*handed_over, *whole_folders))
    ]
    assert around == []
