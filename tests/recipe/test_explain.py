from __future__ import annotations

import pytest

from avctl.recipe import RecipeError
from avctl.recipe.explain import near
from avctl.schema import Crawl, Eval, Filters, Preprocess, Recipe


def test_only_a_near_word_is_suggested():
    assert near("stpes", ["steps", "batch"]) == "did you mean `steps`?"
    assert near("zzz", ["steps", "batch"]) is None


@pytest.mark.parametrize(
    ("build", "message", "hint"),
    [
        (lambda: Filters(zzz=1), "`Filters` has no field `zzz`", "it has `min_height`"),  # pyright: ignore
        (lambda: Crawl(sources=()), "`Crawl.sources` needs at least 1 of them, got ()", None),
        (lambda: Recipe(name="A b"), "`Recipe.name` must match `^[a-z0-9][a-z0-9_.-]*$`, got 'A b'", None),  # pyright: ignore
        (lambda: Filters(max_silence=2.0), "`Filters.max_silence` must be at most 1.0, got 2.0", None),
        (lambda: Eval(metrics=["onsets"]), "`Eval.metrics` must be a tuple", "write a tuple: `(a, b)`"),  # pyright: ignore
        (lambda: Eval(metrics=("onset",)), "`Eval.metrics` must be 'av_align', 'onsets'", "did you mean `onsets`?"),  # pyright: ignore
        (lambda: Preprocess(split=None), "`Preprocess.split` must be `Split`, got None", None),  # pyright: ignore
    ],
)  # fmt: skip
def test_each_kind_of_error_is_a_sentence(build, message: str, hint: str | None):
    with pytest.raises(RecipeError) as caught:
        build()
    problem = caught.value.problems[0]
    assert problem.message.startswith(message)
    assert (problem.hint or "").startswith(hint or "")
