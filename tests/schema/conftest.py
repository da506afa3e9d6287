"""The sentence that a wrong section is refused with."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from avctl.recipe import RecipeError


@pytest.fixture
def refusal() -> Callable[[Callable[[], object]], str]:
    def refusal(build: Callable[[], object]) -> str:
        with pytest.raises(RecipeError) as caught:
            build()
        return caught.value.message

    return refusal
