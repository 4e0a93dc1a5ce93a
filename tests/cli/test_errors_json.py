"""What went wrong, for who asked for JSON: one document on standard output."""

import json
import subprocess
import sys


def test_a_wrong_workflow_is_a_document_too(tmp_path):
    (tmp_path / "bad.yaml").write_text("passes:\n  a: {type: Nul}\n")
    for command in ("run", "plan"):
        ended = subprocess.run(
            [sys.executable, "-m", "olive_like", command, "bad.yaml", "--json"],
            cwd=tmp_path, capture_output=True, text=True,
        )  # fmt: skip
        document = json.loads(ended.stdout)
        assert ended.returncode == 2
        assert document["status"] == "failed"
        assert [d["code"] for d in document["diagnostics"]] == ["OL107"]
        assert "OL107" in ended.stderr


def test_a_failed_pass_is_a_line_too(tmp_path):
    (tmp_path / "w.yaml").write_text("input_model: {type: 'Null'}\npasses:\n  a: {type: 'Null', fail: true}\n")
    ended = subprocess.run(
        [sys.executable, "-m", "olive_like", "run", "w.yaml", "--json", "--cache-dir", "cache"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert (ended.returncode, json.loads(ended.stdout)["status"]) == (1, "failed")
    assert ended.stderr.startswith("error: a failed: ")
