"""Dense ReLU networks: bound propagation, cuts, branch and bound over the signs of units."""
