"""Files that anybody may send: each is made by a function, and each reader has to answer it with one short line or with weights."""

from __future__ import annotations

import collections
import io
import json
import os
import pickle
import random
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

STATE = {"0.weight": torch.arange(12.0).view(4, 3), "0.bias": torch.ones(4)}


class Bomb:
    """Would write a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def archive(content: Any, **options: Any) -> bytes:
    """What torch.save writes."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch on kinds of tensors that it will drop one day
        torch.save(content, buffer, **options)
    return buffer.getvalue()


def legacy(content: Any) -> bytes:
    return archive(content, _use_new_zipfile_serialization=False)


def nested(depth: int, width: int, inner: Any) -> Any:
    """A container in a container, each of which stands `width` times in the next."""
    for _ in range(depth):
        inner = dict(zip(("state_dict", "model", "weights"), [inner] * width, strict=False))
    return inner


def cyclic() -> Any:
    content: dict[str, Any] = {"a": torch.ones(2)}
    content["model"] = content
    return content


def quantised() -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(torch.randn(3), 0.1, 0, torch.qint8)


def packed_bomb() -> bytes:
    """An archive of a hundred megabytes of zeros in a hundred kilobytes."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive(STATE))) as old,
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            new.writestr(name, b"\0" * 10**8 if name.endswith("data/0") else old.read(name))
    return buffer.getvalue()


def tensor_file(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def damaged_archives(seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Archives of both formats with a few bytes changed, cut off, doubled, or with a piece of another file in them."""
    rng = random.Random(seed)
    for number in range(count):
        content = bytearray((archive if number % 2 else legacy)(STATE))
        for _ in range(rng.randint(1, 6)):
            content[rng.randrange(min(len(content), 600))] = rng.randrange(256)
        match rng.randrange(4):
            case 0:
                content = content[: rng.randrange(len(content))]
            case 1:
                place = rng.randrange(len(content))
                content[place:place] = content[: rng.randrange(200)]
            case _:
                pass
        yield f"damaged-{number}.pt", bytes(content)


def archives(folder: Path) -> dict[str, bytes]:
    """Files of torch by name, made and not yet written."""
    bomb = Bomb(folder / "exploded")
    contents: dict[str, Any] = {
        "bomb": {"0.weight": bomb},
        "bomb-beside-weights": {**STATE, "extra": bomb},
        "tensor": torch.ones(3),
        "list": [1, 2],
        "number": 3,
        "nothing": None,
        "empty": {},
        "no-tensors": {"epoch": 3, "lr": 0.1},
        "module": torch.nn.Linear(2, 2),
        "sparse": {"a": torch.eye(3).to_sparse()},
        "sparse-rows": {"a": torch.eye(3).to_sparse_coo()},
        "meta": {"a": torch.empty(3, device="meta")},
        "quantised": {"a": quantised()},
        "expanded": {"a": torch.zeros(1).expand(10**6, 10**6)},
        "whole-numbers-for-names": {0: torch.ones(2), 1: torch.ones(2)},
        "tuples-for-names": {("a", "b"): torch.ones(2)},
        "deep": nested(400, 1, STATE),
        "doubling": nested(60, 2, STATE),
        "tripling": nested(40, 3, STATE),
        "cyclic": cyclic(),
        "long-name": {"k" * 700_000: 1},
        "long-name-of-a-tensor": {"k" * 700_000: torch.eye(2).to_sparse()},
        "escapes": {"\x1b]0;title\x07\x1b[31m\n\r": torch.empty(1, device="meta")},
        "wrapper-of-a-wrapper-of-nothing": {"state_dict": {"model": {}}},
        "optimizer": {"state": {0: {"step": 1}}, "param_groups": [{"lr": 0.1}]},
        "counter": collections.Counter(a=1),
    }
    made = {f"{name}.pt": archive(content) for name, content in contents.items()}
    made |= {
        f"legacy-{name}.pth": legacy(content)
        for name, content in contents.items()
        if name != "meta"
    }
    made |= {
        "nothing-at-all.pt": b"",
        "text.pt": b"hello",
        "zip-of-nothing.pt": b"PK\x05\x06" + b"\0" * 18,
        "zip-head.pt": b"PK\x03\x04",
        "packed.pt": packed_bomb(),
        "pickle.ckpt": pickle.dumps(STATE),
        "pickle-bomb.bin": pickle.dumps(bomb),
        "zeros.pt": b"\0" * 10_000,
        "ones.bin": b"\xff" * 10_000,
    }
    return made


def tensor_files() -> dict[str, bytes]:
    """Files of safetensors by name."""
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    headers: dict[str, Any] = {
        "list": [1],
        "deep": b"[" * 100_000,
        "no-json": b"{",
        "no-text": b"\xff\xfe{}",
        "overlap": {"a": entry, "b": entry},
        "too-long": {"a": {**entry, "data_offsets": [0, 10**15]}},
        "too-large": {"a": {**entry, "shape": [2**40, 2**40]}},
        "negative": {"a": {**entry, "shape": [-2]}},
        "unknown-type": {"a": {**entry, "dtype": "F33"}},
        "wrong-size": {"a": {**entry, "shape": [3]}},
        "backwards": {"a": {**entry, "data_offsets": [8, 0]}},
        "long-name": {"k" * 700_000: {**entry, "dtype": "x"}},
        "escapes": {"\x1b[31m": {**entry, "dtype": "\x1b]0;x\x07"}},
    }
    made = {
        f"{name}.safetensors": tensor_file(header, b"\0" * 8) for name, header in headers.items()
    }
    made |= {
        "nothing-at-all.safetensors": b"",
        "seven-bytes.safetensors": b"\0" * 7,
        "endless-header.safetensors": tensor_file({"a": entry}, length=2**63),
        "cut.safetensors": tensor_file({"a": entry}, b"\0" * 7),
        "archive.safetensors": archive(STATE),
    }
    return made


def indices() -> dict[str, bytes]:
    """Indices of shards by name."""
    maps: dict[str, Any] = {
        "list": [1],
        "text": "x",
        "no-map": {},
        "empty-map": {"weight_map": {}},
        "map-is-a-list": {"weight_map": ["a"]},
        "upwards": {"weight_map": {"a": "../../etc/passwd"}},
        "absolute": {"weight_map": {"a": "/etc/passwd"}},
        "a-number": {"weight_map": {"a": 1}},
        "itself": {"weight_map": {"a": "itself.safetensors.index.json"}},
        "a-folder": {"weight_map": {"a": "."}},
        "missing": {"weight_map": {"a" * 10_000: "b" * 100}},
        "nul": {"weight_map": {"a": "x\0.safetensors"}},
    }
    made = {
        f"{name}.safetensors.index.json": json.dumps(value).encode() for name, value in maps.items()
    }
    made |= {
        "deep.safetensors.index.json": b"[" * 100_000,
        "twice.safetensors.index.json": b'{"weight_map": {"a": "x", "a": "y"}}',
        "digits.safetensors.index.json": b"1" * 5_000,
        "no-text.safetensors.index.json": b"\xff\xfe",
    }
    return made


def places(folder: Path) -> dict[str, Path]:
    """Paths that are no files: by what they are."""
    folder.mkdir(exist_ok=True)
    made: dict[str, Callable[[Path], object]] = {
        "folder.pt": Path.mkdir,
        "loop.pt": lambda path: path.symlink_to(path.name),
        "broken-link.pt": lambda path: path.symlink_to("nowhere"),
        "pipe.pt": os.mkfifo,
        "missing.pt": lambda path: None,
    }
    for name, make in made.items():
        make(folder / name)
    odd = {
        "nul": "a\0.pt",
        "overlong": "x" * 300 + ".pt",
        "overlong-path": "x/" * 3000 + "a.pt",
        "surrogate": "\ud800.pt",
    }
    return {name: folder / name for name in made} | {
        name: folder / text for name, text in odd.items()
    }
