"""Train the model of a recipe: a joint generator, or a codec for other recipes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable

import torch
from safetensors.torch import save_file
from torch import Tensor

from avctl.codecs.build import WEIGHTS
from avctl.codecs.frame_autoencoder import FrameAutoencoderCodec
from avctl.compute.compile import compiles
from avctl.compute.device import prepare
from avctl.compute.seed import seeded
from avctl.errors import InputError
from avctl.generate import AVPipeline, Settings
from avctl.job import Job
from avctl.kernels.attention_choice import who_ran
from avctl.models import pretrained
from avctl.models.generator import Scale
from avctl.models.pretrained import Pretrained
from avctl.schema import FrameAutoencoder, JointDiT, TrainAutoencoder, TrainGenerator
from avctl.store.reader import ClipRow, ClipStore, Place
from avctl.training.autoencoder import AutoencoderObjective
from avctl.training.ema import EMA
from avctl.training.generator import GeneratorObjective
from avctl.training.loop import fit
from avctl.training.recompute import recompute

SCALE_CLIPS = 1_000  # from which the scale of the latents is taken
PREVIEWS, PREVIEW = 4, Settings(steps=25, guidance=3.0)  # clips rendered during training, and how


def run(job: Job) -> None:
    device = prepare(job.recipe.runtime, job.out)
    torch.manual_seed(job.recipe.seed)  # of the first weights
    store = ClipStore(job.inputs["preprocess"])
    rows = _seen(job, store.clips("train"))
    if not rows:
        raise InputError("the data set has no clips for training", hint="look at its funnel.html for what was dropped")
    match job.recipe.model, job.recipe.train:
        case JointDiT(), TrainGenerator():
            _train_generator(job, store, rows, device)
        case FrameAutoencoder(), TrainAutoencoder():
            _train_autoencoder(job, store, rows, device)
    shutil.rmtree(job.out / "work", ignore_errors=True)


def _seen(job: Job, rows: list[ClipRow]) -> list[ClipRow]:
    """The clips that the model can learn from: a codec from pictures, a generator from sounds alone as well."""
    is_codec = isinstance(job.recipe.model, FrameAutoencoder)
    seen = [row for row in rows if row.video or not is_codec]
    if left := len(rows) - len(seen):
        job.report.warn(f"{left:,} clips are left out: they have no picture")
    return seen


def _train_generator(job: Job, store: ClipStore, rows: list[ClipRow], device: torch.device) -> None:
    recipe = job.recipe
    assert isinstance(recipe.train, TrainGenerator)
    model = pretrained.untrained(recipe, job.inputs.get("codec"))
    _warn_of_long_captions(job, model, rows)
    _fit_scale(model.generator.scale, store, rows[:SCALE_CLIPS])
    model.generator.to(device)
    ema = EMA(model.generator, recipe.train.ema)
    recompute(model.generator, recipe.runtime.recompute, device)
    averaged = Pretrained(model.config, ema.model, model.video_codec, model.audio_codec)
    is_compiled = compiles(recipe.runtime, recipe.train.steps, device)
    if is_compiled:
        model.generator.transformer.compile()
    objective = GeneratorObjective(model.generator, recipe, store, rows, device, is_split=not is_compiled)
    if objective.num_sizes > 1:
        waste = objective.packs.waste()
        job.report.note(f"clips of {objective.num_sizes} sizes; packs leave {waste:.1%} of their tokens unused")
    fit(objective, recipe.train, job, ema, _preview(job, averaged, store, device))
    if ran := who_ran():
        job.report.note(f"attention was computed by {ran}")
    pretrained.save(averaged, job.out)


def _fit_scale(scale: Scale, store: ClipStore, rows: list[ClipRow]) -> None:
    def read(places: Iterable[Place | None]) -> list[Tensor]:
        return [torch.from_numpy(store.read(place)) for place in places if place]

    scale.fit(read(row.video_latents for row in rows), read(row.audio_latents for row in rows))


def _warn_of_long_captions(job: Job, model: Pretrained, rows: list[ClipRow]) -> None:
    text = model.generator.text
    if count := sum(text.is_too_long(row.caption) for row in rows):
        job.report.warn(
            f"{count:,} of {len(rows):,} captions are longer than the {text.max_tokens} tokens that are read: "
            "raise `model.text.max_tokens`"
        )


def _train_autoencoder(job: Job, store: ClipStore, rows: list[ClipRow], device: torch.device) -> None:
    recipe = job.recipe
    assert isinstance(recipe.train, TrainAutoencoder) and isinstance(recipe.model, FrameAutoencoder)
    codec = FrameAutoencoderCodec(recipe.model).to(device)
    objective = AutoencoderObjective(codec, recipe, store, rows, device)
    objective.start()
    fit(objective, recipe.train, job)
    save_file({name: tensor.cpu().contiguous() for name, tensor in codec.state_dict().items()}, job.out / WEIGHTS)


def _preview(job: Job, model: Pretrained, store: ClipStore, device: torch.device) -> Callable[[int], None]:
    """Every `sample_every` steps, a few captions that training does not see, rendered to `samples/`."""
    assert isinstance(job.recipe.train, TrainGenerator)
    every = job.recipe.train.sample_every
    if not every:
        return lambda step: None
    pipe = AVPipeline(model, job.recipe.train.dtype).to(device)
    held_out = (store.clips("valid") or store.clips("test") or store.clips("train"))[:PREVIEWS]
    prompts = [row.caption for row in held_out]

    def preview(step: int) -> None:
        if step % every:
            return
        folder = job.out / "samples" / f"step-{step:08d}"
        folder.mkdir(parents=True, exist_ok=True)
        generators = [seeded(job.recipe.seed, "preview", i) for i in range(len(prompts))]
        made = pipe.generate(prompts, generators, PREVIEW)
        for i, output in enumerate(made):
            output.save(folder / f"{i:05d}.mp4")
        (folder / "prompts.json").write_text(json.dumps(prompts, indent=1, ensure_ascii=False) + "\n")

    return preview
