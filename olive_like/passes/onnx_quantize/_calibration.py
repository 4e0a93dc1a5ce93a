"""Inputs on which activations are measured: the user's data, or what the model itself makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from olive_like.artifacts import OnnxModel
from olive_like.data._encode import Encoder
from olive_like.data._user import call
from olive_like.data.config import DataConfig
from olive_like.data.load import load
from olive_like.data.shapes import read_examples
from olive_like.errors import PassError
from olive_like.passes._onnx_runtime import (
    _NUMPY,
    Arrays,
    Shape,
    cache_inputs,
    describe_graph,
    make_feeds,
    open_session,
    run_session,
    vocabulary_of,
)
from olive_like.passes.base import Context

_OWN_BATCH, _OWN_LENGTH = 16, 64
_TOP = 50  # tokens that sampling chooses from
_DEFAULT_LENGTH = 128


def calibration_feeds(
    model: OnnxModel, graph: Path, data: DataConfig | str | None, limit: int, context: Context
) -> list[Arrays]:
    """Inputs for a graph, at most `limit` examples; never none."""
    io = describe_graph(graph)
    if isinstance(data, str):
        raise PassError(f"there is no data set called {data!r}", "Define it under `data_configs`.")
    if data is None:
        return _without_data(model, graph, io, limit, context)
    feeds = list(islice(_from_data(model, io, data, context), limit))
    if feeds and _has_cache(io) and "input_ids" in feeds[0]:
        feeds = _with_cache(graph, io, feeds, vocabulary_of(model), context)
    if not feeds:
        raise PassError("the calibration set is empty", "Check its files, `split` and `max_samples`.")
    _check_shapes(feeds[0], io)
    return feeds


def _without_data(model: OnnxModel, graph: Path, io: Mapping[str, Any], limit: int, context: Context) -> list[Arrays]:
    if _has_cache(io):
        context.note(
            "calibrated on text that the model itself made (seeded), as no data set was given; "
            "text of the model's later use gives better ranges"
        )
        feeds = own_text(graph, io, vocabulary_of(model), limit, context)
        return _with_cache(graph, io, feeds, vocabulary_of(model), context)
    context.note("calibrated on made-up inputs, as no data set was given: real ones give better ranges")
    vocabulary = vocabulary_of(model)
    count = min(limit, 32)
    return [make_feeds(io, Shape(1, 32, 0), context.seed + index, vocabulary) for index in range(count)]


def _has_cache(io: Mapping[str, Any]) -> bool:
    return any(value["name"].startswith("past") for value in io["inputs"])


def _with_cache(
    graph: Path, io: Mapping[str, Any], feeds: list[Arrays], vocabulary: int, context: Context
) -> list[Arrays]:
    """Each sequence in two steps, the second with the cache of the first: an empty cache has no ranges to measure."""
    session = open_session(graph, threads=context.threads, device=context.device)
    result = []
    for whole in feeds:
        ids = whole["input_ids"]
        half = ids.shape[1] // 2
        filled = any(array.size for name, array in whole.items() if name.startswith("past"))
        if ids.shape[0] != 1 or half == 0 or filled:
            result.append(whole)
            continue
        first = make_feeds(io, Shape(1, half, 0), 0, vocabulary) | {"input_ids": ids[:, :half]}
        cache = cache_inputs(run_session(session, first))
        second = make_feeds(io, Shape(1, ids.shape[1] - half, half), 0, vocabulary, cache)
        result += [first, second | {"input_ids": ids[:, half:]}]
    return result


def own_text(graph: Path, io: Mapping[str, Any], vocabulary: int, limit: int, context: Context) -> list[Arrays]:
    """Sequences that a decoder continues from single random tokens, each token drawn from its likeliest."""
    random = np.random.default_rng(context.seed)
    session = open_session(graph, threads=context.threads, device=context.device)
    made: list[Arrays] = []
    while len(made) < limit:
        batch = min(_OWN_BATCH, limit - len(made))
        tokens = random.integers(0, vocabulary, (batch, 1))
        written, cache = tokens, None
        for past in range(_OWN_LENGTH - 1):
            feeds = make_feeds(io, Shape(batch, 1, past), 0, vocabulary, cache)
            feeds["input_ids"] = tokens.astype(np.int64)
            outputs = run_session(session, feeds)
            tokens = _draw(outputs["logits"][:, -1].astype(np.float64), random)
            written, cache = np.concatenate([written, tokens], axis=1), cache_inputs(outputs)
        for row in written:
            feeds = make_feeds(io, Shape(1, len(row), 0), 0, vocabulary)
            made.append({**feeds, "input_ids": row[None].astype(np.int64)})
    return made


def _draw(logits: np.ndarray, random: np.random.Generator) -> np.ndarray:
    best = np.argsort(-logits, axis=1, kind="stable")[:, :_TOP]
    values = np.take_along_axis(logits, best, axis=1)
    chances = np.exp(values - values.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    picks = [random.choice(len(row), p=row) for row in chances]
    return best[np.arange(len(best)), picks][:, None]


def _from_data(model: OnnxModel, io: Mapping[str, Any], data: DataConfig, context: Context) -> Iterator[Arrays]:
    if data.dummy is not None:
        yield from _dummy(io, data, vocabulary_of(model), context)
        return
    if data.audio is not None:
        raise PassError("calibration on sound is not available", "Make the model's inputs in a `process_function`.")
    named = data.source or data.files or data.rows is not None or data.load_function
    rows: Sequence[Any] = load(data, context.seed).train if named or not data.dataloader_function else ()
    made: Any = call(data, "process", rows) if data.process_function else rows
    if data.dataloader_function:
        made = call(data, "dataloader", made, batch_size=data.batch_size)
    if data.process_function or data.dataloader_function:
        yield from (_arrays(item, io) for item in made)
        return
    wanted = {value["name"] for value in io["inputs"] if not value["name"].startswith("past")}
    if rows and wanted <= set(rows[0]):
        yield from (_arrays(row, io) for row in rows)
    elif data.image is not None or wanted == {"pixel_values"}:
        yield from _pictures(model, rows, io, data)
    elif rows:
        yield from _text(model, io, data, rows)


def _dummy(io: Mapping[str, Any], data: DataConfig, vocabulary: int, context: Context) -> Iterator[Arrays]:
    assert data.dummy is not None
    dummy = data.dummy
    if dummy.input_shapes:
        names = dummy.input_names or [value["name"] for value in io["inputs"]]
        types = dummy.input_types or ["float32"] * len(names)
        described = [
            {"name": name, "dtype": {"float32": "float", "float64": "double"}.get(kind, kind), "shape": shape}
            for name, kind, shape in zip(names, types, dummy.input_shapes, strict=False)
        ]
        io = {"inputs": described}
    shape = Shape(data.batch_size, dummy.seq_len or 8, dummy.past_seq_len or 0)
    for index in range(dummy.max_samples):
        yield make_feeds(io, shape, context.seed + index, vocabulary)


def _arrays(item: Any, io: Mapping[str, Any]) -> Arrays:
    """Values under the inputs' own names; a pair is inputs and label."""
    row = item[0] if isinstance(item, tuple) else item
    if not isinstance(row, Mapping):
        raise PassError(
            f"a calibration example is a {type(row).__name__}, not a mapping",
            "Give `{input name: values}`, alone or with a label behind it.",
        )
    feeds = {}
    for value in io["inputs"]:
        if value["name"] in row:
            array = np.asarray(row[value["name"]]).astype(_NUMPY[value["dtype"]])
            rank = len(value["shape"]) if value["shape"] is not None else array.ndim
            feeds[value["name"]] = array[None] if array.ndim == rank - 1 else array
    if not feeds:
        names = ", ".join(value["name"] for value in io["inputs"])
        raise PassError(f"a calibration example has {', '.join(map(str, row))}; the model takes {names}")
    return feeds


def _text(model: OnnxModel, io: Mapping[str, Any], data: DataConfig, rows: Sequence[Any]) -> Iterator[Arrays]:
    from olive_like.passes._models import load_tokenizer, quiet  # imports transformers: only text needs it

    quiet()
    fixed = _fixed_length(io)
    limit = fixed or min(data.max_seq_len, _DEFAULT_LENGTH * 4)
    examples, _ = read_examples(data, rows)
    encoded = Encoder(load_tokenizer(model), data, limit).encode(examples)
    vocabulary = vocabulary_of(model)
    for record in encoded.records:
        given = {name: ids for name, ids in record.items() if isinstance(ids, list)}
        length = len(given["input_ids"])
        feeds = make_feeds(io, Shape(1, fixed or length, 0), 0, vocabulary)
        for name, array in feeds.items():
            if name == "attention_mask" and name not in given:
                given[name] = [1] * length
            if name in given:
                padded = np.zeros_like(array)
                padded[:, :length] = given[name]
                feeds[name] = padded
        yield feeds


def _fixed_length(io: Mapping[str, Any]) -> int | None:
    """The sequence length that a graph insists on."""
    for value in io["inputs"]:
        if value["name"].endswith("input_ids") and value["shape"] and isinstance(value["shape"][-1], int):
            return int(value["shape"][-1])
    return None


def _pictures(model: OnnxModel, rows: Sequence[Any], io: Mapping[str, Any], data: DataConfig) -> Iterator[Arrays]:
    """Pictures as the graph's one four-axis input wants them, made as the model's own processor makes them."""
    from olive_like.passes._pictures import PictureReader

    value = next((v for v in io["inputs"] if v["shape"] and len(v["shape"]) == 4), None)
    if value is None:
        raise PassError("the model has no image input (four axes)")
    column = data.image.image_col if data.image else "image"
    folder = model.path if model.path.is_dir() else model.path.parent
    reader = PictureReader(folder, data.image, value["shape"][-2:])
    for row in rows:
        if column not in row:
            raise PassError(
                f"the rows have no column {column!r} with images", f"There are: {', '.join(map(str, row))}."
            )
        yield {value["name"]: reader.pixels(row[column])[None].astype(_NUMPY[value["dtype"]])}


def _check_shapes(feeds: Arrays, io: Mapping[str, Any]) -> None:
    """Whether the first example has all inputs, each with the axes that the graph wants."""
    for value in io["inputs"]:
        array, shape = feeds.get(value["name"]), value["shape"]
        if array is None:
            raise PassError(f"the calibration data have nothing for the input {value['name']!r}")
        wrong = shape is not None and (
            array.ndim != len(shape)
            or any(isinstance(w, int) and w != n for w, n in zip(shape, array.shape, strict=True))
        )
        if wrong:
            raise PassError(
                f"the calibration data have the shape {list(array.shape)} for the input {value['name']!r}, "
                f"which is {shape}",
                "Look at the data set's preprocessing: lengths, image size, batch.",
            )
