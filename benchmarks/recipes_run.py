"""Runs workflow files cut down as `olive-like run --test` does, one after the other, in a process of their own.

What a file names and did not come with it is stood in for: scripts by `recipes_stand_in.py`, ONNX files by a small
graph. A file that takes longer than its limit, or takes the process down, counts as failed; the rest goes on in a new
process. All files share one cache folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SCRIPTS = ("model_script", "user_script")
# What a workflow names a function for -> the one in the stand-in.
_ROLES = {
    "model_loader": "load_model",
    "io_config": "describe",
    "dummy_inputs_func": "dummy_inputs",
    "load_function": "load",
    "process_function": "process",
    "post_process_function": "post_process",
    "dataloader_function": "dataloader",
    "evaluate_func": "measure",
    "metric_func": "measure",
}
_OF_NODES = ("customized_weight_config", "nodes_to_exclude")
_ALIKE = 8  # letters that names of the same family of models begin with
_OF_INPUTS = ("old_names", "input_name")
# What parts of models take and give whose script alone says it.
_EMBEDDING = {
    "input_names": ["input_ids", "image_features"],
    "input_shapes": [[2, 8], [4, 128]],
    "output_names": ["inputs_embeds"],
    "dynamic_axes": {"input_ids": {"0": "batch", "1": "sequence"}, "image_features": {"0": "patches"}},
}
_VISION = {
    "input_names": ["pixel_values", "image_grid_thw"],
    "input_shapes": [[16, 64], [2, 3]],
    "output_names": ["image_features"],
    "dynamic_axes": {"pixel_values": {"0": "patches"}, "image_grid_thw": {"0": "images"}},
}
_STAND_IN = Path(__file__).with_name("recipes_stand_in.py")


@dataclass(frozen=True)
class Outcome:
    """How it went with one file."""

    file: Path
    verdict: str  # ok, nothing to run (all it does was put aside), failed, not planned
    why: str
    seconds: float
    stood_in: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()


def attempt_all(files: Sequence[Path], cache: Path, limit: float) -> Iterator[Outcome]:
    """Every file's outcome, as soon as it is known."""
    waiting = list(files)
    while waiting:
        with _served(cache) as child:
            while waiting:
                file = waiting.pop(0)
                start = time.perf_counter()
                answer = _ask(child, file, limit)
                seconds = time.perf_counter() - start
                if answer is None:
                    why = f"longer than {limit:.0f} s" if child.poll() is None else f"the process ended: {child.poll()}"
                    yield Outcome(file, "failed", why, seconds)
                    break
                yield Outcome(file, answer["verdict"], answer["why"], seconds, *map(tuple, answer["notes"]))


@contextlib.contextmanager
def _served(cache: Path) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(
        [sys.executable, __file__, str(cache)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def _ask(child: subprocess.Popen[bytes], file: Path, limit: float) -> dict[str, Any] | None:
    """The child's answer; None if there is none in time."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(os.fsencode(file) + b"\n")
    child.stdin.flush()
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        if not selector.select(limit):
            return None
    line = child.stdout.readline()
    return json.loads(line) if line else None


# In the child


def _serve(cache: Path) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what passes print is no answer
    for line in sys.stdin:
        with tempfile.TemporaryDirectory(prefix="recipes-") as place:
            answer = _attempt(Path(line.rstrip("\n")), Path(place), cache)
        print(json.dumps(answer), file=answers, flush=True)


def _attempt(file: Path, place: Path, cache: Path) -> dict[str, Any]:
    from olive_like.api import plan, run
    from olive_like.cli.trial import cut_down
    from olive_like.errors import OliveLikeError

    verdict, why, said, stood_in = "not planned", "", [], []
    try:
        moved, stood_in = _moved(file, place / "a/b/c/d", cache)
        plan(moved, cache_dir=place / "empty")
        verdict = "failed"
        workflow, said = cut_down(str(moved), (), str(cache))
        result = run(workflow, cache_dir=cache, output_dir=place / "output", in_process=True)
        if result.ok:
            verdict = "ok" if result.passes else "nothing to run"
        else:
            failed = next((p for p in result.passes.values() if p.status == "failed"), None)
            error = failed.error if failed else next(iter(result.errors), None)
            why = f"{failed.name if failed else ''} ({failed.type if failed else ''}): {(error or {}).get('message')}"
    except OliveLikeError as error:
        why = str(error)
    except Exception as error:  # noqa: BLE001 - a crash is what this looks for
        why = f"crash: {type(error).__name__}: {error}"
    return {"verdict": verdict, "why": why.splitlines()[0] if why else "", "notes": [stood_in, said]}


def _absent_interpreters(tree: Mapping[str, Any]) -> list[str]:
    """The Pythons that systems run in and that are not here."""
    systems = tree.get("systems") or {}
    entries = systems.values() if isinstance(systems, Mapping) else systems
    named = [(entry.get("config") or entry).get("python_environment_path") for entry in entries]
    return [name for name in named if name and Path(name).is_absolute() and not Path(name).exists()]


def _moved(file: Path, folder: Path, cache: Path) -> tuple[Path, list[str]]:
    """A copy of the file with everything beside it that it names; and what was stood in for."""
    from olive_like.api import run
    from olive_like.cli.trial import cut_down
    from olive_like.workflow.located import plain
    from olive_like.workflow.read import read

    seen: list[dict[str, Any]] = []
    read(file, change=lambda tree: seen.append(plain(tree)))
    folder.mkdir(parents=True)
    text = file.read_text("utf-8")
    interpreters = _absent_interpreters(seen[-1] if seen else {})
    for name in interpreters:
        text = text.replace(json.dumps(name), json.dumps(str(Path(sys.executable).parent)))
    (folder / file.name).write_text(text, "utf-8")
    if not seen:
        return folder / file.name, []
    model = seen[-1].get("input_model") or {}
    stood_in = _scripts(seen[-1], model, folder) + [f"{name}: this interpreter" for name in interpreters]
    path = str(model.get("model_path") or "")
    if str(model.get("type", "")).lower() == "onnxmodel" and not (file.parent / path).exists():
        target = folder / path if path.endswith(".onnx") else folder / path / "model.onnx"
        maker = _maker_of(file, path)
        if maker is None:
            _small_graph(target, _named(seen[-1], _OF_NODES), _named(seen[-1], _OF_INPUTS))
        else:
            made, _ = _moved(maker, folder / "maker", cache)
            workflow, _ = cut_down(str(made), (), str(cache))
            run(workflow, cache_dir=cache, output_dir=folder / path, in_process=True).raise_for_status()
        stood_in.append(f"{path}: {maker.name if maker else 'a small graph'}")
    return folder / file.name, stood_in


def _maker_of(file: Path, path: str) -> Path | None:
    """The workflow beside a file whose output is the model that the file starts from; else one of the same family."""
    beside = _outputs(sorted(file.parent.glob("*.json")))
    for other, output in beside.items():
        if other != file and output == path:
            return other
    wanted = Path(path).name
    others = _outputs(sorted(file.parents[2].glob("*/*/*.json")))
    alike = {
        other: len(os.path.commonprefix([Path(output).name, wanted]))  # noqa: RUF071 - letters are meant
        for other, output in others.items()
    }
    best = max(alike, key=lambda other: alike[other], default=None)
    return best if best is not None and alike[best] >= _ALIKE else None


def _outputs(files: Sequence[Path]) -> dict[Path, str]:
    found = {}
    for file in files:
        content = json.loads(file.read_text("utf-8"))
        if isinstance(content, dict) and isinstance(content.get("output_dir"), str) and content.get("passes"):
            found[file] = content["output_dir"]
    return found


def _scripts(tree: Mapping[str, Any], model: Mapping[str, Any], folder: Path) -> list[str]:
    """Write the scripts that the workflow names, each with the functions that it is to have."""
    roles: dict[str, dict[str, str]] = {}
    for holder in _holders(tree):
        name = next((holder[key] for key in _SCRIPTS if isinstance(holder.get(key), str)), None)
        if name is not None:
            wanted = roles.setdefault(name, {})
            wanted.update({holder[role]: role for role in _ROLES if isinstance(holder.get(role), str)})
    text = _STAND_IN.read_text("utf-8")
    for name, functions in roles.items():
        io = {**_described(model, tree), "sizes": _sizes(tree), "values": _values(tree)}
        io["batched"] = any(holder.get("auto_batch") is False for holder in _holders(tree))
        filled = text.replace("IO: dict[str, Any] = {}", f"IO: dict[str, Any] = {io!r}")
        filled += "".join(f"\n\n{function} = {_ROLES[role]}\n" for function, role in sorted(functions.items()))
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(filled, "utf-8")
    return list(roles)


def _holders(value: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        yield value
    for item in value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ():
        yield from _holders(item)


def _sizes(tree: Mapping[str, Any]) -> dict[str, int]:
    """Axes that a pass gives a length to."""
    found: dict[str, int] = {}
    for holder in _holders(tree):
        if isinstance(holder.get("dim_param"), list) and isinstance(holder.get("dim_value"), list):
            found.update(zip(holder["dim_param"], holder["dim_value"], strict=False))
    return found


def _values(tree: Mapping[str, Any]) -> list[str]:
    """What metrics are to give."""
    metrics = (holder["sub_types"] for holder in _holders(tree) if isinstance(holder.get("sub_types"), list))
    return [str(value["name"]) for values in metrics for value in values if isinstance(value, Mapping)]


def _described(model: Mapping[str, Any], tree: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs and outputs as the workflow has them; else by what the model's part is called."""
    io = model.get("io_config")
    if isinstance(io, dict) and io.get("input_names"):
        return io
    if str(model.get("type", "")).lower() == "onnxmodel":
        names = _named(tree, ("new_names",)) or _named(tree, _OF_INPUTS) or ["x"]
        return {"input_names": names[:1], "input_shapes": [[4, 128]], "output_names": ["y"]}
    if "image" in str(model.get("task")):
        return {"input_names": ["pixel_values"], "input_shapes": [[1, 3, 224, 224]], "output_names": ["logits"]}
    return _EMBEDDING if "embedding" in str(model.get("model_loader")) else _VISION


def _named(tree: Mapping[str, Any], keys: Sequence[str]) -> list[str]:
    """Nodes or inputs that settings speak of."""
    found: list[str] = []
    for holder in _holders(tree):
        for key in keys:
            found += holder.get(key) or ()
    return list(dict.fromkeys(found))


def _small_graph(target: Path, names: Sequence[str], inputs: Sequence[str]) -> None:
    """A matrix for each name, and one more, with what lies between them."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper, save

    random = np.random.default_rng(0)
    first = inputs[0] if inputs else "x"
    nodes, weights, last = [], [], first
    for index, name in enumerate([*names, "last"]):
        array = (random.standard_normal((128, 128)) * 0.1).astype(np.float32)
        weights.append(numpy_helper.from_array(array, f"w{index}"))
        nodes.append(helper.make_node("MatMul", [last, f"w{index}"], [f"a{index}"], name))
        nodes.append(helper.make_node("Relu", [f"a{index}"], [f"b{index}"], f"between{index}"))
        last = f"b{index}"
    nodes[-1].output[0] = "y"
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 128]) for name in (first, "y")]
    graph = helper.make_graph(nodes, "stand_in", value[:1], value[1:], weights)
    target.parent.mkdir(parents=True, exist_ok=True)
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), target)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
