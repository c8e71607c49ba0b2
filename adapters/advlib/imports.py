"""Adversarial Library's import, which asks for two modules that the attacks never use."""

from __future__ import annotations

import importlib
import sys
import warnings
from types import ModuleType
from typing import Any

from torch.torch_version import TorchVersion


def imported() -> Any:
    """The module ``adv_lib.attacks.auto_pgd``, and with it all of the library's attacks.

    Every attack imports ``visdom``, which plots a progress that nobody asked for and whose releases do not build, and
    ``distutils``, which Python has no longer, to compare the version of torch. Stand-ins take their places while the
    library is imported, and no longer: whoever imports either module later gets what he would get without the library.

    Raises:
        ImportError: the library is not installed.
    """
    stand_ins = {name: ModuleType(name) for name in ("visdom", "distutils", "distutils.version")}
    vars(stand_ins["distutils.version"])["LooseVersion"] = TorchVersion
    before = {name: sys.modules.get(name) for name in stand_ins}
    sys.modules.update(stand_ins)
    try:
        with warnings.catch_warnings():
            # Its comments hold backslashes, of which Python warns where it compiles them.
            warnings.filterwarnings("ignore", message=".*invalid escape sequence")
            return importlib.import_module("adv_lib.attacks.auto_pgd")
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
