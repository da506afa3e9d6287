"""The world of `tiny` with four times the pixels and half again the sample rate, in less than an hour on two cores."""

from avctl.recipe import replace
from avctl.schema import Clip, LogMel, Synthetic, Trained
from recipes.tiny import codec as tiny_codec
from recipes.tiny import recipe as tiny

clip = Clip(seconds=2.0, size=(64, 64), fps=16, sample_rate=24_000, channels=2)
world = Synthetic(count=3_500, unseen=6, size=(128, 128), sample_rate=24_000)

codec = replace(
    tiny_codec,
    name="small-codec",
    clip=clip,
    crawl=replace(tiny_codec.crawl, sources=(replace(world, count=600, first=1_000_000),)),
    train=replace(tiny_codec.train, steps=1_200, batch=64),
)

recipe = replace(
    tiny,
    name="small",
    clip=clip,
    crawl=replace(tiny.crawl, sources=(world,)),
    preprocess=replace(
        tiny.preprocess,
        video_codec=Trained(recipe=codec),
        audio_codec=LogMel(hop=480, window=1_536, mels=64),
    ),
    model=replace(tiny.model, width=192, num_dual=1, num_single=2, heads=6),
    train=replace(tiny.train, steps=5_000, sample_every=1_000),
    sample=replace(tiny.sample, steps=25),
)
