"""A data set without a model: clips of 16 frames with their sound, cut out of a folder of videos of any kind.

    avctl run recipes/clips.py -o crawl.sources.0.path=/videos
    avctl run recipes/clips.py -o crawl.sources.0.path=/videos --max-samples 100
    avctl run recipes/clips.py::cluster -o crawl.sources.0.path=/videos -o runtime.pool.address=HOST:6379

Wide, tall and square videos become clips of the size nearest to their own shape.
"""

from pathlib import Path

from avctl.recipe import replace
from avctl.schema import (
    Clip,
    Crawl,
    Decode,
    Directory,
    Filters,
    Integrity,
    Preprocess,
    Ray,
    Recipe,
    Runtime,
    Shots,
    Split,
    TransNet,
)

filters = Filters(
    min_height=480,
    min_fps=23.9,
    min_sharpness=20.0,
    max_cuts_per_s=1.0,
    min_snr_db=10.0,
    max_silence=0.5,
)
recipe = Recipe(
    name="clips",
    clip=Clip(
        seconds=2.0,
        size=(160, 256),
        other_sizes=((256, 160), (208, 208)),
        fps=8,
        sample_rate=16_000,
        channels=1,
    ),
    crawl=Crawl(sources=(Directory(path=Path("videos")),)),
    preprocess=Preprocess(
        shots=Shots(max_clips=4),
        integrity=Integrity(max_drift_s=1.0, max_rejected=1.0),  # refuse what cannot be used, and go on with the rest
        filters=filters,
        split=Split(valid=0.1, test=0.1),
        shard_files=1_000,
    ),
)

gpu = replace(  # the video engine of a GPU decodes the frames of clips, PyAV what it cannot
    recipe,
    name="clips-gpu",
    preprocess=replace(recipe.preprocess, decode=Decode(engine="dali")),
)
cluster = replace(recipe, name="clips-cluster", runtime=Runtime(pool=Ray(address="127.0.0.1:6379")))
careful = replace(  # dissolves and fades are found too, for several times the processor time
    recipe,
    name="clips-careful",
    preprocess=replace(recipe.preprocess, shots=Shots(detector=TransNet(), max_clips=4)),
)
single = replace(  # every video is one shot already: only the frames of clips are decoded
    recipe,
    name="clips-single",
    preprocess=replace(
        recipe.preprocess,
        shots=Shots(detector=None, sharpest_within_s=0.0, max_clips=4),
        filters=replace(filters, max_cuts_per_s=None),
    ),
)
