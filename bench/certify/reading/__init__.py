"""Networks read as plain arrays, and those refused that may compute something else than is read."""

from bench.certify.reading.network import in_double, read

__all__ = ["in_double", "read"]
