"""Every workflow of the manual's page on methods runs, on tiny models and a few rows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from olive_like.api import run
from olive_like.passes.finetune.adapters import LoRA
from tests.finetune.helpers import FILMS, PAIRS, SUMS, prepare
from tests.finetune.helpers import run as train
from tests.tiny_models import tiny_bert, tiny_llama, tiny_t5

pytestmark = pytest.mark.heavy

PAGE = Path(__file__).parents[2] / "docs" / "fine-tuning-methods.md"
WORKFLOWS = re.findall(r"^## ([^\n]+)\n.*?^```yaml\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
ROWS = {
    "chats": [{"messages": [{"role": "user", "content": row["prompt"]},
                            {"role": "assistant", "content": row["completion"]}]} for row in SUMS[:8]],
    "pairs": PAIRS[:8],
    "reviews": FILMS[:16],
    "tags": [{"tokens": ["anna", "flew", str(i)], "ner_tags": ["PER", "O", "O"]} for i in range(8)],
    "translations": SUMS[:8],
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    (folder / "data").mkdir()
    for name, rows in ROWS.items():
        (folder / f"data/{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    base = tiny_llama(folder / "models/base")
    tiny_bert(folder / "models/encoder", labels=None)
    tiny_t5(folder / "models/translator")
    data = prepare(base, folder / "prepared", rows=SUMS[:8])
    adapter, _ = train(LoRA, base, folder / "trained", data, r=4, max_steps=1)
    (folder / "adapters").mkdir()
    (folder / "adapters/support").symlink_to(adapter.path)
    return folder


@pytest.mark.parametrize(("title", "text"), WORKFLOWS, ids=[title for title, _ in WORKFLOWS])
def test_a_workflow_of_the_page_runs(title: str, text: str, place: Path) -> None:
    if title in ("QLoRA", "LoftQ"):
        pytest.importorskip("bitsandbytes")
    file = place / f"{title}.yaml"
    file.write_text(text)
    done = run(file, output_dir=place / title, cache_dir=place / "cache", in_process=True)
    assert done.ok, done.raise_for_status()
