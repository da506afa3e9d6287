"""The whole pipeline on a laptop CPU, in about ten minutes. Start reading here.

    avctl run   recipes/tiny.py
    avctl plan  recipes/tiny.py
    avctl train recipes/tiny.py -o train.steps=3000

A small world of bouncing, struck and blinking shapes is rendered to mp4 files, crawled over loopback HTTP, cut into
clips, turned into latents, and learned: what is seen and what is heard come from the same events.
"""

from avctl.schema import (
    Clip,
    Crawl,
    Eval,
    Export,
    Flow,
    FrameAutoencoder,
    JointDiT,
    LogMel,
    Optim,
    Preprocess,
    Recipe,
    Request,
    Runtime,
    Sample,
    Split,
    Synthetic,
    TaskMix,
    TrainAutoencoder,
    Trained,
    TrainGenerator,
    WordEncoder,
)

clip = Clip(seconds=2.0, size=(32, 32), fps=16, sample_rate=16_000, channels=2)
world = Synthetic(count=2_500, unseen=6)

codec = Recipe(
    name="tiny-codec",
    clip=clip,
    crawl=Crawl(sources=(Synthetic(count=300, first=1_000_000),), allow_private=("127.0.0.1",)),
    preprocess=Preprocess(split=Split(kind="train")),
    model=FrameAutoencoder(down=8, channels=12, width=64),
    train=TrainAutoencoder(
        steps=1_000, batch=64, optim=Optim(lr=4e-3, betas=(0.9, 0.98), warmup_steps=20, decay_from=0.3)
    ),
)

recipe = Recipe(
    name="tiny",
    clip=clip,
    crawl=Crawl(sources=(world,), allow_private=("127.0.0.1",)),
    preprocess=Preprocess(
        split=Split(valid=0.01, test=0.07),
        video_codec=Trained(recipe=codec),
        audio_codec=LogMel(hop=320, window=1_024, mels=48),
    ),
    model=JointDiT(
        width=160,
        num_dual=1,
        num_single=2,
        heads=5,
        video_patch=(2, 4, 4),  # two frames a token
        audio_patch=4,  # 80 ms a token
        text=WordEncoder(max_tokens=11),
    ),
    train=TrainGenerator(
        steps=2_200,
        batch=24,
        tasks=TaskMix(text_to_both=0.34, audio_to_video=0.28, video_to_audio=0.38),
        flow=Flow(predict="clean", mean=-0.8, audio_weight=2.0),
        optim=Optim(lr=1e-3, muon_lr=0.015, weight_decay=0.01, warmup_steps=40, decay_from=0.2, clip_norm=5.0),
        ema=0.99,
        drop_caption_given=0.9,
    ),
    sample=Sample(
        requests=(
            Request(task="text_to_both", count=128, guidance=2.0),
            Request(task="audio_to_video", count=128, use_caption=False),
            Request(task="video_to_audio", count=128, use_caption=False),
            Request(task="text_to_both", split="unseen", count=64, guidance=2.0),
        ),
        steps=16,
        shift=3.0,
        batch=32,
    ),
    eval=Eval(),
    export=Export(),
    runtime=Runtime(device="cpu"),
)
