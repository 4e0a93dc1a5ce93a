"""The name that somebody probably meant."""

from __future__ import annotations

from collections.abc import Iterable


def distance(a: str, b: str, limit: int) -> int:
    """Edit distance with swaps of neighbours; anything above `limit` comes back as `limit + 1`."""
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, last, row = row, before, [i]
        for j, y in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if last and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
    return min(row[-1], limit + 1)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The most similar name, if one is similar enough; case, dashes and underscores count for little."""
    wanted = _folded(name)
    limit = max(1, len(wanted) // 3) if len(wanted) > 1 else 0
    best: tuple[int, int, str] | None = None
    for candidate in names:
        folded = _folded(candidate)
        found = distance(wanted, folded, limit)
        if found > limit and len(wanted) >= 4 and (folded.startswith(wanted) or wanted.startswith(folded + "s")):
            found = limit
        rank = (found, abs(len(folded) - len(wanted)), candidate)
        if found <= limit and (best is None or rank < best):
            best = rank
    return best[2] if best else None


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The hint for an unknown name: the nearest one, or all of a short list."""
    names = list(names)
    near = nearest(name, names)
    if near is not None:
        return f"Did you mean `{near}`?"
    if 0 < len(names) <= 8:
        return "There is " + ", ".join(f"`{n}`" for n in names) + "."
    return ""


def _folded(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")
