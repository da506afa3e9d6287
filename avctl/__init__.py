"""avctl: from a list of sources to a trained, measured and exported generator of video with synchronised sound.

`from avctl import AVPipeline` loads the Python face of a trained model, and torch with it, only then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avctl.generate import AVPipeline  # pyright: ignore[reportMissingImports]

__version__ = "0.1.0"
__all__ = ["AVPipeline", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "AVPipeline":
        from avctl.generate import AVPipeline  # pyright: ignore[reportMissingImports]

        return AVPipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
