"""How a training runs: typed, checked by pydantic, the same for tasks and for estimators."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Count", "SettingsSection", "Share", "TrainingConfiguration"]

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class SettingsSection(BaseModel):
    """Values that are checked when they are made; a name that is not known is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class TrainingConfiguration(SettingsSection):
    """How every model of the run is trained: the same number of steps on batches of the same size."""

    steps: Count
    batch: Count = 64  # networks of all processes together
    learning_rate: Annotated[float, Field(gt=0)] = 0.003
    learning_rates: dict[
        str, Annotated[float, Field(gt=0)]
    ] = {}  # of single models, where it is another one
    steps_of: dict[
        str, Count
    ] = {}  # of single models: those with quicker steps may make more of them
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    warm_up: Share = (
        0.08  # share of the steps in which the learning rate rises; then half a cosine down to zero
    )
    clip: Annotated[float, Field(gt=0)] = 1.0  # largest norm of the gradient
    evaluate_every: Count = (
        200  # steps between looks at the validation networks; the best look is kept
    )
    checkpoint_every: Count = 200  # steps between checkpoints
    precision: Literal["32-true", "64-true", "bf16-mixed", "bf16-true"] = "32-true"
