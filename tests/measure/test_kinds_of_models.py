"""Images, users' own functions, references, encoder-decoders, questions, GenAI folders, memory."""

import json

import numpy as np
import pytest

from olive_like.data.config import DataConfig
from olive_like.errors import PassError
from olive_like.metrics.config import Evaluator
from olive_like.passes.base import Context
from olive_like.passes.measure.evaluate import Evaluate
from tests import tiny_models

pytestmark = pytest.mark.heavy

TEXTS = ["a great film, a clever film", "a dull film and a boring film", "seven small ships", "two plus three is five"]


def measure(models, evaluator, tmp_path, name="out"):
    output = tmp_path / name
    output.mkdir()
    models = models if isinstance(models, list) else [models]
    config = Evaluate.Config(evaluator=Evaluator.model_validate(evaluator))
    Evaluate().apply(models, config, Context(output, tmp_path / "scratch", threads=2))
    return {key: entry["value"] for key, entry in json.loads((output / "metrics.json").read_text()).items()}


def to_onnx(model, folder):
    from olive_like.passes.convert.onnx_conversion import OnnxConversion

    folder.mkdir()
    return OnnxConversion().apply([model], OnnxConversion.Config(), Context(folder, folder.parent / "scratch"))


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return tiny_models.tiny_llama(tmp_path_factory.mktemp("llama"), num_hidden_layers=1)


@pytest.fixture(scope="module")
def vit(tmp_path_factory):
    return tiny_models.tiny_vit(tmp_path_factory.mktemp("vit"))


@pytest.fixture(scope="module")
def onnx_vit(vit, tmp_path_factory):
    return to_onnx(vit, tmp_path_factory.mktemp("onnx") / "vit")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of pictures for each class."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(0)
    for name in ("LABEL_0", "LABEL_1", "LABEL_2"):
        (folder / name).mkdir()
        for index in range(4):
            pixels = random.integers(0, 255, (40, 48, 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return folder


def test_agreement_and_divergence_equal_a_plain_loop(llama, tmp_path):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    other = tiny_models.tiny_llama(tmp_path / "other", seed=1, num_hidden_layers=1)
    evaluator = {
        "metrics": ["token_agreement", "kl"],
        "data_config": DataConfig(rows=[{"text": text} for text in TEXTS], batch_size=3),
    }
    found = measure([other, llama], evaluator, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(llama.path)
    ours, theirs = (AutoModelForCausalLM.from_pretrained(m.path, dtype=torch.float32) for m in (other, llama))
    agreed, divergence, count = 0, 0.0, 0
    for text in TEXTS:
        ids = torch.tensor([[*tokenizer(text)["input_ids"], tokenizer.eos_token_id]])
        with torch.no_grad():
            q, p = (model(ids).logits[0, :-1].double().log_softmax(-1) for model in (ours, theirs))
        agreed += int((q.argmax(-1) == p.argmax(-1)).sum())
        divergence += float((p.exp() * (p - q)).sum())
        count += len(p)
    assert found["token_agreement-token_agreement"] == pytest.approx(agreed / count, abs=1e-9)
    assert found["kl-kl"] == pytest.approx(divergence / count, abs=1e-6)
    itself = measure(llama, evaluator, tmp_path, "itself")
    assert itself == {"token_agreement-token_agreement": 1.0, "kl-kl": 0.0}


def test_pictures_on_both_runtimes_as_the_library_prepares_them(vit, onnx_vit, pictures, tmp_path):
    import torch
    from PIL import Image
    from transformers import AutoModelForImageClassification

    evaluator = {"metrics": ["accuracy_score", "f1_score"], "data_config": DataConfig(source=str(pictures))}
    one, other = measure(vit, evaluator, tmp_path, "torch"), measure(onnx_vit, evaluator, tmp_path, "onnx")
    assert one["accuracy_score-accuracy_score"] == other["accuracy_score-accuracy_score"]
    assert one["f1_score-f1_score"] == other["f1_score-f1_score"]
    model = AutoModelForImageClassification.from_pretrained(vit.path)
    right = 0
    for file in sorted(pictures.rglob("*.png")):
        pixels = np.asarray(Image.open(file).resize((32, 32), Image.Resampling.BILINEAR), np.float32) / 255
        pixels = torch.from_numpy((pixels - 0.5) / 0.5).permute(2, 0, 1)[None].float()
        with torch.no_grad():
            right += int(model(pixels).logits.argmax()) == int(file.parent.name[-1])
    assert one["accuracy_score-accuracy_score"] == pytest.approx(right / 12, abs=1e-9)


SCRIPT = """
import torch

class Squares(torch.utils.data.Dataset):
    def __init__(self, count):
        random = torch.Generator().manual_seed(0)
        self.pixels = torch.randn(count, 3, 32, 32, generator=random)
    def __len__(self):
        return len(self.pixels)
    def __getitem__(self, index):
        return {"pixel_values": self.pixels[index]}, index % 3

def load(count=6):
    return Squares(count)

def process(data, flip=False):
    return [({"pixel_values": item["pixel_values"].flip(-1) if flip else item["pixel_values"]}, label)
            for item, label in (data[i] for i in range(len(data)))]

def loader(data, batch_size, **_):
    return torch.utils.data.DataLoader(data, batch_size=batch_size)

def after(output):
    logits = output if isinstance(output, torch.Tensor) else output.logits
    return logits.argmax(-1)

def part_right(predictions, targets):
    return sum(p == t for p, t in zip(predictions, targets)) / len(targets)
"""


@pytest.fixture
def script(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(SCRIPT)
    return str(file)


def test_the_users_functions_make_examples_batches_and_predictions(vit, onnx_vit, script, tmp_path):
    own = {"user_script": script, "load_function": "load", "batch_size": 4}
    configs = {
        "plain": own,
        "after": {**own, "post_process_function": "after"},
        "process": {**own, "process_function": "process", "post_process_function": "after"},
        "loader": {**own, "dataloader_function": "loader", "post_process_function": "after"},
    }
    mine = {"name": "mine", "type": "custom", "user_config": {"user_script": script, "metric_func": "part_right"}}
    found = {}
    for name, settings in configs.items():
        for kind, model in (("torch", vit), ("onnx", onnx_vit)):
            metrics = ["accuracy_score"] + ([mine] if settings.get("post_process_function") else [])
            evaluator = {"metrics": metrics, "data_config": DataConfig.model_validate(settings)}
            values = measure(model, evaluator, tmp_path, f"{name}-{kind}")
            found[name, kind] = values["accuracy_score-accuracy_score"]
            assert values.get("mine-mine", found[name, kind]) == found[name, kind]
    assert len(set(found.values())) == 1


def test_what_a_users_function_does_wrong_is_named(vit, script, tmp_path):
    data = {"user_script": script, "load_function": "load", "load_params": {"number": 3}}
    with pytest.raises(PassError, match=r"load failed at mine\.py"):
        measure(vit, {"metrics": ["accuracy_score"], "data_config": DataConfig.model_validate(data)}, tmp_path)


def test_an_encoder_decoder_model_on_both_runtimes(tmp_path):
    t5 = tiny_models.tiny_t5(tmp_path / "t5", num_layers=1, num_decoder_layers=1)
    onnx_t5 = to_onnx(t5, tmp_path / "onnx-t5")
    rows = [
        {"prompt": "two plus three", "completion": "five"},
        {"prompt": "a dull film, a long one", "completion": "no"},
    ]
    text = {
        "name": "text",
        "type": "accuracy",
        "sub_types": [{"name": "rougeL", "metric_config": {"max_new_tokens": 5}}],
    }
    evaluator = {"metrics": ["loss", text], "data_config": DataConfig(rows=rows, batch_size=2)}
    one, other = measure(t5, evaluator, tmp_path, "torch"), measure(onnx_t5, evaluator, tmp_path, "onnx")
    assert one == pytest.approx(other, abs=1e-3)

    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(t5.path), AutoTokenizer.from_pretrained(t5.path)
    total, count = 0.0, 0
    for row in rows:
        labels = torch.tensor([[*tokenizer(row["completion"])["input_ids"], tokenizer.eos_token_id]])
        with torch.no_grad():
            loss = model(input_ids=torch.tensor([tokenizer(row["prompt"])["input_ids"]]), labels=labels).loss
        total, count = total + float(loss) * labels.numel(), count + labels.numel()
    assert one["loss-loss"] == pytest.approx(total / count, abs=1e-5)


def test_questions_are_scored_as_squad_defines():
    from olive_like.passes.measure._questions import f1, normal

    assert normal("The  Red Cross!") == "red cross"
    assert f1("the red cross in Geneva", "Red Cross") == pytest.approx(2 * 2 / (4 + 2))
    assert f1("", "") == 1.0
    assert f1("a", "Paul") == 0.0


def test_a_model_that_answers_questions(tmp_path):
    import torch
    from transformers import BertConfig, BertForQuestionAnswering

    tokenizer = tiny_models.tiny_wordpiece(tmp_path / "qa")
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=1, num_attention_heads=4,
                        intermediate_size=64, max_position_embeddings=128)  # fmt: skip
    torch.manual_seed(0)
    BertForQuestionAnswering(config).save_pretrained(tmp_path / "qa")
    model = tiny_models.as_artifact(tmp_path / "qa", "question-answering")
    context = "Anna works for the Red Cross in Geneva; Paul flew from Berlin to New York."
    rows = [{"question": "where?", "context": context, "answers": {"text": ["Geneva"], "answer_start": [32]}}]
    data = DataConfig(rows=rows, shape="question_answering")
    found = measure(model, {"metrics": ["exact_match", "f1_score"], "data_config": data}, tmp_path)
    assert set(found) == {"exact_match-exact_match", "f1_score-f1_score"}
    assert 0 <= found["f1_score-f1_score"] <= 1
    with pytest.raises(PassError, match="bleu cannot be measured on questions"):
        measure(model, {"metrics": ["bleu"], "data_config": data}, tmp_path, "bleu")


def test_a_genai_folder_writes_what_the_model_writes(llama, tmp_path):
    pytest.importorskip("onnxruntime_genai")
    from olive_like.passes.convert.model_builder import ModelBuilder

    (tmp_path / "genai").mkdir()
    built = ModelBuilder().apply(
        [llama], ModelBuilder.Config(precision="fp32"), Context(tmp_path / "genai", tmp_path / "s")
    )
    assert built.is_genai
    rows = [{"prompt": "the quick brown", "completion": " fox jumps"}, {"prompt": "a great", "completion": " film"}]
    subs = [{"name": name, "metric_config": {"max_new_tokens": 8}} for name in ("bleu", "rougeL")]
    generation = {"name": "g", "type": "generation", "sub_types": [
        {"name": "tokens_per_second",
         "metric_config": {"prompt_length": 8, "generation_length": 8, "repeat_test_num": 2}}]}  # fmt: skip
    evaluator = {
        "metrics": [{"name": "text", "type": "accuracy", "sub_types": subs}, "loss", generation],
        "data_config": DataConfig(rows=rows),
    }
    one, other = measure(llama, evaluator, tmp_path, "torch"), measure(built, evaluator, tmp_path, "onnx")
    assert other.pop("g-tokens_per_second") > 0
    del one["g-tokens_per_second"]
    assert one == pytest.approx(other, abs=1e-3)


def test_memory_is_that_of_a_process_of_its_own(onnx_vit, tmp_path):
    subs = [{"name": "peak"}, {"name": "model"}]
    found = measure(onnx_vit, {"metrics": [{"name": "memory", "type": "memory", "sub_types": subs}]}, tmp_path)
    assert 20e6 < found["memory-peak"] < 4e9
    assert 0 < found["memory-model"] < found["memory-peak"]


def test_latency_of_the_datas_first_batch_and_load_time(onnx_vit, pictures, tmp_path):
    subs = [{"name": "avg", "metric_config": {"warmup_num": 1, "repeat_test_num": 5}}]
    evaluator = {
        "metrics": [
            {"name": "throughput", "type": "throughput", "sub_types": subs,
             "data_config": DataConfig(source=str(pictures), batch_size=3)},
            {"name": "load_time", "type": "load_time",
             "sub_types": [{"name": "seconds", "metric_config": {"repeat_test_num": 1}}]},
        ]
    }  # fmt: skip
    found = measure(onnx_vit, evaluator, tmp_path)
    assert found["throughput-avg"] > 0
    assert found["load_time-seconds"] > 0


BUILT = """
import torch

def build():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))

def load():
    random = torch.Generator().manual_seed(1)
    return [({"input": torch.randn(4, generator=random)}, torch.zeros(1)) for _ in range(5)]
"""


def test_a_model_that_a_script_builds_and_made_up_inputs(tmp_path):
    import torch

    from olive_like.artifacts import PyTorchModel

    folder = tmp_path / "model"
    folder.mkdir()
    script = folder / "built.py"
    script.write_text(BUILT)
    io = {"input_names": ["input"], "input_shapes": [[1, 4]], "output_names": ["output"]}
    model = PyTorchModel(folder, {"script": str(script), "model_loader": "build", "io_config": io})
    own = DataConfig.model_validate({"user_script": str(script), "load_function": "load", "batch_size": 2})
    dummy = DataConfig.model_validate({"dummy": {"input_shapes": [[3, 4]], "max_samples": 2}})
    timing = {"warmup_num": 1, "repeat_test_num": 5}
    evaluator = {
        "metrics": [
            {"name": "error", "type": "accuracy", "sub_types": [{"name": "mse"}], "data_config": own},
            {"name": "agree", "type": "accuracy", "sub_types": [{"name": "kl"}], "data_config": dummy},
            {"name": "speed", "type": "throughput", "data_config": dummy,
             "sub_types": [{"name": "avg", "metric_config": timing}]},
        ]
    }  # fmt: skip
    found = measure(model, evaluator, tmp_path)
    space: dict = {}
    exec(BUILT, space)
    with torch.no_grad():
        answers = torch.stack([space["build"]()(item["input"]) for item, _ in space["load"]()])
    assert found["error-mse"] == pytest.approx(float((answers**2).mean()), rel=1e-5)
    assert found["agree-kl"] == 0.0
    assert found["speed-avg"] > 0
