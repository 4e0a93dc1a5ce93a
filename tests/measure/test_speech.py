"""Recordings: read from files of several kinds, written down by PyTorch and ONNX alike, and timed."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from scipy.io import wavfile

import olive_like
from olive_like.data._sound import waveform
from olive_like.data.config import DataConfig
from olive_like.data.errors import DataError
from olive_like.errors import PassError
from olive_like.passes.base import Context
from olive_like.passes.measure import _sounds
from olive_like.passes.measure._runtimes import open_runtime
from tests import tiny_models
from tests.measure.test_kinds_of_models import measure, to_onnx

RATE = 16000
TEXTS = ["the quick brown fox", "seven small ships", "two plus three"]


def sound(number: int, seconds: float = 0.6, rate: int = RATE) -> np.ndarray:
    """A tone with some noise over it."""
    times = np.arange(int(seconds * rate)) / rate
    noise = np.random.default_rng(number).standard_normal(len(times)) * 0.05
    return (0.5 * np.sin(2 * np.pi * (220 + 110 * number) * times) + noise).astype(np.float32)


def test_sound_of_every_form_is_the_same(tmp_path):
    tone = sound(0)
    wavfile.write(tmp_path / "float.wav", RATE, tone)
    wavfile.write(tmp_path / "int16.wav", RATE, (tone * 32767).astype(np.int16))
    wavfile.write(tmp_path / "stereo.wav", RATE, np.stack([tone, tone], -1))
    for value in ("float.wav", "int16.wav", "stereo.wav"):
        assert waveform(value, RATE, tmp_path) == pytest.approx(tone, abs=1e-4)
    for value in (
        {"array": tone, "sampling_rate": RATE},
        {"bytes": (tmp_path / "float.wav").read_bytes(), "path": None},
        {"bytes": None, "path": "float.wav"},
        tone.tolist(),
    ):
        assert waveform(value, RATE, tmp_path) == pytest.approx(tone, abs=1e-6)


def test_another_rate_is_converted(tmp_path):
    wavfile.write(tmp_path / "high.wav", 48000, sound(0, rate=48000) * 0 + np.sin(np.arange(28800) * 0.05, dtype="f4"))
    samples = waveform(tmp_path / "high.wav", RATE)
    assert len(samples) == 9600
    assert samples[100:-100] == pytest.approx(np.sin(np.arange(9600) * 0.15)[100:-100], abs=1e-2)


def test_what_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match="no sound file"):
        waveform("nothing.wav", RATE, tmp_path)
    (tmp_path / "odd.flac").write_bytes(b"fLaC and no more")
    with pytest.raises(DataError, match=r"odd.flac") as caught:
        waveform("odd.flac", RATE, tmp_path)
    assert "olive-like[sound]" in caught.value.hint
    with pytest.raises(DataError, match="the shape"):
        waveform(np.zeros((2, 3, 4)), RATE)


def test_a_data_set_keeps_its_sound_as_files(tmp_path):
    datasets = pytest.importorskip("datasets")
    import pyarrow
    from pyarrow import parquet

    from olive_like.data._columnar import hub

    file = io.BytesIO()
    wavfile.write(file, RATE, sound(1))
    features = datasets.Features({"audio": datasets.Audio(), "text": datasets.Value("string")})
    table = pyarrow.table({"audio": [{"bytes": file.getvalue(), "path": "a.wav"}], "text": ["one"]})
    parquet.write_table(table.replace_schema_metadata(features.arrow_schema.metadata), tmp_path / "x.parquet")
    (row,) = hub("parquet", None, str(tmp_path / "x.parquet"), "train", False, 0)
    assert waveform(row["audio"], RATE) == pytest.approx(sound(1), abs=1e-6)


def test_flac_is_read_where_soundfile_is_there():
    soundfile = pytest.importorskip("soundfile", reason="needs soundfile")
    file = io.BytesIO()
    soundfile.write(file, sound(1), RATE, format="FLAC")
    assert waveform(file.getvalue(), RATE) == pytest.approx(sound(1), abs=1e-4)


def test_the_plan_knows_what_recordings_cannot_tell(tmp_path):
    flow = {
        "input_model": {"type": "HfModel", "model_path": str(tmp_path)},
        "data_configs": [{"name": "spoken", "source": "some/set", "audio": {}}],
        "evaluators": {"e": {"metrics": ["f1_score"], "data_config": "spoken"}},
        "evaluator": "e",
        "evaluate_input_model": True,
    }
    (tmp_path / "config.json").write_text('{"architectures": ["WhisperForConditionalGeneration"]}')
    found = [d.message for d in olive_like.check(flow).diagnostics]
    assert any("f1_score cannot be measured on recordings" in message for message in found), found


@pytest.fixture(scope="module")
def whisper(tmp_path_factory):
    from transformers import WhisperFeatureExtractor

    folder = tmp_path_factory.mktemp("whisper") / "model"
    tiny_models.tiny_whisper(folder, encoder_layers=1, decoder_layers=1)
    WhisperFeatureExtractor(feature_size=16, chunk_length=1).save_pretrained(folder)
    said = json.loads((folder / "generation_config.json").read_text())
    del said["_from_model_config"]  # with it, what only Whisper has is not read
    said |= {"no_timestamps_token_id": 7, "lang_to_id": {"<|en|>": 8, "<|de|>": 9}, "task_to_id": {"transcribe": 10},
             "suppress_tokens": [11, 12], "begin_suppress_tokens": [2, 20]}  # fmt: skip
    (folder / "generation_config.json").write_text(json.dumps(said))
    return tiny_models.as_artifact(folder, "automatic-speech-recognition")


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """A folder of recordings with a list of what is said; one is longer than the model hears at once."""
    folder = tmp_path_factory.mktemp("spoken")
    lines = []
    for number, text in enumerate(TEXTS):
        wavfile.write(folder / f"{number}.wav", RATE, sound(number, 0.6 + 0.7 * (number == 2)))
        lines.append(json.dumps({"file_name": f"{number}.wav", "transcription": text}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return folder


def evaluator(folder, *names):
    subs = [{"name": name, "metric_config": {"max_new_tokens": 6}} for name in names]
    data = DataConfig.model_validate({"source": str(folder), "audio": {}})
    return {"metrics": [{"name": "speech", "type": "accuracy", "sub_types": subs, "data_config": data}]}


def rows_and_columns(settings, **data):
    """What is read of a data set, without a model."""
    config = DataConfig.model_validate({**data, "audio": settings})
    rows, folder = _sounds._rows(config, 0)
    sounds = object.__new__(_sounds.Sounds)
    sounds._settings, sounds._rows, sounds._base, sounds._rate = config.audio, rows, folder, RATE
    sounds._ours = _sounds._is_ours(config)
    sounds._text = _sounds._column(rows[0], config.audio.text_col, _sounds._TEXT, "text_col", "what is said")
    sounds._sound = _sounds._column(rows[0], config.audio.audio_col, _sounds._AUDIO, "audio_col", "the recordings")
    return sounds


def test_which_rows_of_a_folder_is_heeded(spoken):
    def texts(**data):
        return [one.text for one in rows_and_columns({}, source=str(spoken), **data).recordings()]

    assert texts() == TEXTS
    assert texts(split="train[1:]") == TEXTS[1:]
    assert texts(max_samples=1) == TEXTS[:1]
    shuffled = {tuple(texts(shuffle=True, seed=seed)) for seed in range(8)}
    assert len(shuffled) > 1
    assert {tuple(sorted(found)) for found in shuffled} == {tuple(sorted(TEXTS))}
    assert len(texts(eval_fraction=0.34)) == 1
    with pytest.raises(DataError, match="no split 'test'"):
        texts(split="test")
    with pytest.raises(PassError, match="no folder 'en'"):
        texts(subset="en")


def test_a_column_that_is_named_has_to_be_there(spoken):
    for settings, wrong in (({"text_col": "sentence"}, "sentence"), ({"audio_col": "fil_name"}, "fil_name")):
        with pytest.raises(PassError, match=f"no column '{wrong}'"):
            rows_and_columns(settings, source=str(spoken))


def test_files_count_only_in_a_folder_that_is_the_data_set(spoken, tmp_path):
    (tmp_path / "list.jsonl").write_text(json.dumps({"audio": str(spoken / "0.wav"), "text": "one"}) + "\n")
    sources = ({"source": str(tmp_path / "list.jsonl")}, {"source": str(tmp_path)})
    for source in (*sources, {"rows": [{"audio": {"path": str(spoken / "0.wav")}, "text": "one"}]}):
        with pytest.raises(PassError, match="a change of it would not be seen"):
            list(rows_and_columns({}, **source).recordings())


def test_samples_without_a_rate_have_the_one_that_is_set():
    rows = [{"audio": sound(0, rate=8000).tolist(), "text": "one"}]
    (heard,) = rows_and_columns({"sample_rate": 8000}, rows=rows).recordings()
    assert heard.seconds == pytest.approx(0.6)


@pytest.mark.heavy
def test_pytorch_and_onnx_write_the_same_and_equal_a_plain_loop(whisper, spoken, tmp_path):
    import torch
    from transformers import AutoTokenizer, WhisperFeatureExtractor, WhisperForConditionalGeneration
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer

    onnx = to_onnx(whisper, tmp_path / "onnx")
    wanted = evaluator(spoken, "wer", "exact_match", "rtfx")
    one, other = measure(whisper, wanted, tmp_path, "torch"), measure(onnx, wanted, tmp_path, "o")
    assert one.pop("speech-rtfx") > 0
    assert other.pop("speech-rtfx") > 0
    assert one == pytest.approx(other, abs=1e-9)
    assert of_a_workflow(onnx.path, spoken, tmp_path) == pytest.approx(one["speech-wer"], abs=1e-9)

    model = WhisperForConditionalGeneration.from_pretrained(whisper.path).eval()
    tokenizer = AutoTokenizer.from_pretrained(whisper.path)
    extractor, simple = WhisperFeatureExtractor.from_pretrained(whisper.path), BasicTextNormalizer()
    edits = words = 0
    for number, text in enumerate(TEXTS):
        _, samples = wavfile.read(spoken / f"{number}.wav")
        made = []
        for start in range(0, len(samples), RATE):
            heard = torch.from_numpy(
                extractor(samples[start : start + RATE], sampling_rate=RATE, return_tensors="np").input_features
            )
            language = likeliest(model, heard, [1], first=True)
            ids = [1, language if language in (8, 9) else 8, 10, 7]
            while len(ids) < 10 and ids[-1] != tokenizer.eos_token_id:
                ids.append(likeliest(model, heard, ids, first=len(ids) == 4))
            made.append(tokenizer.decode(ids[4:], skip_special_tokens=True).strip())
        ours, theirs = simple(" ".join(made)).split(), simple(text).split()
        edits, words = edits + distance(theirs, ours), words + len(theirs)
    assert one["speech-wer"] == pytest.approx(edits / words, abs=1e-9)


def of_a_workflow(model, spoken, tmp_path):
    """The word error rate of an exported folder that a workflow in Olive's words brings."""
    subs = [{"name": name, "metric_config": {"max_new_tokens": 6}} for name in ("wer", "rtfx")]
    flow = {
        "input_model": {"type": "OnnxModel", "model_path": str(model)},
        "data_configs": [{
            "name": "spoken",
            "type": "HuggingfaceContainer",
            "load_dataset_config": {
                "type": "huggingface_dataset", "params": {"data_name": str(spoken), "split": "train"},
            },
            "pre_process_data_config": {
                "type": "speech_transcription_pre_process",
                "params": {"audio_col": "file_name", "text_col": "transcription", "sample_rate": RATE},
            },
        }],
        "metrics": [{"name": "speech", "type": "accuracy", "data_config": "spoken", "sub_types": subs}],
        "evaluators": {"common": {"metrics": ["speech"]}},
    }  # fmt: skip
    result = olive_like.run(flow, cache_dir=tmp_path / "cache", output_dir=tmp_path / "delivered", in_process=True)
    assert result.ok, result.to_json()
    return result.passes["input_model.metrics"].metrics["speech-wer"]["value"]


def likeliest(model, heard, ids, first):
    """The next token, but for those that are never written and those that no text begins with."""
    import torch

    with torch.no_grad():
        scores = model(heard, decoder_input_ids=torch.tensor([ids])).logits[0, -1]
    scores[[11, 12, *([2, 20] if first else [])]] = -torch.inf
    return int(scores.argmax())


def distance(one, other):
    """Fewest words to change, insert or leave out."""
    if not one or not other:
        return len(one) + len(other)
    return min(
        distance(one[1:], other) + 1, distance(one, other[1:]) + 1, distance(one[1:], other[1:]) + (one[0] != other[0])
    )


@pytest.mark.heavy
def test_made_up_sound_and_what_a_folder_lacks(whisper, spoken, tmp_path):
    runtime = open_runtime(whisper, Context(tmp_path, tmp_path / "scratch"))
    runtime.call(runtime.example(2, 8))
    with pytest.raises(PassError, match="cannot be measured on recordings"):
        measure(whisper, evaluator(spoken, "loss"), tmp_path, "loss")
    bare = tiny_models.tiny_whisper(tmp_path / "bare")
    with pytest.raises(PassError, match=r"no preprocessor_config.json"):
        measure(bare, evaluator(spoken, "wer"), tmp_path, "wer")
