"""Settings of every test: reproducible examples, one thread, tolerances from one table."""

from __future__ import annotations

import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "symnet", derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("symnet")
torch.set_num_threads(1)
