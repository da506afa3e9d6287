from __future__ import annotations

from pathlib import Path

from avctl.recipe import load, override
from avctl.recipe.origin import values
from avctl.schema import Recipe


def test_every_value_says_where_it_was_written(recipe_file: Path):
    recipe = override(load(f"{recipe_file}::learned", Recipe), "train.batch=4", "crawl.sources.0.path=b")
    found = {value.path: value.origin for value in values(recipe)}
    line = {row.strip(): i for i, row in enumerate(recipe_file.read_text().splitlines(), start=1)}
    assert found["train.batch"] == "-o train.batch=4"
    assert found["crawl.sources.0.path"] == "-o crawl.sources.0.path=b"
    assert found["train.steps"] == f"small.py:{line['train=TrainGenerator(steps=2, batch=1),']}"
    clip = line["clip = Clip(seconds=1.0, size=(32, 32), fps=8, sample_rate=8_000)"]
    assert found["clip.seconds"] == f"small.py:{clip}"
    assert found["seed"] == found["train.optim.lr"] == found["preprocess.split.test"] == "default"
    steps = line["train=TrainAutoencoder(steps=2, batch=2),"]
    assert found["preprocess.video_codec.recipe.train.steps"] == f"small.py:{steps}"
    assert found["preprocess.video_codec.recipe.train.optim.lr"] == "default"  # given in the schema, not here
