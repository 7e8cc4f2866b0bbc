"""Recurrent layers and cells: RNN, LSTM, GRU.

A layer is one op, which projects all time steps of its input and walks along time. Packed sequences run padded: a
state stays as it is beyond its sequence's end. Imports `module.py`, functional, init and ops. Read next:
`ops/recurrent.py` (the cells), `../utils/rnn.py` (packing).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar

import flambeau as fb
from flambeau import Tensor
from flambeau.nn import functional as F
from flambeau.nn import init
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from flambeau.ops.recurrent import CELLS, recurrent_cell, recurrent_layer, recurrent_step

State = tuple[Tensor, ...]


class RNNBase(Module):
    """What RNN, LSTM and GRU share: weights `weight_ih_l0`, `weight_hh_l0`, … from U(-√k, √k), k = 1 / hidden_size.

    >>> sorted(fb.nn.RNN(3, 5).state_dict())
    ['bias_hh_l0', 'bias_ih_l0', 'weight_hh_l0', 'weight_ih_l0']
    """

    def __init__(
        self, mode: str, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False, proj_size: int = 0,
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__()
        if not isinstance(dropout, (int, float)) or isinstance(dropout, bool) or not 0 <= dropout <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
            )
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
                "num_layers "
                f"greater than 1, but got dropout={dropout} and num_layers={num_layers}", stacklevel=3,
            )  # fmt: skip
        if not isinstance(hidden_size, int):
            raise TypeError(f"hidden_size should be of type int, got: {type(hidden_size).__name__}")
        if hidden_size <= 0 or num_layers <= 0:
            raise ValueError(
                f"hidden_size and num_layers must be greater than zero, got {hidden_size} and {num_layers}"
            )
        if not 0 <= proj_size < hidden_size:
            raise ValueError(
                f"proj_size has to be smaller than hidden_size, zero to disable projections; got {proj_size}"
            )
        self.mode, self.input_size, self.hidden_size, self.num_layers = mode, input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, float(dropout)
        self.bidirectional, self.proj_size = bidirectional, proj_size
        options = {"device": device, "dtype": dtype}
        gates, out_size = CELLS[mode].gates * hidden_size, proj_size or hidden_size
        self._all_weights: list[list[str]] = []
        for layer in range(num_layers):
            features = input_size if layer == 0 else out_size * (1 + bidirectional)
            for suffix in ("", "_reverse")[: 1 + bidirectional]:
                shapes: dict[str, tuple[int, ...]] = {"weight_ih": (gates, features), "weight_hh": (gates, out_size)}
                if bias:
                    shapes |= {"bias_ih": (gates,), "bias_hh": (gates,)}
                if proj_size:
                    shapes["weight_hr"] = (proj_size, hidden_size)
                for name, shape in shapes.items():
                    self.register_parameter(f"{name}_l{layer}{suffix}", Parameter(fb.empty(shape, **options)))
                self._all_weights.append([f"{name}_l{layer}{suffix}" for name in shapes])
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        bound = 1 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Nothing to do here: weights needn't share one block of memory."""

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The weights of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        defaults = {
            "proj_size": 0,
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
        }
        return text + "".join(f", {n}={getattr(self, n)}" for n, d in defaults.items() if getattr(self, n) != d)

    def forward(self, input: Any, hx: Any = None) -> Any:
        packed = input if isinstance(input, PackedSequence) else None
        lengths = None
        if packed is not None:
            x, lengths = pad_packed_sequence(packed._replace(sorted_indices=None, unsorted_indices=None))
            unbatched = False
        else:
            if input.dim() not in (2, 3):
                raise ValueError(f"{type(self).__name__}: Expected input to be 2D or 3D, got {input.dim()}D instead")
            unbatched = input.dim() == 2
            x = input.unsqueeze(1) if unbatched else input.transpose(0, 1) if self.batch_first else input
        if x.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {x.shape[-1]}"
            )
        states = self._initial(hx, x, unbatched, packed)
        finals: list[State] = []
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(1 + self.bidirectional):
                at = layer * (1 + self.bidirectional) + direction
                output, final = self._run(
                    x, tuple(s[at] for s in states), self._all_weights[at], bool(direction), lengths
                )
                outputs.append(output)
                finals.append(final)
            x = outputs[0] if len(outputs) == 1 else fb.cat(outputs, -1)
            if self.dropout and layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        last = tuple(fb.stack(parts) for parts in zip(*finals, strict=True))
        if packed is not None:
            output = pack_padded_sequence(x, lengths)._replace(
                sorted_indices=packed.sorted_indices, unsorted_indices=packed.unsorted_indices
            )
            if packed.unsorted_indices is not None:
                last = tuple(s.index_select(1, packed.unsorted_indices) for s in last)
        elif unbatched:
            output, last = x.squeeze(1), tuple(s.squeeze(1) for s in last)
        else:
            output = x.transpose(0, 1) if self.batch_first else x
        return output, last if self.mode == "LSTM" else last[0]

    def _initial(self, hx: Any, x: Tensor, unbatched: bool, packed: PackedSequence | None) -> State:
        sizes = [self.proj_size or self.hidden_size, self.hidden_size][: 2 if self.mode == "LSTM" else 1]
        count = self.num_layers * (1 + self.bidirectional)
        if hx is None:
            return tuple(fb.zeros(count, x.shape[1], size, dtype=x.dtype, device=x.device) for size in sizes)
        states: State = tuple(hx) if self.mode == "LSTM" else (hx,)
        if unbatched:
            states = tuple(s.unsqueeze(1) for s in states)
        for name, state, size in zip(("hidden[0]", "hidden[1]"), states, sizes, strict=False):
            if tuple(state.shape) != (count, x.shape[1], size):
                raise RuntimeError(f"Expected {name} size {(count, x.shape[1], size)}, got {list(state.shape)}")
        if packed is not None and packed.sorted_indices is not None:
            states = tuple(s.index_select(1, packed.sorted_indices) for s in states)
        return states

    def _run(
        self, x: Tensor, state: State, names: list[str], reverse: bool, lengths: Tensor | None
    ) -> tuple[Tensor, State]:
        """One layer in one direction over (T, N, features)."""
        weights = {name.split("_l")[0]: getattr(self, name) for name in names}
        if "weight_hr" in weights:
            return self._projected(x, state, weights, reverse, lengths)
        biases = weights.get("bias_ih"), weights.get("bias_hh")
        h, c = (*state, None)[:2]
        output, *last = recurrent_layer(
            x, weights["weight_ih"], weights["weight_hh"], *biases, h, c, lengths, self.mode, reverse
        )
        return output, tuple(last)

    def _projected(
        self, x: Tensor, state: State, weights: dict[str, Tensor], reverse: bool, lengths: Tensor | None
    ) -> tuple[Tensor, State]:
        """The LSTM whose h is projected: step by step."""
        x = F.linear(x, weights["weight_ih"], weights.get("bias_ih"))
        outputs: list[Any] = [None] * x.shape[0]
        for t in reversed(range(x.shape[0])) if reverse else range(x.shape[0]):
            h, c = state
            gates = F.linear(h, weights["weight_hh"], weights.get("bias_hh"))
            c = c.to(gates.dtype)
            h, c = recurrent_cell(x[t], gates, (c, c), self.mode)
            following = (F.linear(h, weights["weight_hr"]), c)
            if lengths is not None:
                inside = (lengths > t).unsqueeze(1)
                following = tuple(fb.where(inside, new, old) for new, old in zip(following, state, strict=True))
            state = following
            outputs[t] = state[0]
        return fb.stack(outputs), state


class RNN(RNNBase):
    """h_t = tanh(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), or relu: (L, N, H_in) → (L, N, D · H), states (D · layers, N,
    H).

    >>> import flambeau as fb
    >>> [t.shape for t in fb.nn.RNN(10, 20, 2)(fb.ones(5, 3, 10))]
    [flambeau.Size([5, 3, 20]), flambeau.Size([2, 3, 20])]
    """

    def __init__(self, *args: Any, nonlinearity: str = "tanh", **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if len(args) > 3:  # nonlinearity stands fourth
            nonlinearity, args = args[3], args[:3] + args[4:]
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(f"RNN_{nonlinearity.upper()}", *args, **kwargs)
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    """Long short-term memory: c_t = f ⊙ c_{t-1} + i ⊙ g, h_t = o ⊙ tanh(c_t); gates in the order i, f, g, o.

    Hochreiter and Schmidhuber, 1997; with proj_size, h is projected: Sak et al., 2014.

    >>> import flambeau as fb
    >>> output, (h, c) = fb.nn.LSTM(10, 20)(fb.ones(5, 3, 10))
    >>> output.shape, h.shape, c.shape
    (flambeau.Size([5, 3, 20]), flambeau.Size([1, 3, 20]), flambeau.Size([1, 3, 20]))
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("LSTM", *args, **kwargs)


class GRU(RNNBase):
    """Gated recurrent unit: n = tanh(W_in x + b_in + r ⊙ (W_hn h + b_hn)), h_t = (1 - z) ⊙ n + z ⊙ h; gates r, z, n.

    Cho et al., 2014.

    >>> import flambeau as fb
    >>> fb.nn.GRU(10, 20, bidirectional=True)(fb.ones(5, 3, 10))[0].shape
    flambeau.Size([5, 3, 40])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "proj_size" in kwargs:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        super().__init__("GRU", *args, **kwargs)


class RNNCellBase(Module):
    """What the cells share: one step of a recurrent layer, (N, input_size) or (input_size).

    >>> isinstance(fb.nn.LSTMCell(3, 5), fb.nn.RNNCellBase)
    True
    """

    _mode: ClassVar[str]

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        options = {"device": device, "dtype": dtype}
        rows = num_chunks * hidden_size
        self.weight_ih = Parameter(fb.empty((rows, input_size), **options))
        self.weight_hh = Parameter(fb.empty((rows, hidden_size), **options))
        self.register_parameter("bias_ih", Parameter(fb.empty(rows, **options)) if bias else None)
        self.register_parameter("bias_hh", Parameter(fb.empty(rows, **options)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}" + (f", bias={self.bias}" if not self.bias else "")
        nonlinearity = getattr(self, "nonlinearity", "tanh")
        return text + (f", nonlinearity={nonlinearity}" if nonlinearity != "tanh" else "")

    def _step(self, mode: str, input: Tensor, state: Sequence[Tensor] | None, n_states: int) -> State:
        if input.dim() not in (1, 2):
            raise ValueError(f"{type(self).__name__}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        if state is None:
            zeros = fb.zeros(*input.shape[:-1], self.hidden_size, dtype=input.dtype, device=input.device)
            state = (zeros,) * n_states
        elif any(s.dim() != input.dim() for s in state):
            raise ValueError(f"{type(self).__name__}: expected states of {input.dim()} dimensions, as the input has")
        h, c = (*state, None)[:2]
        weights = self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        if input.dim() == 2:
            return recurrent_step(input, *weights, h, c, mode)
        after = recurrent_step(
            input.unsqueeze(0), *weights, h.unsqueeze(0), None if c is None else c.unsqueeze(0), mode
        )  # fmt: skip
        return tuple(t.squeeze(0) for t in after)


class RNNCell(RNNCellBase):
    """h′ = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu.

    >>> cell, h = fb.nn.RNNCell(3, 5), None
    >>> for x in fb.ones(4, 2, 3):
    ...     h = cell(x, h)
    >>> h.shape, (h.abs() < 1).all()
    (flambeau.Size([2, 5]), tensor(True))
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh",
        device: Any = None, dtype: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        if nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {nonlinearity}; expected tanh or relu")
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(f"RNN_{self.nonlinearity.upper()}", input, None if hx is None else (hx,), 1)[0]


class LSTMCell(RNNCellBase):
    """One step of an LSTM: (h′, c′) from x and (h, c).

    >>> import flambeau as fb
    >>> [t.shape for t in fb.nn.LSTMCell(10, 20)(fb.ones(3, 10))]
    [flambeau.Size([3, 20]), flambeau.Size([3, 20])]
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> State:
        return self._step("LSTM", input, hx, 2)


class GRUCell(RNNCellBase):
    """One step of a GRU: h′ from x and h.

    >>> cell, h = fb.nn.GRUCell(3, 5), None
    >>> for x in fb.ones(4, 2, 3):
    ...     h = cell(x, h)
    >>> h.shape, (h.abs() < 1).all()
    (flambeau.Size([2, 5]), tensor(True))
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step("GRU", input, None if hx is None else (hx,), 1)[0]
