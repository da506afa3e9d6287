from __future__ import annotations

import json
from pathlib import Path

import pytest

from avctl.pipeline import PIPELINE, STAGES, ancestors, codec_recipe, fingerprints, stage_of, steps
from avctl.recipe import load, override, replace
from avctl.schema import Crawl, Directory, Recipe, Runtime

GOLDEN = Path(__file__).with_name("fingerprints.json")


def content(path: Path) -> str:
    return f"content of {path}"


@pytest.fixture
def recipe(recipe_file: Path) -> Recipe:
    return load(recipe_file, Recipe)


@pytest.fixture
def learned(recipe_file: Path) -> Recipe:
    return load(f"{recipe_file}::learned", Recipe)


def prints(recipe: Recipe, *overrides: str) -> dict[str, str]:
    return fingerprints(override(recipe, *overrides), content)


def changed(recipe: Recipe, *overrides: str) -> set[str]:
    before, after = prints(recipe), prints(recipe, *overrides)
    return {stage for stage in before if before[stage] != after[stage]}


def test_fingerprints_are_the_golden_ones(recipe: Recipe, learned: Recipe):
    """They name artifacts on people's disks. When a change is meant (a new field that is not `added(neutral)`, a
    raised stage version), put what this test found into the golden file, and say in the commit what is made anew."""
    found = {name: fingerprints(each, content) for name, each in {"small": recipe, "learned": learned}.items()}
    assert found == json.loads(GOLDEN.read_text()), f"found now:\n{json.dumps(found, indent=1)}\n"


def test_a_stage_comes_after_all_that_it_needs():
    for i, stage in enumerate(PIPELINE):
        assert set(stage.needs) - {"codec"} <= set(STAGES[:i])
        assert set(stage.reads) <= set(Recipe.model_fields)


@pytest.mark.parametrize(
    ("text", "stages"),
    [
        ("crawl.max_files=3", {"crawl", "preprocess", "train", "sample", "eval", "export"}),
        ("clip.channels=1", {"preprocess", "train", "sample", "eval", "export"}),
        ("preprocess.shard_files=2", {"preprocess", "train", "sample", "eval", "export"}),
        ("train.optim.lr=1e-3", {"train", "sample", "eval", "export"}),
        ("seed=1", {"train", "sample", "eval", "export"}),
        ("sample.steps=3", {"sample", "eval"}),
        ("eval.resamples=3", {"eval"}),
        ("export.onnx=false", {"export"}),
        ("runtime.device=auto", set()),
        ("name=other", set()),
    ],
)
def test_a_change_renames_what_depends_on_it_and_nothing_else(recipe: Recipe, text: str, stages: set[str]):
    assert changed(recipe, text) == stages


def test_the_content_of_a_source_counts_and_its_path_does_not(recipe: Recipe, here: Path):
    before = fingerprints(recipe)
    (here / "videos").rename(here / "moved")
    moved = replace(recipe, crawl=Crawl(sources=(Directory(path=Path("moved")),)))
    assert fingerprints(moved) == before
    (here / "moved" / "a.txt").write_text("other")
    assert fingerprints(moved)["crawl"] != before["crawl"]


def test_a_codec_is_the_artifact_that_its_recipe_trains(learned: Recipe):
    codec = codec_recipe(learned)
    assert codec is not None
    assert prints(learned)["codec"] == prints(codec)["train"]
    everything = {"codec", "preprocess", "train", "sample", "eval", "export"}
    assert changed(learned, "preprocess.video_codec.recipe.train.steps=3") == everything
    assert changed(learned, "preprocess.video_codec.recipe.name=renamed") == set()
    assert changed(learned, "preprocess.video_codec.recipe.runtime.threads=1") == set()


def test_the_codecs_artifacts_come_first_and_a_shared_crawl_comes_once(learned: Recipe):
    found = [(step.stage.name, step.is_codec, step.recipe.name) for step in steps(learned, content)]
    assert found == [
        ("crawl", False, "learned"),
        ("preprocess", True, "codec"),
        ("train", True, "codec"),
        ("preprocess", False, "learned"),
        ("train", False, "learned"),
        ("sample", False, "learned"),
        ("eval", False, "learned"),
        ("export", False, "learned"),
    ]


def test_the_outer_recipe_says_how_the_codec_is_run(learned: Recipe):
    outer = replace(learned, runtime=Runtime(threads=3))
    assert all(step.recipe.runtime.threads == 3 for step in steps(outer, content))


def test_a_step_names_the_fingerprints_of_its_inputs(learned: Recipe):
    found = {step.stage.name: step for step in steps(learned, content) if not step.is_codec}
    assert found["sample"].inputs == {name: prints(learned)[name] for name in ("train", "preprocess", "codec")}
    assert found["crawl"].folder == f"learned-{prints(learned)['crawl']}"


def test_a_given_artifact_renames_what_follows_and_saves_what_comes_before(learned: Recipe):
    given = steps(learned, content, {"train": "0" * 12, "preprocess": "1" * 12, "codec": "2" * 12})
    assert [step.stage.name for step in given] == ["sample", "eval", "export"]
    assert given[0].inputs == {"train": "0" * 12, "preprocess": "1" * 12, "codec": "2" * 12}
    assert given[0].fingerprint != prints(learned)["sample"]
    assert [step.stage.name for step in steps(learned, content, {"crawl": "0" * 12})][:2] == ["crawl", "preprocess"]


def test_a_recipe_describes_only_the_stages_that_it_has_sections_for(recipe: Recipe):
    crawl_only = replace(recipe, preprocess=None, model=None, train=None, sample=None, eval=None, export=None)
    assert list(fingerprints(crawl_only, content)) == ["crawl"]
    assert codec_recipe(crawl_only) is None
    assert codec_recipe(recipe) is None


def test_ancestors_and_roles():
    assert ancestors("sample") == {"sample", "train", "preprocess", "crawl", "codec"}
    assert stage_of("codec") == "train" and stage_of("crawl") == "crawl"
