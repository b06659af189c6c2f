"""The plan of a whole network: its layers' plans one after another, and what they cost together."""

from __future__ import annotations

from dataclasses import dataclass

from symnet.plan.layer_plan import Cost, LayerPlan


@dataclass(frozen=True, slots=True)
class Stage:
    """A layer of a network, and whether a ReLU runs inside it, on outputs
    that are still in the layer's memory.
    """

    name: str
    plan: LayerPlan
    in_channels: int
    out_channels: int
    relu: bool


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """What a stack of layers computes.

    Features keep their form between the layers (``(batch, *axes, channels)``): nothing is reshaped
    or copied.
    """

    stages: tuple[Stage, ...]

    def cost(self) -> Cost:
        """The cost of one forward pass for one network of a batch: the layers' sum."""
        costs = [stage.plan.cost(stage.in_channels, stage.out_channels) for stage in self.stages]
        return Cost(
            sum(cost.parameters for cost in costs),
            sum(cost.multiplies for cost in costs),
            sum(cost.read for cost in costs),
            sum(cost.written for cost in costs),
        )

    def __repr__(self) -> str:
        cost = self.cost()
        lines = [
            f"NetworkPlan: {len(self.stages)} layers; {cost.parameters:,} parameters; for each "
            f"network {cost.multiplies:,} multiplies, {cost.bytes():,} bytes (float32)"
        ]
        for stage in self.stages:
            stage_cost = stage.plan.cost(stage.in_channels, stage.out_channels)
            channels = f"{stage.in_channels} -> {stage.out_channels}"
            lines.append(
                f"  {stage.name:>4}  {len(stage.plan.inputs)} -> {len(stage.plan.outputs)} "
                f"tensors, channels {channels}, {stage.plan.dimension} maps, "
                f"{len(stage.plan.tables)} tables, {stage_cost.parameters:,} parameters, "
                f"{stage_cost.multiplies:,} multiplies{', ReLU inside' if stage.relu else ''}"
            )
        return "\n".join(lines)
