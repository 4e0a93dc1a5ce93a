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
