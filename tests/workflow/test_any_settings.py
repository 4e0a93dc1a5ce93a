"""Any value for any setting of any pass, model, data set or system is accepted or refused with a reason."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from olive_like.data.config import DataConfig
from olive_like.graph.check import diagnose
from olive_like.metrics.config import Metric
from olive_like.passes import registry as passes
from olive_like.systems import registry as systems
from olive_like.workflow.models import MODELS
from olive_like.workflow.read import read
from olive_like.workflow.search import SearchStrategy

words = ["a", "b", "train", "int8", "auto", "cuda", "${X}", "../x", "os.system", "null", "p0", "ü", "SEARCHABLE_VALUES"]
keys = ["a", "type", "name", "choice", "int", "float", "low", "high", "bits", "surgeon", "input", "x.y", "parents"]
values = st.recursive(
    st.sampled_from([None, True, False, 0, 1, -1, 8, 10**30, 3.5, -2.0, 1e-9, "", "x" * 300, *words]),
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(st.sampled_from(keys), inside, max_size=3),
    max_leaves=5,
)


def settings_of(model: type[BaseModel]) -> st.SearchStrategy[dict]:
    names = []
    for name, info in model.model_fields.items():
        alias = info.validation_alias
        names += [name, *(other for other in getattr(alias, "choices", [alias]) if isinstance(other, str))]
    return st.dictionaries(st.sampled_from(names or ["nothing"]), values, max_size=4)


@st.composite
def entries(draw, family: dict[str, type[BaseModel]]) -> dict:
    kind = draw(st.sampled_from(sorted(family)))
    inner = draw(settings_of(family[kind]))
    return {"type": kind, "config": inner} if draw(st.booleans()) else {"type": kind, **inner}


pass_entries = entries({name: passes.load(name).Config for name in passes.names()})
system_entries = entries({name: systems.load(name).Config for name in systems.names()})
model_entries = entries(dict(MODELS))


@settings(max_examples=150)
@given(
    model=model_entries,
    steps=st.lists(pass_entries, max_size=3),
    data=settings_of(DataConfig),
    system=system_entries,
    metric=settings_of(Metric),
    search=st.none() | settings_of(SearchStrategy),
    system_used=st.booleans(),
)
def test_any_settings(model, steps, data, system, metric, search, system_used):
    common = {"system": "s", "evaluator": "e"} if system_used else {}
    workflow = {
        "input_model": {"model_path": "x", **model},
        "data_configs": [{**data, "name": "train"}],
        "systems": {"s": system},
        "evaluators": {"e": {"metrics": [{"name": "m", "type": "accuracy", **metric}]}},
        "passes": {f"p{index}": {**step, **common} for index, step in enumerate(steps)},
        "search_strategy": search,
    }
    result = read(workflow)
    assert (result.workflow is None) == any(d.severity == "error" for d in result.diagnostics)
    for diagnostic in diagnose(result):
        assert diagnostic.message
