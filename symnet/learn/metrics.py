"""How answers are judged, the same for tasks and for estimators."""

from __future__ import annotations

from scipy.stats import kendalltau
from torch import Tensor

__all__ = ["classification_measures", "regression_measures"]


def regression_measures(predictions: Tensor, truth: Tensor) -> dict[str, float]:
    """`tau`: Kendall's tau-b; `r2`: share of the variance that is explained; `error`: mean absolute difference.

    Args:
        predictions, truth: `(networks,)`.

    Example:
        >>> import torch
        >>> regression_measures(torch.tensor([0.1, 0.3, 0.2]), torch.tensor([0.0, 0.4, 0.2]))["tau"]
        1.0
    """
    truth = truth.to(predictions)
    # tau is undefined for equal predictions: they order nothing.
    tau = (
        float(kendalltau(predictions.numpy(), truth.numpy()).statistic)
        if len(predictions.unique()) > 1
        else 0.0
    )
    variance = (truth - truth.mean()).square().mean()
    return {
        "tau": tau,
        "r2": float(1 - (predictions - truth).square().mean() / variance),
        "error": float((predictions - truth).abs().mean()),
    }


def classification_measures(chances: Tensor, classes: Tensor) -> dict[str, float]:
    """`accuracy`: share that is right; `certainty`: mean chance of the right class.

    Args:
        chances: `(networks, classes)`.
        classes: numbers of the right ones, `(networks,)`.

    Example:
        >>> import torch
        >>> classification_measures(torch.tensor([[0.75, 0.25], [0.5, 0.5]]), torch.tensor([0, 1]))
        {'accuracy': 0.5, 'certainty': 0.625}
    """
    right = chances.gather(1, classes[:, None])
    return {
        "accuracy": float((chances.argmax(1) == classes).float().mean()),
        "certainty": float(right.mean()),
    }
