"""Pooled networks, and any other sequential network: maxima over windows, bounded without branching."""
