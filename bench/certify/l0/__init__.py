"""Bounds in L0: one pixel decided exactly, then branching on pixels."""
