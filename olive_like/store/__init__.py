"""Artifacts and the records key -> artifact, safe from crashes, faults and other processes."""

from olive_like.store.layout import default_root
from olive_like.store.model import Manifest, Record
from olive_like.store.seal import seal
from olive_like.store.store import Store

__all__ = ["Manifest", "Record", "Store", "default_root", "seal"]
