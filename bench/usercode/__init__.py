"""Code of the user's, run in this process: each file finds its neighbours, and none changes what the others see."""

from bench.usercode.files import OURS, UserFile
from bench.usercode.globals import Globals, kept

__all__ = ["OURS", "Globals", "UserFile", "kept"]
