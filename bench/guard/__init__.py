"""Networks of users at arm's length: copies that share nothing, calls that change nothing, and what a call would change."""

from bench.guard.copies import converted, copied, device_of, frozen, has_float64
from bench.guard.forward import IMPORTS, Guarded, Within, touched

__all__ = ["IMPORTS", "Guarded", "Within", "converted", "copied", "device_of", "frozen", "has_float64", "touched"]
