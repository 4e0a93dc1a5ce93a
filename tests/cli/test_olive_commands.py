"""Olive's commands and flags: what they are translated into, without running it."""

from __future__ import annotations

import argparse
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from olive_like.api import plan
from olive_like.cli import COMMANDS, carry_out, flags, sections, setup
from olive_like.cli.dispatch import dispatch
from olive_like.cli.parser import Parser
from olive_like.errors import OliveLikeError, WorkflowError

LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 8, "num_hidden_layers": 1,
    "num_attention_heads": 1, "vocab_size": 16,
}  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what looks like a model, an adapter and data: enough to plan with."""
    for name in ("meta/llama", "models/base"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text(json.dumps(LLAMA | {"_name": name}))
        (tmp_path / name / "model.safetensors").write_bytes(b"weights")
    for name in ("adapters/a/adapter", "adapters/b"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": name}))
        (tmp_path / name / "adapter_model.safetensors").write_bytes(name.encode())
    (tmp_path / "rows.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n')
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx/model.onnx").write_bytes(b"graph")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def arguments(command: str, text: str) -> argparse.Namespace:
    module = import_module(COMMANDS[command][0])
    parser = Parser(prog=command, allow_abbrev=False)
    module.configure(parser)
    parse = getattr(module, "parse", flags.parse)
    args: argparse.Namespace = parse(parser, flags.spelled(text.split()))
    return args


def made(command: str, text: str) -> dict[str, Any]:
    found = import_module(COMMANDS[command][0]).workflow(arguments(command, text))
    workflow: dict[str, Any] = found[0] if isinstance(found, tuple) else found
    return workflow


def keys(source: Any) -> dict[str, str | None]:
    return {name: node.key for name, node in plan(source).nodes.items()}


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("finetune", "-m meta/llama -d rows.jsonl --method lora --max_steps 3"),
        ("finetune", "-m meta/llama -d rows.jsonl --method qlora --init_adapter adapters/b --eval_split train[:1]"),
        ("finetune", "-m meta/llama --data_files rows.jsonl --method full --seed 7"),
        ("finetune", "-m meta/llama -d rows.jsonl --method dpo --beta 0.2"),
        ("auto-opt", "-m meta/llama -a adapters/b --use_ort_genai"),
        ("optimize", "-m meta/llama --precision int4 -d rows.jsonl"),
        ("quantize", "-m meta/llama --algorithm gptq --precision int4 -d rows.jsonl"),
        ("quantize", "-m onnx --algorithm dynamic"),
        ("capture-onnx-graph", "-m meta/llama --target_opset 18"),
        ("generate-adapter", "--base_model_path models/base --adapter_paths adapters/a,adapters/b"),
        ("generate-adapter", "-m onnx"),
        ("run-pass", '--pass-name Rtn -m meta/llama --pass-config {"bits":4}'),
        ("tune-session-params", "-m onnx --cpu_cores 1"),
    ],
)
def test_the_written_file_is_the_run(here: Path, command: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Keys of a direct run and of the file that `--dry_run` writes, two folders down, are the same."""
    direct = keys(made(command, text))
    assert dispatch(command, [*text.split(), "--dry_run", "--output_path", "some/where"]) == 0
    assert "passes:" in capsys.readouterr().out
    written = keys(str(here / "some/where" / carry_out.FILE))
    assert direct == written
    assert all(direct.values())


@pytest.mark.parametrize("more", ["", " true", " True", "=true", " 1", " yes"])
def test_switches_may_be_followed_by_true(here: Path, more: str) -> None:
    workflow = made("finetune", f"-m meta/llama -d rows.jsonl --trust_remote_code{more}")
    assert workflow["input_model"]["load_kwargs"] == {"trust_remote_code": True}


def test_switches_may_be_followed_by_false(here: Path) -> None:
    assert "load_kwargs" not in made("finetune", "-m meta/llama -d rows.jsonl --trust_remote_code false")["input_model"]


def test_what_finetune_wrote_may_be_named_as_a_whole(here: Path) -> None:
    (here / "ft").mkdir()
    (here / "models/base").rename(here / "ft/model")
    (here / "adapters/b").rename(here / "ft/adapter")
    whole = made("auto-opt", "-m ft")["input_model"]
    assert whole == made("auto-opt", "-m ft/model -a ft/adapter")["input_model"]
    assert "adapter_path" not in made("generate-adapter", "-m ft -a ft")["input_model"]


def test_going_on_from_an_adapter_delivers_the_base_beside_the_new_one(here: Path) -> None:
    rows = "-m meta/llama -d rows.jsonl"
    flow = made("finetune", f"{rows} -a adapters/b")
    assert flow == made("finetune", f"{rows} --init_adapter adapters/b")
    assert "adapter_path" not in flow["input_model"]
    assert flow["outputs"] == {"adapter": "tune", "model": "input_model"}
    with pytest.raises(WorkflowError, match="two adapters"):
        made("finetune", f"{rows} -a adapters/b --init_adapter adapters/a")


def test_settings_of_the_data_are_flags_too(here: Path) -> None:
    flow = made("finetune", "-m meta/llama -d rows.jsonl --eval-fraction 0.1 --packing --train-on-prompt")
    wanted = {"eval_fraction": 0.1, "packing": True, "train_on_prompt": True}
    assert flow["data_configs"] == [{"name": "train", "source": "rows.jsonl", **wanted}]


def test_a_device_counts_beside_a_system(here: Path) -> None:
    rows = "-m meta/llama -d rows.jsonl --system torchrun"
    assert made("finetune", rows)["systems"] == {"trainer": {"type": "torchrun"}}
    assert made("finetune", f"{rows} --device gpu")["systems"] == {"trainer": {"type": "torchrun", "device": "gpu"}}


def test_the_type_of_weights_is_the_builders_precision(here: Path) -> None:
    flow = made("capture-onnx-graph", "-m meta/llama --use_model_builder --torch_dtype float32")
    assert flow["passes"]["convert"] == {"type": "ModelBuilder", "precision": "fp32"}


def test_settings_of_a_pass_are_read_as_strictly_as_a_workflow(here: Path) -> None:
    (here / "r.yaml").write_text("bits: 4\nbits: 8\n")
    assert dispatch("run-pass", ["-m", "meta/llama", "--pass-name", "Rtn", "--pass-config", "r.yaml"]) == 2


@pytest.mark.parametrize("text", ["--max_steps", "--max_steps --bf16", "--learning-rate -o x"])
def test_a_number_that_is_not_there_is_not_one(here: Path, text: str) -> None:
    with pytest.raises(WorkflowError, match="needs a value"):
        made("finetune", f"-m meta/llama -d rows.jsonl {text}")


def test_dashes_and_underscores(here: Path) -> None:
    one = made("finetune", "--model_name_or_path meta/llama --data_name rows.jsonl --learning_rate 1e-5 --lora_r 4")
    other = made("finetune", "--model-name-or-path meta/llama --data-name rows.jsonl --learning-rate=1e-5 --lora-r=4")
    assert one == other


def test_the_trainers_flags_are_typed(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "--learning_rate 1e-5 --eval_steps 50 --report_to tensorboard --bf16 --warmup_steps 0 --max_steps -1"
    step = made("finetune", f"-m meta/llama -d rows.jsonl {text} --save_strategy steps --do_train true")["passes"][
        "tune"
    ]
    wanted = {"learning_rate": 1e-5, "eval_steps": 50, "report_to": "tensorboard", "bf16": True, "warmup_steps": 0}
    assert {name: step[name] for name in wanted} == wanted
    assert step["max_steps"] == -1
    assert "save_strategy" not in step
    assert "--save_strategy has no effect here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("finetune --learning_rat 1", "--learning-rate"),
        ("finetune --lora_rr 1", "--lora-r"),
        ("finetune --per_device_train_batchsize 1", "--per-device-train-batch-size"),
        ("auto-opt --use_ort_gena", "--use-ort-genai"),
        ("quantize --algoritm rtn", "--algorithm"),
        ("run --setp", "--setup"),
        ("generate-adapter --adapter_path_s x", "--adapter-paths"),
        ("convert-adapters --adapter_formt x", "--adapter-format"),
    ],
)
def test_an_unknown_flag_gets_the_near_name(text: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, *rest = text.split()
    assert dispatch(command, rest) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("error: there is no flag --")
    assert said[1] == f"hint: Did you mean {hint}?"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("quantize --algorithm gptp", "error: --algorithm takes rtn, gptq"),
        ("finetune --lora_r big", "error: --lora-r: invalid int value: 'big'"),
        ("finetune --trust_remote_code maybe", "error: --trust-remote-code: takes true or false, not 'maybe'"),
        ("finetune -m models/base --data_name", "error: -d/--data-name takes a value"),
        ("finetune -m models/base -d nothing.jsonl", "error: there is no data file nothing.jsonl"),
        ("finetune -m models/base -d rows.jsonl --learning_rate .nan", "error: --learning_rate .nan"),
        ("optimize -m ./nothing", "error: there is no model ./nothing"),
        ("capture-onnx-graph -m models/base --fixed_param_dict batch", "error: --fixed-param-dict batch is not"),
        (
            "capture-onnx-graph -m models/base --int4_accuracy_level 0",
            "error: --int4-accuracy-level is for the builder",
        ),
        ("capture-onnx-graph -m models/base --extra_mb_options a=1", "error: --extra-mb-options is for the builder"),
        ("capture-onnx-graph -m models/base --fixed_param_dict batch=x", "error: --fixed-param-dict batch=x: a size"),
        ("tune-session-params -m onnx --extra_session_config {", "error: --extra_session_config is not JSON"),
        ("run-pass --pass-name Rtn -m models/base --pass-config {", "error: --pass-config is not JSON"),
        ("cache frobnicate", "error: "),
        ("workflows show", "error: the following arguments are required: name"),
    ],
)
def test_a_wrong_command_line_is_told_in_one_line(
    here: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command, *rest = text.split()
    assert dispatch(command, rest) == 2
    assert capsys.readouterr().err.splitlines()[0].startswith(said)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("optimize -m meta/llama --act_precision int8 --precision fp32", ["--act-precision"]),
        ("optimize -m meta/llama -d rows.jsonl --block_size 32", ["--block-size", "--data-name"]),
        ("optimize -m meta/llama --precision int4 --block_size 32", []),
        ("optimize -m meta/llama --use_model_builder --use_ort_genai --use_dynamo_exporter", ["--use-dynamo-exporter"]),
        ("optimize -m meta/llama --exporter optimum_exporter --split train", ["--exporter", "--split"]),
        ("optimize -m meta/llama --goal perplexity=9 -d rows.jsonl --max_samples 2", []),
        ("quantize -m meta/llama --act_precision uint8 --use_qdq_encoding", ["--act-precision", "--use-qdq-encoding"]),
        ("quantize -m meta/llama --algorithm rtn -d rows.jsonl --max_samples 2", ["--data-name", "--max-samples"]),
        ("quantize -m onnx --algorithm static -d rows.jsonl --act_precision uint8 --use_qdq_encoding", []),
        ("quantize -m meta/llama --algorithm awq --group_size 32 --precision int8", []),
    ],
)
def test_a_flag_that_changes_nothing_is_named(
    here: Path, text: str, named: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    command, *rest = text.split()
    assert dispatch(command, [*rest, "--dry_run", "-o", "out"]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: --")]
    assert [line.removeprefix("warning: ").partition(": ")[0].split(", ") for line in said] == (
        [named] if named else []
    )


def test_a_trial_leaves_the_adapter_to_go_on_from_out(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("olive_like.cli.test_model.tiny", lambda *_: here / "meta/llama")
    flow = made("finetune", "-m models/base -d rows.jsonl --test --init_adapter adapters/b")
    assert "init_adapter" not in flow["passes"]["tune"]
    assert "the adapter adapters/b is left out" in capsys.readouterr().err


def test_what_fails_comes_before_what_is_only_noted(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "w.yaml").write_text(
        "model: {type: PyTorchModel, config: {model_path: meta/llama}}\npasses: {a: {type: Rtn}}\n"
    )
    assert dispatch("run", ["w.yaml", "--set", "passes.a.bitz=3"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error[OL101]")
    assert "note[" in said


def test_a_far_name_is_no_near_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch("quantize", ["--frob", "4"]) == 2
    assert "Did you mean" not in capsys.readouterr().err


def overrides(text: str) -> list[str]:
    args = arguments("run", text)
    return sections.model_overrides(args.file or args.config, args)


@pytest.mark.parametrize("section", ["input_model: {type: HfModel, model_path: ./models/base}",
                                     "model: {type: HfModel, config: {model_path: ./models/base}}"])  # fmt: skip
def test_run_takes_another_model(here: Path, section: str) -> None:
    """The model on the command line is found from the current folder, and is the one that counts."""
    (here / "sub").mkdir()
    (here / "sub/w.yaml").write_text(section.replace("./", "../") + "\npasses: {small: {type: Rtn}}\n")
    (here / "w.yaml").write_text(
        "input_model: {type: HfModel, model_path: ./meta/llama}\npasses: {small: {type: Rtn}}\n"
    )
    assert overrides("sub/w.yaml") == []
    before = keys(str(here / "sub/w.yaml"))
    after = plan(str(here / "sub/w.yaml"), overrides=overrides("--config sub/w.yaml -m meta/llama"))
    assert {name: node.key for name, node in after.nodes.items()} == keys(str(here / "w.yaml")) != before


def test_packages_that_a_workflow_needs(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "w.yaml").write_text(
        "input_model: {type: HfModel, model_path: models/base}\npasses: {o: {type: OnnxConversion}}\n"
    )
    assert dispatch("run", ["w.yaml", "--list_required_packages"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert {line.partition("==")[0] for line in listed} == {
        "onnx", "onnx-ir", "onnxruntime", "onnxscript", "torch", "transformers",
    }  # fmt: skip
    assert dispatch("run", ["w.yaml", "--list_required_packages", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {line.partition("==")[0] for line in listed}
    with pytest.raises(OliveLikeError, match="not installed: no-such-package") as caught:
        setup.require({"torch": "1", "no-such-package": None}, install=False)
    assert "pip install no-such-package" in caught.value.hint


def test_init_with_flags_asks_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert dispatch("init", ["-m", "models/base", "-d", "rows.jsonl", "-o", "new/folder", "--target", "onnx-int8"]) == 0
    assert dispatch("check", ["new/folder/workflow.yaml"]) == 0
    assert "nothing wrong" in capsys.readouterr().out
    assert set(keys("new/folder/workflow.yaml")) >= {"tune", "merge", "onnx", "quantize"}
    with pytest.raises(AssertionError):
        assert dispatch("init", ["-m", "models/base", "-d", "rows.jsonl", "-o", "new/folder"]) == 0
    assert "is there already" in capsys.readouterr().err


def test_init_asks(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter(["", "models/base", "rows.jsonl", "what?", "qlora", "", "asked"])
    monkeypatch.setattr("builtins.input", lambda question: next(said))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    assert dispatch("init", []) == 0
    text = (here / "asked/workflow.yaml").read_text()
    assert "QLoRA" in text
    assert "OnnxBlockWiseRtnQuantization" in text


def test_adapters_are_found_where_finetune_puts_them(here: Path) -> None:
    found = made("generate-adapter", "--base_model_path models/base --adapter_paths adapters/a,adapters/b")
    assert found["passes"]["adapters"]["adapters"] == {
        "a": {"adapter_path": "adapters/a/adapter"},
        "b": {"adapter_path": "adapters/b"},
    }
    with pytest.raises(WorkflowError, match="two adapters are called a"):
        made("generate-adapter", "--base_model_path models/base --adapter_paths adapters/a,adapters/a")


@pytest.mark.heavy
@pytest.mark.parametrize(
    "name", ["meta/llama", "Qwen/Qwen2.5-0.5B", "google-bert/bert-base-uncased", "openai-community/gpt2"]
)
def test_a_tiny_model_of_the_same_architecture(here: Path, name: str) -> None:
    from transformers import AutoConfig, AutoTokenizer

    from olive_like.cli.test_model import tiny

    folder = tiny(name, None, None)
    config = AutoConfig.from_pretrained(folder)
    assert config.model_type in name.lower()
    assert config.num_hidden_layers == 2
    assert AutoTokenizer.from_pretrained(folder)("Say: it's fine.")["input_ids"]
    assert tiny(name, None, None) == folder
    assert sum(file.stat().st_size for file in folder.iterdir()) < 4 << 20
    assert not [entry for entry in folder.parent.iterdir() if entry.name.startswith(".")]


def test_a_name_that_says_no_architecture(here: Path) -> None:
    from olive_like.cli.test_model import tiny

    with pytest.raises(WorkflowError, match="cannot be told from its name"):
        tiny("somebody/something", None, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("--task_name clasification", "the task 'clasification' is not known; did you mean classification?"),
        ("--train_split train[:99", "'train[:99' is no split"),
        ("--eval_split train[1:2", "'train[1:2' is no split"),
        ("--learning_rate fast", "learning_rate"),
        ("--init_adapter nowhere", "nowhere"),
    ],
)
def test_a_wrong_value_is_found_before_anything_runs(
    here: Path, text: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert dispatch("finetune", ["-m", "models/base", "-d", "rows.jsonl", *text.split(), "--max_steps", "1"]) == 2
    first = capsys.readouterr().err.splitlines()[0]
    assert first.startswith("error")
    assert words in first


def test_what_nobody_foresaw_is_one_line_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from olive_like.cli import doctor

    def fall(args: argparse.Namespace) -> int:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(doctor, "execute", fall)
    assert dispatch("doctor", []) == 1
    assert capsys.readouterr().err.splitlines()[0] == "error: ZeroDivisionError: division by zero"
    with pytest.raises(ZeroDivisionError):
        dispatch("doctor", ["--debug"])


def test_a_folder_that_cannot_be_written(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "file").write_text("")
    assert dispatch("init", ["-m", "models/base", "-o", "file/inside"]) == 1
    assert capsys.readouterr().err.splitlines()[0].startswith("error: file/inside: Not a directory")


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("name", "kind", "task"),
    [
        ("openai/whisper-tiny", "whisper", "automatic-speech-recognition"),
        ("openai/clip-vit-base-patch16", "clip", "zero-shot-image-classification"),
        ("microsoft/resnet-50", "resnet", "image-classification"),
        ("google/vit-base-patch16-224", "vit", None),
        ("Qwen/Qwen3.5-35B-A3B", "qwen3_5_moe", None),
        ("microsoft/phi-4", "phi3", "text-classification"),
    ],
)
def test_tiny_models_of_other_kinds(here: Path, name: str, kind: str, task: str | None) -> None:
    from transformers import AutoConfig

    from olive_like.cli.test_model import tiny
    from olive_like.passes.weights import read_folder

    folder = tiny(name, task, None)
    config = AutoConfig.from_pretrained(folder)
    assert config.model_type == kind
    assert "SequenceClassification" not in config.architectures[0]
    vectors = [entry for entry in read_folder(folder).values() if len(entry.shape) == 1]
    assert vectors
    assert sum(file.stat().st_size for file in folder.iterdir()) < 16 << 20
