"""Secrets are in no file that a run writes, nor in what it prints, nor in an argument of a process."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import psutil
import pytest

import olive_like
from olive_like.graph.explain import explain
from olive_like.redact import Redactor, restore
from tests.engine.conftest import Bench

TOKEN = "hf_QqZzSecretOfTheHub"
WANDB = "0123456789abcdef-wandb-secret"
PASSWORD = "pa55wordInUrl"
SECRETS = (TOKEN, WANDB, PASSWORD)
URL = f"https://user:{PASSWORD}@example.org/x"


@pytest.fixture
def _secrets(monkeypatch: pytest.MonkeyPatch, plugin: Path) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("WANDB_API_KEY", WANDB)


def found_in(root: Path) -> list[str]:
    hits = []
    for folder, _, names in os.walk(root):
        for name in names:
            data = (Path(folder) / name).read_bytes()
            hits += [f"{folder}/{name}: {secret}" for secret in SECRETS if secret.encode() in data]
    return hits


@pytest.mark.usefixtures("_secrets")
@pytest.mark.parametrize("how", [{}, {"fail": True}, {"crash": True}])
@pytest.mark.parametrize("in_process", [False, True])
def test_nothing_that_a_run_leaves_has_a_secret(bench: Bench, how: dict, in_process: bool) -> None:
    passes = {
        "env": {"type": "Talk", "variable": "HF_TOKEN", "input": "input_model", **how},
        "config": {"type": "Talk", "text": f"{WANDB} and {URL}", "input": "input_model", **how},
    }
    file = bench.file(passes)
    watching, argv = threading.Event(), set()

    def watch() -> None:
        while not watching.is_set():
            for process in psutil.Process().children(recursive=True):
                try:
                    argv.add(" ".join(process.cmdline()))
                except psutil.Error:
                    continue

    process = bench.start(file, *(["--in-process"] if in_process else []), "--jobs", "2", "--json")
    watcher = threading.Thread(target=watch)
    watcher.start()
    out, err = process.communicate(timeout=60)
    watching.set()
    watcher.join()
    assert process.returncode == (1 if how else 0), err
    file.unlink()  # the user's own
    assert found_in(bench.root) == []
    printed = out if in_process else out + err  # in-process, what the pass itself prints is the user's
    assert [secret for secret in SECRETS if secret in printed] == []
    assert [words for words in argv if any(secret in words for secret in SECRETS)] == []
    assert json.loads(out)["passes"][0]["name"] == "env"
    if not in_process:
        assert "${HF_TOKEN}" in (bench.command("logs", "last", "env", "--cache-dir", str(bench.cache)).stdout)


@pytest.mark.usefixtures("_secrets")
def test_a_bundle_replays_with_the_secret_from_the_environment(bench: Bench) -> None:
    result = bench.run({"talk": {"type": "Talk", "text": f"say {TOKEN}", "fail": True}})
    bundle = Path(result.passes["talk"].error["repro"])
    settings = json.loads((bundle / "config.json").read_text())
    assert settings["text"] == "say ${HF_TOKEN}"
    (bundle / "config.json").write_text(json.dumps({**settings, "fail": False}))
    from olive_like.engine.replay import replay

    assert (replay(bundle) / "text.txt").read_text() == "made"


def test_the_redactor() -> None:
    redactor = Redactor({"A_TOKEN": "secret-one", "B_SECRET": "secret-one-longer", "HOME": "/root", "C_KEY": "short"})
    assert redactor.text("secret-one-longer secret-one short /root") == "${B_SECRET} ${A_TOKEN} short /root"
    assert redactor.text("git+https://me:pw@host/x ssh://host:22") == "git+https://***:***@host/x ssh://host:22"
    assert redactor.data({"secret-one": ["secret-one", 1, None]}) == {"${A_TOKEN}": ["${A_TOKEN}", 1, None]}
    assert redactor.raw(b"\xff secret-one \xfe") == b"\xff ${A_TOKEN} \xfe"
    number = Redactor({"ACCOUNT_KEY": "12345678"})
    assert json.loads(number.json({"size": 123456789, "say": "12345678"})) == {
        "size": 123456789,
        "say": "${ACCOUNT_KEY}",
    }
    quoted = Redactor({"ODD_SECRET": 'a"b\\c\nd-é-long'})
    assert json.loads(quoted.json(['a"b\\c\nd-é-long'])) == ["${ODD_SECRET}"]
    assert quoted.data({"x": 'a"b\\c\nd-é-long'}) == {"x": "${ODD_SECRET}"}
    assert restore({"x": ["${A_TOKEN}"]}, {"A_TOKEN": "secret-one"}) == {"x": ["secret-one"]}


@pytest.mark.usefixtures("_secrets")
def test_another_secret_is_a_reason_to_run_that_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def why(token: str) -> str:
        monkeypatch.setenv("HF_TOKEN", token)
        flow = bench.flow({"talk": {"type": "Talk", "text": f"say {token}"}})
        return explain(olive_like.plan(flow, cache_dir=bench.cache), "talk")

    bench.run({"talk": {"type": "Talk", "text": f"say {TOKEN}"}})
    assert "would not run" in why(TOKEN)
    assert "a secret in its settings changed" in why("hf_AnotherSecretOfTheHub")
