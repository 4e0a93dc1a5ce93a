"""Text becomes tokens with labels on what is to be learnt, once and alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from olive_like.artifacts import Dataset, HfModel
from olive_like.errors import PassError
from olive_like.passes.base import Context
from olive_like.passes.prepare.tokenize import TokenizedText, data_problems
from tests.tiny_models import tiny_bert, tiny_llama, tiny_t5

pytestmark = pytest.mark.heavy

CHAT = [{"role": "user", "content": "how much is two plus three?"}, {"role": "assistant", "content": "five."}]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, HfModel]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "llama": tiny_llama(folder / "llama"),
        "bos": tiny_llama(folder / "bos", chat=False, bos=True),
        "bert": tiny_bert(folder / "bert", labels=None),
        "t5": tiny_t5(folder / "t5"),
    }


class Prepared:
    def __init__(self, model: HfModel, folder: Path, **settings: Any) -> None:
        from transformers import AutoTokenizer

        from olive_like.data._tokenized import read

        folder.mkdir()
        self.said: list[str] = []
        context = Context(folder, folder, emit=lambda kind, values: self.said.append(str(values.get("text"))))
        made = TokenizedText().apply([model], TokenizedText.Config.model_validate(settings), context)
        assert isinstance(made, Dataset)
        self.dataset = made
        self.records = read(made)
        self.eval = read(made, "eval")
        self.tokenizer = AutoTokenizer.from_pretrained(model.path)

    def text(self, index: int = 0) -> str:
        return str(self.tokenizer.decode(self.records[index]["input_ids"]))

    def learnt(self, index: int = 0) -> str:
        return str(self.tokenizer.decode([label for label in self.records[index]["labels"] if label >= 0]))


def test_only_the_assistants_turns_are_learnt(models: dict[str, HfModel], tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "be short"}, *CHAT, *CHAT]
    made = Prepared(models["llama"], tmp_path / "o", rows=[{"messages": messages}])
    assert made.text().startswith("<|im_start|>system\nbe short<|im_end|>\n<|im_start|>user")
    assert made.learnt() == "five.<|im_end|>five.<|im_end|>"
    whole = Prepared(models["llama"], tmp_path / "p", rows=[{"messages": messages}], train_on_prompt=True)
    assert whole.learnt() == whole.text()


def test_a_template_learns_the_last_field(models: dict[str, HfModel], tmp_path: Path) -> None:
    rows = [{"phrase": "the ships sail", "tone": "calm"}]
    made = Prepared(models["llama"], tmp_path / "o", rows=rows, text_template="User: {phrase}\\nTone: {tone}")
    assert made.text() == "User: the ships sail\nTone: calm<|im_end|>"
    assert made.learnt().strip() == "calm<|im_end|>"


@pytest.mark.parametrize(("special", "prefix", "suffix"), [(None, "<s>", "</s>"), (True, "<s>", ""), (False, "", "")])
def test_begin_and_end_stand_there_once(
    models: dict[str, HfModel], tmp_path: Path, special: bool | None, prefix: str, suffix: str
) -> None:
    for index, text in enumerate(("the lazy dog", "<s>the lazy dog", "<s>the lazy dog</s>")):
        if special is not None and index:
            continue
        made = Prepared(models["bos"], tmp_path / str(index), rows=[{"text": text}], add_special_tokens=special)
        assert made.text() == f"{prefix}the lazy dog{suffix}"


def test_what_is_cut_is_reported(models: dict[str, HfModel], tmp_path: Path) -> None:
    rows = [{"prompt": "a", "completion": " b" * 50}, {"prompt": "a", "completion": " b"}]
    made = Prepared(models["llama"], tmp_path / "o", rows=rows, max_seq_len=16)
    report = made.dataset.attributes["splits"]["train"]
    assert report["cut"] == 1
    assert report["cut_tokens"] > 30
    assert max(len(record["input_ids"]) for record in made.records) == 16
    assert any("longer than 16 tokens" in text for text in made.said)


def test_an_example_with_nothing_to_learn_is_counted_and_none_is_an_error(
    models: dict[str, HfModel], tmp_path: Path
) -> None:
    long = {"prompt": "x " * 60, "completion": "y"}
    made = Prepared(models["llama"], tmp_path / "o", rows=[long, {"prompt": "a", "completion": "b"}], max_seq_len=16)
    assert made.dataset.attributes["splits"]["train"]["dropped"] == 1
    with pytest.raises(PassError, match="none has a token to learn within 16 tokens"):
        Prepared(models["llama"], tmp_path / "p", rows=[long], max_seq_len=16)


def test_longer_than_the_model_is_a_stated_choice(models: dict[str, HfModel], tmp_path: Path) -> None:
    made = Prepared(models["llama"], tmp_path / "o", rows=[{"text": "a b c"}], max_seq_len=4096)
    assert made.dataset.attributes["max_seq_len"] == 256
    assert "max_seq_len is 256, the model's limit, not 4,096" in made.said


def test_packing_keeps_every_token_and_every_border(models: dict[str, HfModel], tmp_path: Path) -> None:
    rows = [{"prompt": "what is", "completion": " it" * (1 + index % 17)} for index in range(60)]
    loose = Prepared(models["llama"], tmp_path / "a", rows=rows, max_seq_len=64)
    packed = Prepared(models["llama"], tmp_path / "b", rows=rows, max_seq_len=64, packing=True)
    assert sum(len(record["input_ids"]) for record in packed.records) > 0.9 * 64 * len(packed.records)
    pieces = []
    for record in packed.records:
        assert sum(record["lengths"]) == len(record["input_ids"]) <= 64
        start = 0
        for length in record["lengths"]:
            pieces.append((record["input_ids"][start : start + length], record["labels"][start : start + length]))
            start += length
    assert sorted(pieces) == sorted((r["input_ids"], r["labels"]) for r in loose.records)


def test_too_little_for_one_packed_sequence_is_enough(models: dict[str, HfModel], tmp_path: Path) -> None:
    made = Prepared(models["llama"], tmp_path / "o", rows=[{"text": "a b"}], packing=True, max_seq_len=200)
    assert len(made.records) == 1


def test_long_texts_are_split_when_packed_and_joined_on_request(models: dict[str, HfModel], tmp_path: Path) -> None:
    rows = [{"text": "one two three " * 30}, {"text": "four"}]
    whole = Prepared(models["llama"], tmp_path / "a", rows=rows, max_seq_len=256)
    total = sum(len(record["input_ids"]) for record in whole.records)
    for settings in ({"packing": True}, {"strategy": "join"}):
        made = Prepared(models["llama"], tmp_path / next(iter(settings)), rows=rows, max_seq_len=20, **settings)
        assert sum(len(record["input_ids"]) for record in made.records) == total


def test_at_most_so_many_examples(models: dict[str, HfModel], tmp_path: Path) -> None:
    rows = [{"text": "one two"}, {"text": "three"}, {"text": "four"}]
    for number, settings in enumerate(({}, {"strategy": "join", "max_seq_len": 2})):
        made = Prepared(models["llama"], tmp_path / str(number), rows=rows, max_examples=2, **settings)
        assert len(made.records) == 2


def test_text_between_joined_rows(models: dict[str, HfModel], tmp_path: Path) -> None:
    rows = [{"text": "one"}, {"text": "two"}, {"text": "three"}]
    settings = {"rows": rows, "strategy": "join", "add_special_tokens": False}
    joined = Prepared(models["llama"], tmp_path / "a", joiner=", ", **settings)
    assert joined.tokenizer.decode(joined.records[0]["input_ids"]) == "one, two, three"


def test_classes_have_one_order_for_both_splits(models: dict[str, HfModel], tmp_path: Path) -> None:
    rows = [{"text": f"film {i}", "label": ["good", "bad"][i % 2]} for i in range(20)]
    made = Prepared(models["bert"], tmp_path / "o", rows=rows, eval_fraction=0.2, stratify_by="label")
    assert made.dataset.attributes["labels"] == ["bad", "good"]
    assert (len(made.records), len(made.eval)) == (16, 4)
    assert sorted(record["label"] for record in made.eval) == [0, 0, 1, 1]
    numbers = Prepared(models["bert"], tmp_path / "n", rows=[{"text": "a", "label": 10}, {"text": "b", "label": 9}])
    assert numbers.dataset.attributes["labels"] == ["9", "10"]
    scores = Prepared(models["bert"], tmp_path / "s", rows=[{"text": "a", "label": 0.5}, {"text": "b", "label": 1.0}])
    assert scores.dataset.attributes["kind"] == "regression"


def test_numbers_to_come_near_to_are_such_in_both_splits(models: dict[str, HfModel], tmp_path: Path) -> None:
    rows = [{"text": "a", "label": label} for label in ("0.5", 2, 3.0, 4)]  # as CSV and as JSON write them
    halves = {"split": "train[:2]", "eval_split": "train[2:]"}
    made = Prepared(models["bert"], tmp_path / "o", rows=rows, **halves)
    assert (made.dataset.attributes["kind"], made.dataset.attributes["labels"]) == ("regression", [])
    assert [record["label"] for record in [*made.records, *made.eval]] == [0.5, 2.0, 3.0, 4.0]
    with pytest.raises(PassError, match="the label 'good' is no number"):
        Prepared(models["bert"], tmp_path / "p", rows=[*rows[:2], *rows[:1], {"text": "a", "label": "good"}], **halves)


def test_an_unknown_label(models: dict[str, HfModel], tmp_path: Path) -> None:
    rows = [{"text": "a", "label": "good"}, {"text": "b", "label": "goood"}]
    with pytest.raises(PassError, match="the label 'goood' is unknown; known: good, bad"):
        Prepared(models["bert"], tmp_path / "o", rows=rows, labels=["good", "bad"])
    by_number = [{"text": "a", "label": "1"}, {"text": "b", "label": 0}]
    made = Prepared(models["bert"], tmp_path / "n", rows=by_number, labels=["good", "bad"])
    assert [record["label"] for record in made.records] == [1, 0]
    stars = [{"text": "a", "label": 1}, {"text": "b", "label": 2}, {"text": "c", "label": 0}]
    with pytest.raises(PassError, match="the label '0' is unknown; known: 1, 2"):
        Prepared(models["bert"], tmp_path / "s", rows=stars, split="train[:2]", eval_split="train[2:]")


def test_a_cut_classification_text_keeps_its_end_marker(models: dict[str, HfModel], tmp_path: Path) -> None:
    made = Prepared(models["bert"], tmp_path / "o", rows=[{"text": "film " * 50, "label": 1}], max_seq_len=12)
    ids = made.records[0]["input_ids"]
    assert len(ids) == 12
    assert ids[-1] == made.tokenizer.sep_token_id


def test_tags_stand_on_the_first_piece_of_a_word(models: dict[str, HfModel], tmp_path: Path) -> None:
    rows = [{"tokens": ["anna", "zzz"], "tags": ["PER", "O"]}]
    record = Prepared(models["bert"], tmp_path / "o", rows=rows).records[0]
    assert record["labels"] == [-100, 1, 0, -100, -100, -100]


def test_answers_are_found_in_tokens(models: dict[str, HfModel], tmp_path: Path) -> None:
    rows = [{"question": "who flew?", "context": "paul flew from berlin to new york", "answers": "berlin"}]
    made = Prepared(models["bert"], tmp_path / "o", rows=rows)
    record = made.records[0]
    assert made.tokenizer.decode(record["input_ids"][record["start"] : record["end"] + 1]) == "berlin"


def test_tools_that_a_template_does_not_know_are_written_down(models: dict[str, HfModel], tmp_path: Path) -> None:
    call = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Paris"}}}
    rows = [
        {
            "messages": [CHAT[0], {"role": "assistant", "content": "", "tool_calls": [call]}],
            "tools": [{"type": "function", "function": {"name": "get_weather"}}],
        }
    ]
    known = Prepared(models["llama"], tmp_path / "a", rows=rows)
    assert "get_weather" in known.learnt()
    plain = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    unknown = Prepared(models["llama"], tmp_path / "b", rows=rows, chat_template=plain)
    assert "get_weather" in unknown.learnt()
    assert unknown.text().count("get_weather") == 2
    assert any("knows no tools" in text for text in unknown.said)


def test_a_tokenizer_without_chat_template_gets_a_plain_one(models: dict[str, HfModel], tmp_path: Path) -> None:
    made = Prepared(models["bos"], tmp_path / "o", rows=[{"messages": CHAT}])
    assert made.text().startswith("<s>### User:\nhow much")
    assert made.learnt() == "five.</s>"
    assert any("has no chat template" in text for text in made.said)


def test_encoder_and_decoder_have_texts_of_their_own(models: dict[str, HfModel], tmp_path: Path) -> None:
    made = Prepared(models["t5"], tmp_path / "o", rows=[{"prompt": "the lazy dog", "completion": "dog"}])
    assert made.text() == "the lazy dog"
    assert made.learnt() == "dog</s>"
    with pytest.raises(PassError, match="needs a prompt and a completion"):
        Prepared(models["t5"], tmp_path / "p", rows=[{"text": "a"}])


def test_the_same_rows_give_the_same_bytes(models: dict[str, HfModel], tmp_path: Path) -> None:
    rows = [{"messages": CHAT}] * 5
    made = [Prepared(models["llama"], tmp_path / name, rows=rows, packing=True) for name in "ab"]
    first, second = ((m.dataset.path / "train.arrow").read_bytes() for m in made)
    assert first == second
    assert made[0].dataset.attributes == made[1].dataset.attributes


def test_other_tools_can_read_it(models: dict[str, HfModel], tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = Prepared(models["llama"], tmp_path / "o", rows=[{"text": "a b c"}])
    table = datasets.Dataset.from_file(str(made.dataset.path / "train.arrow"))
    assert table[0]["input_ids"] == made.records[0]["input_ids"]


def test_problems_are_found_before_anything_runs() -> None:
    def problems(**settings: Any) -> list[str]:
        return data_problems(TokenizedText.Config.model_validate(settings))

    assert problems(rows=[{"text": "a"}]) == []
    assert "neither `source` nor `files` nor `rows`" in problems()[0]
    assert "leave one out" in problems(source="x", eval_split="test", eval_fraction=0.1)[0]
    assert "needs `eval_fraction`" in problems(source="x", stratify_by="label")[0]


def test_rows_with_nothing_in_them_are_counted(models: dict[str, HfModel], tmp_path: Path) -> None:
    rows = [{"prompt": "a", "completion": text} for text in ("b", "", " ")]
    made = Prepared(models["llama"], tmp_path / "o", rows=rows)
    assert any("train: in 2 of 3 rows the text to learn is empty" in text for text in made.said)
    films = [{"text": "a", "label": i % 2} for i in range(4)]
    made = Prepared(models["bert"], tmp_path / "p", rows=films, packing=True)
    assert "`packing` has no effect: rows of classification are not packed" in made.said
