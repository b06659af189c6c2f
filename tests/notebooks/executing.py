"""Runs the documentation's notebooks as IPython runs them, one process for all.

``python -m tests.notebooks.executing`` writes their outputs into the files; with ``--print``, as the tests call it, the outputs are
printed as JSON instead, and no file is touched.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import sys
import warnings
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"


def outputs_of(path: Path) -> list[list[dict[str, Any]]]:
    """The outputs of every code cell, in order: what was printed, and the forms of the last value.

    Raises:
        RuntimeError: a cell failed; names the notebook and the cell.
    """
    from IPython.core.interactiveshell import InteractiveShell

    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    shell.history_manager.enabled = False
    cells = [
        cell
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
        if cell["cell_type"] == "code"
    ]
    return [_outputs_of_cell(shell, path, "".join(cell["source"])) for cell in cells]


def _outputs_of_cell(shell: Any, path: Path, source: str) -> list[dict[str, Any]]:
    printed = io.StringIO()
    shown: list[dict[str, Any]] = []
    hook = shell.displayhook
    hook.write_output_prompt = hook.finish_displayhook = lambda: None
    hook.write_format_data = lambda forms, *_: shown.append(forms)
    with contextlib.redirect_stdout(printed):
        result = shell.run_cell(source)
    if not result.success:
        raise RuntimeError(
            f"{path.name}: {result.error_in_exec or result.error_before_exec!r} in\n{source}"
        )
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue()})
    for data in shown:
        if "text/html" in data:  # it holds the picture and the formulas already
            data = {kind: data[kind] for kind in ("text/html", "text/plain")}
        if isinstance(data.get("image/png"), bytes):
            data = {**data, "image/png": base64.b64encode(data["image/png"]).decode("ascii")}
        outputs.append({"output_type": "display_data", "data": data, "metadata": {}})
    return outputs


def write(path: Path, outputs: list[list[dict[str, Any]]]) -> None:
    """Writes outputs into a notebook."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, (cell, one) in enumerate(zip(code, outputs, strict=True), start=1):
        cell |= {"execution_count": number, "outputs": one}
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    warnings.simplefilter("error")
    warnings.filterwarnings("default", category=DeprecationWarning)  # of IPython's own packages
    paths = sorted(FOLDER.glob("*.ipynb"))
    if sys.argv[1:] == ["--print"]:
        stdout, sys.stdout = sys.stdout, sys.stderr
        everything = {path.name: outputs_of(path) for path in paths}
        sys.stdout = stdout
        print(json.dumps(everything))
    else:
        for path in [path for path in paths if not sys.argv[1:] or path.stem in sys.argv[1:]]:
            write(path, outputs_of(path))
            print(path.name, path.stat().st_size)
