"""The report of a run: written after every run, safe whatever is in it, and drawn without a complaint."""

from __future__ import annotations

import json
import re

import olive_like
from olive_like.report import FILE, write_report
from olive_like.report.data import run_data
from olive_like.report.write import page
from tests.report.browser import opened

EVIL = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>"


def flow(passes, **more):
    return {"input_model": {"type": "Null"}, "system": "null", "passes": passes, **more}


def run(tmp_path, passes, **more):
    return olive_like.run(
        flow(passes, **more), cache_dir=tmp_path / "cache", output_dir=tmp_path / "out", in_process=True
    )


def data_of(file):
    text = re.search(r'<script id="data" type="application/json">(.*?)</script>', file.read_text(), re.S)[1]
    return json.loads(text)


def test_every_run_gets_one_hits_and_failures_too(tmp_path):
    first = run(tmp_path, {"a": {"type": "Null"}, "b": {"type": "Null", "value": 1}})
    again = run(tmp_path, {"a": {"type": "Null"}, "b": {"type": "Null", "value": 1}})
    failed = run(tmp_path, {"a": {"type": "Null"}, "c": {"type": "Null", "fail": True}})
    statuses = [{n["name"]: n["status"] for n in data_of(r.folder / FILE)["nodes"]} for r in (first, again, failed)]
    assert statuses == [{"a": "ran", "b": "ran"}, {"a": "hit", "b": "hit"}, {"a": "hit", "c": "failed"}]
    data = data_of(first.folder / FILE)
    assert data["details"]["a"]["files"] == [["null.bin", 64]]
    assert data["nodes"][1]["inputs"] == ["a"]
    assert data["nodes"][0]["document"]["settings"]["bytes"] == 64
    assert "told to fail" in data_of(failed.folder / FILE)["nodes"][1]["error"]["message"]


def test_curves_come_from_the_events_thinned(tmp_path):
    result = run(tmp_path, {"a": {"type": "Null"}})
    with (result.folder / "events.jsonl").open("a") as events:
        for step in range(1, 2001):
            line = {"time": 1.0, "event": "progress", "pass": "a", "step": step, "total": 2000, "loss": 1 / step}
            events.write(json.dumps(line) + "\n")
        events.write('{"time": 2.0, "event": "prog')  # cut off by a crash
    points = run_data(result.folder)["curves"]["a"]["loss"]
    assert 100 < len(points) <= 401
    assert points[0] == [1, 1.0]
    assert points[-1] == [2000, 1 / 2000]


def test_nothing_of_a_run_is_markup(tmp_path):
    result = run(tmp_path, {"a": {"type": "Null"}})
    (result.folder / "logs").mkdir(exist_ok=True)
    (result.folder / "logs" / "a.log").write_text(f"line\n{EVIL}\n")
    text = write_report(result.folder).read_text()
    assert EVIL not in text
    assert EVIL in data_of(result.folder / FILE)["nodes"][0]["log"]


def test_the_page_is_drawn_and_complains_of_nothing(tmp_path):
    passes = {f"pass{i}": {"type": "Null", "value": i, "input": f"pass{i // 3}" if i else "input_model"}
              for i in range(40)}  # fmt: skip
    passes["a_name_that_is_far_too_long_for_the_box_that_it_is_drawn_in"] = {"type": "Null"}
    evaluators = {"evaluators": {"e": {"metrics": ["size_on_disk"]}}, "evaluator": "e"}
    result = run(tmp_path, passes, **evaluators)
    data = run_data(result.folder)
    data["nodes"][1]["log"], data["nodes"][2]["error"] = EVIL, {"message": EVIL, "hint": EVIL}
    data["nodes"][3]["notes"], data["nodes"][3]["metrics"] = [EVIL], {EVIL: 1.0}
    data["curves"] = {"pass4": {"loss": [[1, 2.0], [2, 1.0]], "eval_loss": [[2, 1.5]]}}
    data["details"] = {
        "pass1": {"files": [["model.onnx", 10]], "ops": {"MatMul": 4}, "dtypes": {"float": 4096}},
        "pass3": {"files": [[EVIL, 10]], "ops": {"MatMulNBits": 4}, "dtypes": {"uint8": 512}},
    }
    file = tmp_path / "report.html"
    file.write_text(page(data))
    dom, console = opened(file)
    assert console == []
    assert "[object " not in dom
    assert "olive-like run" in dom
    assert "<title>taken" not in dom
    for word in ("pass39", "float", "training", "evaluation", "MatMulNBits"):
        assert word in dom
    assert "<img" not in re.sub(r'<script id="data".*?</script>', "", dom, flags=re.S)


def test_two_hundred_passes_are_a_small_page(tmp_path):
    passes = {f"p{i}": {"type": "Null", "value": i, "input": f"p{(i - 1) // 2}" if i else "input_model"}
              for i in range(200)}  # fmt: skip
    result = run(tmp_path, passes)
    assert (result.folder / FILE).stat().st_size < 3_000_000
    dom, console = opened(result.folder / FILE)
    assert console == []
    assert dom.count('class="node"') == 200
