"""Code of the user's, run in this process: each file finds its neighbours, and none changes what the others see."""

from bench.usercode.files import OURS, UserFile
from bench.usercode.process import Process, kept

__all__ = ["OURS", "Process", "UserFile", "kept"]
