"""What a finished model is turned into."""

from __future__ import annotations

from pydantic import Field

from avctl.recipe.spec import Spec


class Export(Spec):
    onnx: bool = True  # also the DiT as ONNX with dynamic length, checked against PyTorch
    tolerance: float = Field(default=1e-5, gt=0)  # largest relative error of the ONNX model
