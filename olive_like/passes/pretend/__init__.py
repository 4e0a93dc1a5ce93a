"""The pretend pass, for tests, demonstrations and scale."""

PASSES: dict[str, str] = {"Null": "olive_like.passes.pretend.null:Null"}
