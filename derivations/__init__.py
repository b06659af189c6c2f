"""What symnet claims, derived with sympy and held against its public functions: one file a claim.

Every file reads from top to bottom: its docstring states the claim, ``derive()`` returns the results by name, and
``check()`` compares them with symnet and returns what agreed, or raises ``Disagreement``. ``python -m derivations``
lists and runs them all, ``python -m derivations signed_groups`` shows one with its results.
"""

# In the order in which a course would take them.
ORDER = (
    "orbits_are_ties",
    "burnside_counts",
    "circulant_matrices",
    "sets_and_graphs",
    "np_layer",
    "hnp_layer",
    "cnn_layer",
    "recurrent_layer",
    "attention_heads",
    "grouped_convolution",
    "diagrams_and_orbits",
    "invariant_pooling",
    "signed_groups",
    "even_blocks",
    "balanced_blocks",
    "brauer_matchings",
    "walled_diagrams",
    "pointwise_nonlinearities",
    "initial_variance",
    "path_products",
    "rotary_planes",
)
