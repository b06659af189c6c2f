"""Evidence in the weak directions of weight matrices, where independent
training leaves its own random numbers.

Networks trained on one task resemble one another once their neurons are matched: they learn similar
features, which lie in the strong singular directions of their weights. The weak directions keep
what initialisation drew. Two networks whose weak directions agree share that draw.
"""

from __future__ import annotations

import numpy as np

STRONG = 0.75  # share of the singular directions, strongest first, that are left out


def weak_parts(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, float]:
    """How the weak part of ``a`` agrees with every weak singular component of ``b``.

    Both matrices are centred by rows and by columns first (common gains and offsets are no
    evidence).

    Args:
        a, b: float64 ``(rows, columns)``, neurons matched.

    Returns:
        Inner products of ``a``'s weak part with ``b``'s components ``(components,)``, divided by
        both norms; and their sum, the correlation of the weak parts. No component: nothing to
        compare.
    """
    left_a, values_a, right_a = _weak(_centre(a))
    left_b, values_b, right_b = _weak(_centre(b))
    norm = float(np.linalg.norm(values_a) * np.linalg.norm(values_b))
    if not norm > 0:
        return np.zeros(0), 0.0
    # diag(L_b^T A R_b) for the weak part A = L_a diag(s_a) R_a
    products = (
        np.einsum("ki,k,ki->i", left_a.T @ left_b, values_a, right_a @ right_b.T) * values_b / norm
    )
    return products, float(products.sum())


def _weak(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    # Centring leaves one direction empty; it is none of the weak ones.
    rank = int((values > 1e-10 * values.max(initial=0)).sum())
    strong = int(np.ceil(STRONG * rank))
    return left[:, strong:rank], values[strong:rank], right[strong:rank]


def _centre(matrix: np.ndarray) -> np.ndarray:
    matrix = matrix - matrix.mean(axis=0, keepdims=True)
    centred: np.ndarray = matrix - matrix.mean(axis=1, keepdims=True)
    return centred


def flipped_sums(products: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Sums with random signs ``(samples,)``: how large the agreement is by chance.

    If ``b``'s weak components were drawn without regard to ``a``, each is as likely as its
    negative. (Permuting neurons instead would also test whether both networks' strong directions
    coincide, which is true of any two trained alike.)
    """
    sums = np.zeros(samples)
    step = max(1, 2**24 // max(1, len(products)))
    for start in range(0, samples, step):
        count = min(step, samples - start)
        sums[start : start + count] = (
            rng.choice([-1.0, 1.0], size=(count, len(products))) @ products
        )
    return sums
