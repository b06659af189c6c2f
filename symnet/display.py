"""What notebooks show of a value: asked of ``symnet.notebooks`` when a cell ends with it, not before.

The lowest rooms know no HTML and no picture; their values say only that they have one, here.
"""

from __future__ import annotations

from importlib import import_module


class Displayed:
    """A value that notebooks show as a table, a picture or a formula, and terminals as its repr.

    Every method returns ``None`` where the value has no such form, or where the packages of the
    extra ``show`` are needed and missing; the table then says which.
    """

    __slots__ = ()

    def _repr_html_(self) -> str | None:
        """A table, and the picture where there is one."""
        return _asked(self, "html")

    def _repr_latex_(self) -> str | None:
        """Formulas between dollar signs."""
        return _asked(self, "latex")

    def _repr_svg_(self) -> str | None:
        """The picture alone."""
        return _asked(self, "svg")


def _asked(value: Displayed, form: str) -> str | None:
    # By its name: the import is not one of this file's own, it happens when a notebook asks.
    form_of = import_module("symnet.notebooks").form_of
    text = form_of(value, form)
    assert text is None or isinstance(text, str)
    return text
