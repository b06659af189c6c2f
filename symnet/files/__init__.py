"""Files: one writer, which leaves a file whole or as it was, and one reader of weights, which runs no code."""

from symnet.files.archives import TORCH_SUFFIXES
from symnet.files.paths import regular_file, shown
from symnet.files.reading import parse_json, read_bytes, read_json, read_text
from symnet.files.state_files import (
    STATE_SUFFIXES,
    StateFile,
    open_state_file,
    read_content,
    read_state_file,
    write_state_file,
)
from symnet.files.writing import replacing, write_file

__all__ = [
    "STATE_SUFFIXES",
    "TORCH_SUFFIXES",
    "StateFile",
    "open_state_file",
    "parse_json",
    "read_bytes",
    "read_content",
    "read_json",
    "read_state_file",
    "read_text",
    "regular_file",
    "replacing",
    "shown",
    "write_file",
    "write_state_file",
]
