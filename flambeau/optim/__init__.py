"""flambeau.optim: optimizers and learning-rate schedules, with PyTorch's names, arguments and state_dicts.

`optimizer.py` is the base; SGD, Adam and AdamW update all parameters in one fused pass. Imports the tensor core, and
nn's hook handle. `swa_utils` loads when first asked for. Read next: `optimizer.py`, `lr_scheduler/`.
"""

from typing import Any

from flambeau.optim import lr_scheduler
from flambeau.optim.adafactor import Adafactor
from flambeau.optim.adam import Adam, AdamW
from flambeau.optim.adamax import Adamax, NAdam, RAdam
from flambeau.optim.lbfgs import LBFGS
from flambeau.optim.muon import Muon
from flambeau.optim.optimizer import Optimizer
from flambeau.optim.rmsprop import Adadelta, Adagrad, RMSprop
from flambeau.optim.rprop import ASGD, Rprop
from flambeau.optim.sgd import SGD
from flambeau.optim.sparse_adam import SparseAdam

__all__ = [
    "ASGD", "LBFGS", "SGD", "Adadelta", "Adafactor", "Adagrad", "Adam", "AdamW", "Adamax", "Muon", "NAdam",
    "Optimizer", "RAdam", "RMSprop", "Rprop", "SparseAdam", "lr_scheduler", "swa_utils",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "swa_utils":
        import importlib

        return importlib.import_module("flambeau.optim.swa_utils")
    raise AttributeError(f"module 'flambeau.optim' has no attribute {name!r}")
