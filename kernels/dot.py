"""The product of two blocks, which Triton's interpreter gets right as well.

The interpreter keeps bfloat16 as the integers of its bits, and `tl.dot` of Triton 3.6 multiplies those integers.
"""

from __future__ import annotations

from avctl.kernels.dispatch import tl, triton


@triton.jit
def dot(a, b, UPCAST: tl.constexpr):
    """a (M, K), rounded to the format of b, @ b (K, N) in float32. With UPCAST, which is for the interpreter, both are
    made float32 instead."""
    if UPCAST:
        return tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision="ieee")
    return tl.dot(a.to(b.dtype), b, input_precision="ieee")  # float32 is not cut to TF32


def needs_upcast() -> bool:
    """Whether `dot` runs in the interpreter."""
    from triton.runtime.interpreter import InterpretedFunction

    return isinstance(dot, InterpretedFunction)
