"""Complete recipes: data, derivation, training, comparison, report."""
