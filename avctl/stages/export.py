"""Turn a trained generator into a folder that runs anywhere: `AVPipeline.from_pretrained`, and ONNX of the DiT."""

from __future__ import annotations

import json

from avctl.compute.device import prepare
from avctl.errors import StageError
from avctl.job import Job
from avctl.models import pretrained
from avctl.models.onnx import export_onnx, relative_error

ONNX = "model.onnx"


def run(job: Job) -> None:
    recipe = job.recipe
    assert recipe.export
    prepare(recipe.runtime.on_cpu())  # onnxruntime compares on the CPU
    model = pretrained.trained(recipe, job.inputs["train"], job.inputs.get("codec"))
    job.report.progress("export", 0, 1 + recipe.export.onnx)
    pretrained.save(model, job.out)
    pretrained.load(job.out)  # what was written can be read
    job.report.progress("export", 1, 1 + recipe.export.onnx)
    if recipe.export.onnx:
        _export_onnx(job, model, recipe.export.tolerance)
        job.report.progress("export", 2, 2)


def _export_onnx(job: Job, model: pretrained.Pretrained, tolerance: float) -> None:
    """Raises StageError where onnxruntime and PyTorch disagree by more than `tolerance`."""
    export_onnx(model.generator, job.out / ONNX)
    errors = relative_error(model.generator, job.out / ONNX)
    job.report.log(**{f"onnx_error: {name}": error for name, error in errors.items()})
    (job.out / "parity.json").write_text(json.dumps(errors, indent=1) + "\n")
    for name, error in errors.items():
        if not error <= tolerance:  # NaN is not
            raise StageError(f"ONNX differs from PyTorch by {error:.1e} at {name}, more than {tolerance:.0e}")
