"""A generator of one's own videos: a folder of files of any kind, from one film to some thousands of clips.

    avctl run recipes/own.py -o crawl.sources.0.path=/videos

A text file beside a video (`dog.txt` beside `dog.mp4`) is its caption; without one the model learns from picture and
sound alone. The steps are few, so that a first look takes minutes: raise `train.steps` for more than that.
"""

from pathlib import Path

from avctl.recipe import replace
from avctl.schema import (
    Clip,
    Crawl,
    Directory,
    Eval,
    Filters,
    FrameAutoencoder,
    Integrity,
    LogMel,
    Preprocess,
    Request,
    Runtime,
    Sample,
    Shots,
    Split,
    TaskMix,
    Trained,
    WordEncoder,
)
from recipes.tiny import codec as tiny_codec
from recipes.tiny import recipe as tiny

clip = Clip(seconds=2.0, size=(64, 64), fps=16, sample_rate=16_000, channels=2)
clips = Preprocess(
    shard_files=1,  # a film is a unit of work
    shots=Shots(max_clips=64),  # of one file: two minutes of a film, spread over it
    integrity=Integrity(max_drift_s=1.0, max_rejected=1.0),  # refuse what cannot be used, and go on with the rest
    filters=Filters(max_silence=0.9),
    split=Split(by="clip", valid=0.0, test=0.15),
)

codec = replace(  # without a crawl of its own: it shares the one below
    tiny_codec,
    name="own-codec",
    clip=clip,
    crawl=None,
    preprocess=clips,
    model=FrameAutoencoder(down=8, channels=16, width=64),
    train=replace(tiny_codec.train, steps=400, batch=32),
)

recipe = replace(
    tiny,
    name="own",
    clip=clip,
    crawl=Crawl(sources=(Directory(path=Path("videos")),)),
    preprocess=replace(clips, video_codec=Trained(recipe=codec), audio_codec=LogMel(hop=320, window=1_024, mels=48)),
    model=replace(tiny.model, text=WordEncoder(max_tokens=48)),
    train=replace(
        tiny.train,
        steps=400,
        batch=16,
        tasks=TaskMix(text_to_both=2, audio_to_video=1, video_to_audio=1, image_to_video=1, extend=1),
    ),
    sample=Sample(
        requests=(
            Request(task="text_to_both", split="train", count=8, guidance=3.0),
            Request(task="audio_to_video", count=8),
            Request(task="video_to_audio", count=8),
            Request(task="image_to_video", count=8),
            Request(task="extend", count=8),
        ),
        steps=25,
        shift=2.0,
        batch=8,
    ),
    eval=Eval(metrics=("av_align", "onsets", "reconstruction")),
    runtime=Runtime(),  # a GPU where there is one
)
