"""Data sets in parts become flat ones."""

from __future__ import annotations

from pathlib import Path

from olive_like.data.config import DataConfig
from olive_like.workflow.read import read as read_file
from tests.dialects.reading import Read, codes


def _flat(read: Read, text: str):
    tree, said = read(text)
    return tree["data_configs"][0], said


def test_hub_text(read: Read) -> None:
    flat, said = _flat(
        read,
        """
        data_configs:
          - name: words
            type: HuggingfaceContainer
            load_dataset_config: {type: huggingface_dataset, params: {data_name: a/b, subset: s, split: test}}
            pre_process_data_config: {strategy: join, add_special_tokens: false, max_seq_len: 64, max_samples: 8}
            dataloader_config: {batch_size: 1, drop_last: true}
        """,
    )
    assert flat == {
        "name": "words",
        "source": "a/b",
        "subset": "s",
        "split": "test",
        "strategy": "join",
        "add_special_tokens": False,
        "max_seq_len": 64,
        "max_examples": 8,
        "batch_size": 1,
    }
    assert codes(said) == ["OL351"]
    assert "drop_last" in said[0].message
    DataConfig.model_validate(flat)


def test_no_split_of_a_hub_name_is_validation(read: Read) -> None:
    flat, said = _flat(
        read, "data_configs: [{name: d, type: HuggingfaceContainer, load_dataset_config: {data_name: a/b}}]"
    )
    assert flat["split"] == "validation"
    assert codes(said) == ["OL350"]


def test_no_split_of_a_file_stays_open(read: Read) -> None:
    flat, said = _flat(
        read, "data_configs: [{name: d, type: HuggingfaceContainer, load_dataset_config: {data_files: a.json}}]"
    )
    assert flat == {"name": "d", "files": "a.json"}
    assert not said


def test_functions_of_a_script(read: Read) -> None:
    flat, said = _flat(
        read,
        """
        data_configs:
          - name: d
            user_script: mine.py
            load_dataset_config: {type: pictures, start: 3}
            pre_process_data_config: {type: crop, size: 8}
            post_process_data_config: {type: top}
            dataloader_config: {type: batches, batch_size: 2}
        """,
    )
    assert flat == {
        "name": "d",
        "user_script": "mine.py",
        "load_function": "pictures",
        "load_params": {"start": 3},
        "process_function": "crop",
        "process_params": {"size": 8},
        "post_process_function": "top",
        "dataloader_function": "batches",
        "dataloader_params": {"batch_size": 2},
    }
    assert not said


def test_a_function_needs_a_script(read: Read) -> None:
    _, said = _flat(read, "data_configs: [{name: d, load_dataset_config: {type: pictures}}]")
    assert codes(said) == ["OL304"]
    assert "pictures" in said[0].message
    assert "user_script" in said[0].hint
    assert (said[0].line, said[0].column) == (1, 54)


def test_dummy_prompts(read: Read) -> None:
    flat, said = _flat(
        read,
        """
        data_configs:
          - {name: d, type: TransformersPromptDummyDataContainer, load_dataset_config: {seq_len: 8, max_samples: 2}}
        """,
    )
    assert flat == {"name": "d", "dummy": {"seq_len": 8, "max_samples": 2, "generate": True}}
    assert not said
    DataConfig.model_validate(flat)


def test_what_has_no_counterpart_is_named_at_its_place(read: Read) -> None:
    _, said = _flat(
        read,
        """
        data_configs:
          - name: d
            type: HuggingfaceContainer
            load_dataset_config: {data_name: a/b, split: train, colour: red}
            pre_process_data_config:
              strategy: join-sliding-window
        """,
    )
    assert [(d.code, d.line) for d in said] == [("OL304", 5), ("OL304", 7)]
    assert "colour" in said[0].message
    assert "join-sliding-window" in said[1].message


def test_unknown_container(read: Read) -> None:
    _, said = _flat(read, "data_configs: [{name: d, type: SeaContainer, load_dataset_config: {data_name: a}}]")
    assert codes(said)[0] == "OL304"
    assert "SeaContainer" in said[0].message


def test_streaming_is_accepted_and_said(read: Read) -> None:
    flat, said = _flat(
        read,
        """
        data_configs:
          - {name: d, type: HuggingfaceContainer, load_dataset_config: {data_name: a, split: test, streaming: true}}
        """,
    )
    assert "streaming" not in flat
    assert codes(said) == ["OL351"]


def test_a_flat_data_set_is_left_alone(read: Read) -> None:
    flat, said = _flat(read, "data_configs: [{name: d, source: rows.json, max_samples: 3}]")
    assert flat == {"name": "d", "source": "rows.json", "max_samples": 3}
    assert not said


def test_sound(read: Read) -> None:
    flat, _ = _flat(
        read,
        """
        data_configs:
          - name: d
            type: HuggingfaceContainer
            load_dataset_config: {data_name: a, split: test}
            pre_process_data_config:
              type: speech_transcription_pre_process
              params: {audio_col: sound, text_col: words, sample_rate: 8000, max_samples: 4}
        """,
    )
    assert flat["audio"] == {"audio_col": "sound", "text_col": "words", "sample_rate": 8000}
    assert flat["max_samples"] == 4
    DataConfig.model_validate(flat)


def test_rows_that_are_inputs_already(read: Read) -> None:
    _, said = _flat(
        read,
        """
        data_configs:
          - name: d
            type: HuggingfaceContainer
            load_dataset_config: {data_name: a, split: test}
            pre_process_data_config: {type: skip_pre_process}
        """,
    )
    assert [(d.code, d.line) for d in said] == [("OL304", 6)]


def test_the_command_line_replaces_what_a_part_says(tmp_path: Path) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(
        """
passes: {p: {type: 'Null'}}
input_model: {type: 'Null'}
data_configs:
  - name: d
    type: HuggingfaceContainer
    load_dataset_config: {data_name: a/b, split: test}
    pre_process_data_config: {max_samples: 8, text_cols: [x]}
"""
    )
    result = read_file(file, ["data_configs.d.max_samples=20", "data_configs.d.split=train"])
    assert result.workflow is not None, result.diagnostics
    config = result.workflow.data_configs["d"]
    assert (config.max_samples, config.split) == (20, "train")


def test_two_parts_that_disagree(read: Read) -> None:
    flat, said = _flat(
        read,
        """
        data_configs:
          - name: d
            type: HuggingfaceContainer
            load_dataset_config: {data_name: a, split: test, max_samples: 9, trust_remote_code: true}
            pre_process_data_config: {max_samples: 5, trust_remote_code: false}
        """,
    )
    assert (flat["max_samples"], flat["trust_remote_code"]) == (5, True)
    assert not said
