"""Text becomes tokens once, in a node of its own, for all models that share a tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

from olive_like.artifacts import Adapter, Artifact, Dataset, HfModel
from olive_like.data.config import DataConfig, unread
from olive_like.passes.base import Context, Pass, PassConfig


class TokenizedText(Pass):
    """Read, check, render, tokenise and pack a data set."""

    accepts = (HfModel, Adapter)
    produces = Dataset
    tools = ("tokenizers", "transformers")
    version = 2
    traits = ()
    reads = (
        "tokenizer*",
        "vocab*",
        "merges.txt",
        "special_tokens_map.json",
        "added_tokens.json",
        "chat_template*",
        "*.model",
        "*.spm",
        "*.tiktoken",
        "*.py",
        "config.json",
    )

    class Config(DataConfig, PassConfig):
        """The data set, as everywhere."""

    @classmethod
    def problems(cls, config: PassConfig, kinds: Sequence[type[Artifact]]) -> list[str]:
        assert isinstance(config, DataConfig)
        return data_problems(config)

    def run(self, model: HfModel | Adapter, config: Config, context: Context) -> Dataset:
        from olive_like.passes.prepare import _tokenize

        return _tokenize.tokenize(model, config, context)


def data_problems(config: DataConfig) -> list[str]:
    """What is wrong with a data config by itself."""
    found = []
    given = [bool(config.source), config.files is not None, config.rows is not None, config.load_function is not None]
    if not any(given) and config.dummy is None:
        found.append("the data set has neither `source` nor `files` nor `rows`")
    if config.rows is not None and not config.rows:
        found.append("`rows` is empty")
    if config.load_function and config.user_script is None:
        found.append(f"`load_function: {config.load_function}` needs the `user_script` that it is in")
    if config.eval_split and config.eval_fraction:
        found.append("`eval_split` and `eval_fraction` both say what to evaluate on; leave one out")
    if config.stratify_by and not config.eval_fraction:
        found.append("`stratify_by` needs `eval_fraction`")
    for part in unread(config, "post_process_function", "dummy"):
        found.append(f"`{part}` of the data set has no place where text is tokenised; leave it out")
    return found
