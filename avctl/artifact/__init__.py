"""Artifacts: folders found by fingerprint, written under a lock, finished by rename, read-only ever after."""

from avctl.artifact.manifest import Manifest
from avctl.artifact.store import Store
from avctl.artifact.workspace import Workspace

__all__ = ["Manifest", "Store", "Workspace"]
