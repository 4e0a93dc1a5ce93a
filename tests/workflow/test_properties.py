"""Whatever a file holds, reading it gives its data with their places, or says why not."""

from __future__ import annotations

import json
import re
import string

import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from olive_like.canonical import digest
from olive_like.graph.check import diagnose
from olive_like.workflow.loader import loads
from olive_like.workflow.located import find_mark
from olive_like.workflow.read import read

NOT_IN_YAML = re.compile("[\x80-\x84\x86-\x9f\ufffe\uffff]")
LINE_BREAKS = "\x85\u2028\u2029"  # line breaks to YAML, characters to JSON
text = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x7f" + LINE_BREAKS), max_size=12)
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text
trees = st.dictionaries(
    text.filter(bool),
    st.recursive(
        scalars,
        lambda inside: st.lists(inside, max_size=4) | st.dictionaries(text.filter(bool), inside, max_size=4),
        max_leaves=12,
    ),
    min_size=1,
    max_size=5,
)


class Quoted(yaml.SafeDumper):
    """Puts all text in quotes, so that none of it can mean a number."""


Quoted.add_representer(str, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:str", value, style='"'))


@given(trees)
def test_yaml_says_what_was_dumped(tree):
    loaded = loads(yaml.dump(tree, Dumper=Quoted, sort_keys=False), "x.yaml")
    assert loaded.diagnostics == []
    assert loaded.tree == tree


@given(trees, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_json_says_what_was_dumped(tree, indent, ascii_only):
    loaded = loads(json.dumps(tree, indent=indent, ensure_ascii=ascii_only), "x.json")
    assert loaded.diagnostics == []
    assert loaded.tree == tree


@given(trees)
def test_json_is_yaml(tree):
    written = json.dumps(tree, ensure_ascii=False)
    assume(not NOT_IN_YAML.search(written))
    assert loads(written, "x.yaml").tree == loads(written, "x.json").tree == tree


@given(trees, st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(tree, random):
    def shuffled(value):
        if isinstance(value, dict):
            keys = list(value)
            random.shuffle(keys)
            return {key: shuffled(value[key]) for key in keys}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    one, other = (loads(json.dumps(t), "x.json").tree for t in (tree, shuffled(tree)))
    assert digest(one) == digest(other)


@given(trees, st.sampled_from([None, 2]))
def test_every_place_is_where_the_value_stands(tree, indent):
    written = json.dumps(tree, indent=indent)
    lines = written.split("\n")
    loaded = loads(written, "x.json").tree

    def check(value, loc):
        mark = find_mark(loaded, loc)
        shown = json.dumps(value)
        expected = shown if not isinstance(value, (dict, list)) else shown[0]
        line = lines[mark.line - 1]
        assert line[mark.column - 1 : mark.column - 1 + mark.length] == expected
        if loc and isinstance(loc[-1], str):
            at_key = find_mark(loaded, loc, key=True)
            line = lines[at_key.line - 1]
            assert line[at_key.column - 1 : at_key.column - 1 + at_key.length] == json.dumps(loc[-1])
        children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, item in children:
            check(item, (*loc, key))

    check(tree, ())


@given(st.text(max_size=80), st.sampled_from(["x.yaml", "x.json", None]))
def test_any_text_is_read_or_refused_with_a_reason(written, file):
    loaded = loads(written, file)
    assert loaded.tree is not None or loaded.diagnostics


@given(trees, st.data())
def test_a_damaged_file_is_read_or_refused_with_a_reason(tree, data):
    form = data.draw(st.sampled_from(["yaml", "json"]))
    written = json.dumps(tree) if form == "json" else yaml.dump(tree)
    cut = data.draw(st.integers(0, len(written)))
    junk = data.draw(st.text(st.sampled_from("{}[]:,'\"&*!|>%@`#-? \n\t1x"), max_size=4))
    loaded = loads(written[:cut] + junk + written[cut + data.draw(st.integers(0, 3)) :], f"x.{form}")
    assert loaded.tree is not None or loaded.diagnostics


names = st.sampled_from(["a", "b", "input_model", "c.d", "a/b", "", "local", "null"])
nearly_settings = st.dictionaries(
    st.sampled_from(["type", "config", "bytes", "seconds", "input", "inputs", "system", "evaluator", "value", "x"]),
    st.recursive(
        scalars | names | st.sampled_from(["Null", "null", "os.system", "OnnxDynamicQuantization", "a.metrics"]),
        lambda inside: (
            st.lists(inside, max_size=3)
            | st.dictionaries(st.sampled_from(["choice", "int", "float", "type", "low", "high", "log", "a"]), inside)
        ),
        max_leaves=4,
    ),
    max_size=5,
)
sections = st.one_of(
    scalars, names, nearly_settings, st.dictionaries(names, nearly_settings), st.lists(nearly_settings)
)
keys = """input_model data_configs systems evaluators passes search_strategy outputs seed cache_dir system evaluator
evaluate_input_model engine target x"""
nearly_workflows = st.dictionaries(
    st.sampled_from(keys.split()),
    sections,
    max_size=6,
)


@settings(max_examples=150)
@given(nearly_workflows)
def test_any_mapping_is_a_workflow_or_refused_with_a_reason(tree):
    result = read(tree)
    assert (result.workflow is None) == any(d.severity == "error" for d in result.diagnostics)
    diagnose(result)


@given(st.text(string.printable, max_size=30))
def test_any_override_is_applied_or_refused_with_a_reason(override):
    result = read({"passes": {"a": {"type": "Null"}}}, [override])
    assert result.workflow is not None or result.diagnostics
