"""Bounds of networks with max-pooling (Linf and L2)."""
