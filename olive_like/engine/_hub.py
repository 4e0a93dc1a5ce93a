"""The Hugging Face hub."""

from __future__ import annotations

from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
from huggingface_hub.utils import HFValidationError

from olive_like.errors import OliveLikeError

# Weights as safetensors, settings, tokenizers; no pickles, no weights for other frameworks.
_WANTED = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken", "*.py", "*.onnx", "*.onnx_data"]


def fetch(name: str, revision: str | None) -> None:
    """Download a model's files, those that are not here yet."""
    try:
        snapshot_download(name, revision=revision, allow_patterns=_WANTED)
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise OliveLikeError(
            f"there is no local folder {name!r} and no such model on the hub",
            "Check the spelling; for a private model set HF_TOKEN.",
        ) from error
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        raise OliveLikeError(
            f"the model {name!r} cannot be downloaded: {why}",
            "Check the connection to the hub, or name a local folder.",
        ) from error
