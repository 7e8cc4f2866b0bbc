"""Renderers and compilers: Kernels to machine code and C."""
