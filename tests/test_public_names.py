"""The names that users import: a rename is seen here, and goes into CHANGELOG.md.

``python tests/test_public_names.py`` writes the list anew.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import pytest

LISTED = Path(__file__).parent / "public_names.json"
ROOMS = (
    *("symnet", "symnet.data", "symnet.files", "symnet.graph", "symnet.graph.catalogue"),
    *(
        "symnet.groups",
        "symnet.learn",
        "symnet.matching",
        "symnet.nn",
        "symnet.plan",
        "symnet.sharing",
    ),
    *("symnet.show", "symnet.surgery", "symnet.testing", "symnet.tracing", "symnet.verify"),
)


@pytest.mark.parametrize("room", ROOMS)
def test_the_public_names_are_those_that_are_listed(room: str) -> None:
    """What ``dir`` says, and nothing else: neither modules nor what they import."""
    listed = json.loads(LISTED.read_text(encoding="utf-8"))
    assert sorted(dir(import_module(room))) == listed[room], f"run python {Path(__file__).name}"


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_there(room: str) -> None:
    module = import_module(room)
    assert all(hasattr(module, name) for name in dir(module))
    assert set(module.__all__) <= set(dir(module))


def write() -> None:
    names = {room: sorted(dir(import_module(room))) for room in ROOMS}
    LISTED.write_text(json.dumps(names, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
