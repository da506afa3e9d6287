"""Recipes: frozen, typed descriptions of a run. Nothing here imports torch."""

from avctl.recipe.errors import RecipeError
from avctl.recipe.load import load
from avctl.recipe.override import override
from avctl.recipe.spec import PathField, Spec, added, replace

__all__ = ["PathField", "RecipeError", "Spec", "added", "load", "override", "replace"]
