"""flambeau.nn: layers, losses and what they are built from, with PyTorch's names, arguments and state_dict keys.

`modules/` holds the layers, `functional/` the functions behind them, `init.py` the initialisers, `parameter.py`
Parameter and Buffer, `utils/` clipping and packing, `attention/` the choice of kernels. Imports the tensor core and
autograd. Read next: `modules/module.py`.
"""

from flambeau.nn import attention, functional, init, modules, parallel, parameter, utils
from flambeau.nn.modules import *
from flambeau.nn.parallel import DataParallel
from flambeau.nn.parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter

__all__ = [
    "Buffer", "DataParallel", "Parameter", "UninitializedBuffer", "UninitializedParameter", "attention", "functional",
    "init", "modules", "parallel", "parameter", "utils",
]  # fmt: skip
__all__ += modules.__all__
