"""flambeau.nn: layers, losses and what they are built from, with PyTorch's names, arguments and state_dict keys.

`modules/` holds the layers, `functional/` the functions behind them, `init.py` the initialisers, `parameter.py`
Parameter and Buffer, `utils/` clipping and packing. Imports the tensor core and autograd. Read next:
`modules/module.py`.
"""

from flambeau.nn import functional, init, modules, parameter, utils
from flambeau.nn.modules import *
from flambeau.nn.parameter import Buffer, Parameter

__all__ = ["Buffer", "Parameter", "functional", "init", "modules", "parameter", "utils"]
__all__ += [name for name in dir(modules) if isinstance(getattr(modules, name), type)]
