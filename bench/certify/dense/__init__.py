"""Branch and bound over ReLU signs, for networks of plain ReLUs (Linf and L2)."""
