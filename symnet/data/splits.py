"""Networks shared out to parts, groups of them kept together so that siblings do not tell each other's answer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from symnet.errors import SymnetError

__all__ = ["fold_numbers", "group_numbers", "known_rows", "split_rows"]


def known_rows(columns: Mapping[str, np.ndarray], column: str) -> tuple[np.ndarray, list[str]]:
    """Numbers of the networks whose value in a column is known, and what to say of the others.

    Raises:
        SymnetError: there is no such column, or no value in it.
    """
    if column not in columns:
        raise SymnetError(
            f"There is no column '{column}'; there are {', '.join(columns) or 'none'}."
        )
    values = columns[column]
    missing = (
        values == "" if values.dtype.kind in "OSU" else ~np.isfinite(values.astype(np.float64))
    )
    if missing.all():
        raise SymnetError(f"The column '{column}' has no values for these {len(values)} networks.")
    names = columns.get("path", np.arange(len(values)))
    return np.flatnonzero(~missing), [f"{name}: '{column}' is not known" for name in names[missing]]


def group_numbers(count: int, columns: Mapping[str, np.ndarray], by: str | None) -> np.ndarray:
    """Of each network the number of its group, `(count,)`: each its own, or those of equal values in a column.

    Raises:
        SymnetError: there is no such column.
    """
    if by is None:
        return np.arange(count)
    if by not in columns:
        raise SymnetError(
            f"There is no column '{by}' to split by; there are {', '.join(columns) or 'none'}."
        )
    groups: np.ndarray = np.unique(columns[by], return_inverse=True)[1]
    return groups.reshape(count)


def split_rows(
    count: int,
    shares: Mapping[str, float],
    columns: Mapping[str, np.ndarray],
    by: str | None,
    seed: int,
) -> dict[str, np.ndarray]:
    """Numbers of networks by part: the named shares, and the rest in the part `train`.

    Raises:
        SymnetError: shares that are no shares, no group for some part, or no such column.
    """
    if not shares or "train" in shares or any(not 0 < share < 1 for share in shares.values()):
        raise SymnetError(
            f"split got the shares {dict(shares)}: name the parts to take from the networks to learn from, "
            "as in validation=0.2, test=0.2; what is left is the part 'train'."
        )
    if sum(shares.values()) >= 1:
        raise SymnetError(
            f"split got the shares {dict(shares)}: they leave no networks to learn from."
        )
    groups = group_numbers(count, columns, by)
    number = int(groups.max(initial=-1)) + 1
    order = np.random.default_rng(seed).permutation(number)
    bounds = np.rint(np.cumsum([0.0, *shares.values()]) * number).astype(int)
    chosen = {name: order[bounds[k] : bounds[k + 1]] for k, name in enumerate(shares)}
    chosen = {"train": order[bounds[-1] :], **chosen}
    if empty := [name for name, some in chosen.items() if not len(some)]:
        what = f"groups of '{by}'" if by else "networks"
        raise SymnetError(
            f"{number} {what} are too few to split into {dict(shares)}: '{empty[0]}' would be empty."
        )
    return {name: np.flatnonzero(np.isin(groups, some)) for name, some in chosen.items()}


def fold_numbers(groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """Of each network the number of its fold, `(networks,)`: no group in two folds, folds about equal.

    Example:
        >>> sorted(fold_numbers(np.arange(6), 3, seed=0).tolist())
        [0, 0, 1, 1, 2, 2]
    """
    sizes = np.bincount(groups)
    order = np.random.default_rng(seed).permutation(len(sizes))
    filled, fold_of = np.zeros(folds, dtype=np.int64), np.zeros(len(sizes), dtype=np.int64)
    for group in order[
        np.argsort(-sizes[order], kind="stable")
    ]:  # the largest first, each to the emptiest fold
        fold_of[group] = int(filled.argmin())
        filled[fold_of[group]] += sizes[group]
    return fold_of[groups]
