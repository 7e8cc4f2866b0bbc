"""The hot core: Storage, Tensor, dispatch and the tape, in one Cython extension that links the C runtime."""
