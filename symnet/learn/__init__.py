"""Readers of one's own networks: estimators that fit, predict and score, the engine that trains them, and saved readers."""

from symnet.learn.comparison import Comparison, Tried
from symnet.learn.editing_networks import Editor
from symnet.learn.estimators import Classifier, Regressor
from symnet.learn.saved_readers import load

__all__ = ["Classifier", "Comparison", "Editor", "Regressor", "Tried", "load"]


def __dir__() -> list[str]:
    return __all__
