"""The types of settings that mean something to the engine. See `olive_like.marks`."""

from __future__ import annotations

from olive_like.data.config import DataConfig
from olive_like.marks import FileMark, FilesAmongMark, LocalPath, NotInKey, Options, ScriptPath

__all__ = ["DataRef", "FileMark", "FilesAmongMark", "LocalPath", "NotInKey", "Options", "ScriptPath"]

# A data set: the name of one of the workflow's `data_configs`, or the same written in place.
# The graph replaces names by what they name before any pass sees them.
DataRef = DataConfig | str
