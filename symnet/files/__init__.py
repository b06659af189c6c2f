"""Files: one writer, which leaves a file whole or as it was, and one reader of weights, which runs no code."""

from symnet.files.archives import TORCH_SUFFIXES, read_archive
from symnet.files.arrays import read_arrays, write_arrays
from symnet.files.outputs import check_outputs, place_outputs
from symnet.files.paths import reason, regular_file, shown
from symnet.files.reading import parse_json, read_bytes, read_json, read_text
from symnet.files.state_files import (
    STATE_SUFFIXES,
    StateFile,
    open_state_file,
    read_content,
    read_state_file,
    state_in,
    write_state_file,
)
from symnet.files.tensor_files import open_tensor_file, write_tensor_file
from symnet.files.writing import replacing, write_file

__all__ = [
    "STATE_SUFFIXES",
    "TORCH_SUFFIXES",
    "StateFile",
    "check_outputs",
    "open_state_file",
    "open_tensor_file",
    "parse_json",
    "place_outputs",
    "read_archive",
    "read_arrays",
    "read_bytes",
    "read_content",
    "read_json",
    "read_state_file",
    "read_text",
    "reason",
    "regular_file",
    "replacing",
    "shown",
    "state_in",
    "write_arrays",
    "write_file",
    "write_state_file",
    "write_tensor_file",
]


def __dir__() -> list[str]:
    return __all__
