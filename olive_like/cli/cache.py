"""`olive-like cache`: look into the cache, verify it, make room, carry artifacts to another machine."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from olive_like.cli.cache_root import cache_root
from olive_like.engine.summary import table
from olive_like.errors import WorkflowError
from olive_like.store import Record, Store
from olive_like.store.collect import parse_size, parse_span


def configure(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument("--cache-dir", help="the cache's folder (default: OLIVE_LIKE_CACHE, or ~/.cache/olive-like)")
    common.add_argument("--json", action="store_true", help="print one JSON document")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[common], allow_abbrev=False)

    add("ls", "list artifacts: what, size, last used, made by")
    add("show", "show what is known of a key: settings, inputs, versions, files").add_argument("key", help=_KEY)
    add("path", "print the folder of a key's artifact").add_argument("key", help=_KEY)
    add("verify", "read and hash every artifact; quarantine the damaged ones")
    gc = add("gc", "remove what was not used for long; never what a live run or an output needs")
    gc.add_argument("--max-size", metavar="SIZE", help="keep at most so much, the latest used: 50GB, 1.5GiB")
    gc.add_argument("--older-than", metavar="TIME", help="remove what was not used for so long: 30d, 12h")
    gc.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    out = add("export", "write artifacts into one file for another machine")
    out.add_argument("file", type=Path)
    out.add_argument("keys", nargs="*", metavar="KEY", help=_KEY)
    out.add_argument("--all", action="store_true", help="everything in the cache")
    add("import", "take in a file that export wrote, verified").add_argument("file", type=Path)


_KEY = "a key, or an artifact's digest; the first digits are enough"


def execute(args: argparse.Namespace) -> int:
    with Store(cache_root(args.cache_dir), lambda text: print(f"warning: {text}", file=sys.stderr)) as store:
        document, text, code = _ACTIONS[args.action](store, args)
    # File names may hold bytes that are no UTF-8.
    print(json.dumps(document, indent=2) if args.json else text.encode("utf-8", "backslashreplace").decode("utf-8"))
    return code


Answer = tuple[Any, str, int]
"""The JSON document, the same for people, and the exit code."""


def _ls(store: Store, args: argparse.Namespace) -> Answer:
    everything = store.ls()
    total = sum(listed.size for listed in everything)
    rows = [("KEY", "KIND", "SIZE", "LAST USED", "MADE BY")]
    for listed in everything:
        maker = listed.made_by[0] if listed.made_by else None
        made_by = f"{maker.pass_name} {maker.node}".strip() if maker else "unknown"
        name = maker.key[:16] if maker else listed.digest[:16]
        rows.append((name, listed.kind, _size(listed.size), _ago(listed.last_used), made_by))
    lines = [*table(rows), f"{len(everything)} artifacts, {_size(total)} in {store.root}"]
    return [listed.to_json() for listed in everything], "\n".join(lines), 0


def _show(store: Store, args: argparse.Namespace) -> Answer:
    record = store.show(args.key)
    present = store.peek(record.key) is not None
    document = {**record.to_json(), "path": str(store.layout.object(record.digest)), "present": present}
    return document, _describe(record, document["path"], present), 0


def _describe(record: Record, path: str, present: bool) -> str:
    rows = [
        ("key", record.key),
        ("digest", record.digest),
        ("artifact", f"{record.kind}, {len(record.files)} files, {_size(record.size)}" if present else "removed"),
        ("path", path if present else "-"),
        ("made by", f"{record.pass_name} {record.node}".strip()),
        ("workflow", record.workflow or "-"),
        ("run", record.run_id or "-"),
        ("created", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))),
        ("took", f"{record.seconds:.2f} s, peak memory {_size(record.peak_rss)}"),
    ]
    rows += [(f"stands on {name}", digest) for name, digest in record.refs.items()]
    rows += [(f"metric {name}", json.dumps(value)) for name, value in record.metrics.items()]
    if others := record.extra.get("other_digests"):
        rows.append(("not deterministic", f"also gave {', '.join(digest[:16] for digest in others)}"))
    lines = table(rows)
    if record.document:
        lines += ["", "what the key is made of:", json.dumps(record.document, indent=2, ensure_ascii=False)]
    if record.files:
        lines += ["", *table([(_size(entry.size), entry.digest[:16], entry.path) for entry in record.files])]
    return "\n".join(lines)


def _path(store: Store, args: argparse.Namespace) -> Answer:
    path = store.path(args.key)
    return {"path": str(path)}, str(path), 0


def _verify(store: Store, args: argparse.Namespace) -> Answer:
    result = store.verify()
    lines = [f"damaged: {fault.digest[:16]}: {fault.damage}; moved to {fault.moved_to}" for fault in result.faults]
    lines.append(f"{result.artifacts} artifacts, {_size(result.size)} read, {len(result.faults)} damaged")
    if result.unlisted:
        lines.append(f"{result.unlisted} folders that no record leads to; they are adopted or removed when needed")
    return result.to_json(), "\n".join(lines), 0 if result.ok else 1


def _gc(store: Store, args: argparse.Namespace) -> Answer:
    if args.max_size is None and args.older_than is None:
        raise WorkflowError("gc needs --max-size, --older-than or both", "For example: cache gc --max-size 50GB")
    try:
        max_size = None if args.max_size is None else parse_size(args.max_size)
        older_than = None if args.older_than is None else parse_span(args.older_than)
    except ValueError as error:
        raise WorkflowError(str(error)) from error
    result = store.gc(max_size, older_than, args.dry_run)
    verb = "would remove" if result.dry_run else "removed"
    rows = [
        (verb, listed.digest[:16], listed.kind, _size(listed.size), _ago(listed.last_used)) for listed in result.removed
    ]
    lines = (table(rows) if rows else []) + [f"{verb} {path}" for path in result.leftovers]
    lines.append(
        f"{verb} {len(result.removed)} artifacts, {_size(result.freed)}; "
        f"{_size(result.kept)} stay, {_size(result.in_use)} of that in use"
    )
    return result.to_json(), "\n".join(lines), 0


def _export(store: Store, args: argparse.Namespace) -> Answer:
    if bool(args.keys) == args.all:
        raise WorkflowError("name the keys to export, or give --all")
    keys = args.keys or [maker.key for listed in store.ls() for maker in listed.made_by]
    records = store.export(keys, args.file)
    size = args.file.stat().st_size
    document = {"file": str(args.file), "bytes": size, "keys": [record.key for record in records]}
    return document, f"{len(records)} keys, {_size(size)} in {args.file}", 0


def _import(store: Store, args: argparse.Namespace) -> Answer:
    records = store.import_(args.file)
    return {"keys": [record.key for record in records]}, f"{len(records)} keys taken in from {args.file}", 0


_ACTIONS = {
    "ls": _ls, "show": _show, "path": _path, "verify": _verify, "gc": _gc, "export": _export, "import": _import,
}  # fmt: skip


def _size(count: int) -> str:
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def _ago(moment: float) -> str:
    seconds = max(0.0, time.time() - moment)
    for limit, step, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / step:.0f} {unit} ago"
    return f"{seconds / 86400:.0f} days ago"
