"""`torch.onnx`, present so that programs can import it; export says what is missing. Imports nothing."""

from __future__ import annotations

from typing import Any, NoReturn


def is_in_onnx_export() -> bool:
    """False."""
    return False


def export(*args: Any, **kwargs: Any) -> NoReturn:
    """Raises NotImplementedError: flambeau doesn't write ONNX yet."""
    raise NotImplementedError(
        "onnx.export: flambeau doesn't write ONNX files yet; save the weights with torch.save(model.state_dict(), "
        "'model.pt'), which PyTorch loads and exports"
    )


__all__ = ["export", "is_in_onnx_export"]
