"""`avctl webdataset`: the clips of a data set for tools that read tar files."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import click

from avctl.cli.options import json_option, store_option
from avctl.errors import InputError, UsageError


@click.command()
@click.argument("artifact")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--split", metavar="NAME", help="Only the clips of this side.")
@store_option
@json_option
def webdataset(artifact: str, folder: Path, split: str | None, store: Path, as_json: bool) -> None:
    """Write the clips of a preprocess ARTIFACT to tar files in FOLDER, as the package `webdataset` reads them.

    ARTIFACT is a path, a folder's name or a fingerprint. Picture and sound become mp4, which loses a little; latents
    stay exact.
    """
    from avctl.artifact import Store
    from avctl.artifact import lineage as chain
    from avctl.artifact.store import require_intact
    from avctl.cli.report import view_for
    from avctl.recipe.snapshot import thaw
    from avctl.schema import Recipe
    from avctl.store.reader import ClipStore
    from avctl.store.webdataset import write_tars

    found = chain.artifact(Store(store), artifact)
    made = require_intact(found, to_be_read=True)
    if made.stage != "preprocess":
        raise InputError(f"`{found}` is a {made.stage} artifact", "a preprocess artifact is needed")
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"`{folder}` is not empty", "name a new folder: nothing is overwritten")
    clips = ClipStore(found)
    rows = clips.clips(split)
    if not rows:
        raise InputError(f"`{found}` holds no clips" + (f" of split `{split}`" if split else ""))
    with closing(view_for(as_json, 0)) as view:
        view.begin("webdataset", f"{len(rows)} clips to {folder}")
        tars = write_tars(
            clips,
            rows,
            thaw(found / "recipe.yaml", Recipe).clip,
            folder,
            lambda done: view.progress("clips", done, len(rows), {}),
        )
    click.echo(json.dumps({"tars": list(map(str, tars))}) if as_json else folder)
