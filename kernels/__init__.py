"""Fused operations. Each file reads top to bottom: the reference, the Triton kernel, the operation."""

if __name__ != "avctl.kernels":
    raise ImportError("this folder is `avctl.kernels`; `kernels` is another package on PyPI")
