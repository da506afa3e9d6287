"""Fused operations. Each file reads top to bottom: the reference, the Triton kernel, the operation.

Imported as `avctl.kernels`. With the root of the repository on the path they are found as `kernels` too, by libraries
that look for a package of that name on PyPI; the version tells them that this is not the one.
"""

__version__ = "0"
