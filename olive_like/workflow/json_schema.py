"""The JSON Schema of a whole workflow file, made of the classes of passes, systems and the rest."""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from olive_like.data.config import DataConfig
from olive_like.metrics.config import Evaluator
from olive_like.passes import registry as passes
from olive_like.systems import registry as systems
from olive_like.workflow.models import MODELS
from olive_like.workflow.schema import Settings, Workflow
from olive_like.workflow.search import SearchStrategy

Schema = dict[str, Any]

_SPACE: Schema = {
    "description": "A space to search in place of a value.",
    "anyOf": [
        {
            "type": "object",
            "properties": {"choice": {"type": "array", "minItems": 1, "description": "The values to try."}},
            "required": ["choice"],
            "additionalProperties": False,
        },
        *(
            {
                "type": "object",
                "properties": {
                    kind: {
                        "type": "array",
                        "items": {"type": number},
                        "minItems": 2,
                        "maxItems": 2,
                        "description": "Lowest and highest value.",
                    },
                    "log": {"type": "boolean", "description": "Draw evenly on a logarithmic scale."},
                    "step": {"type": number, "exclusiveMinimum": 0, "description": "Distance of neighbouring values."},
                },
                "required": [kind],
                "additionalProperties": False,
            }
            for kind, number in (("int", "integer"), ("float", "number"))
        ),
    ],
}


def as_text() -> str:
    """The schema as a file holds it."""
    return json.dumps(workflow_schema(), indent=1, ensure_ascii=False) + "\n"


def workflow_schema() -> Schema:
    """The schema of a workflow in this engine's own form."""
    definitions = _Definitions()
    settings = definitions.schema_of(Settings)["properties"]
    sections = {
        "input_model": _one_of([definitions.typed(name, "model", cls) for name, cls in MODELS.items()]),
        "data_configs": _named(definitions.reference("DataConfig")),
        "systems": _named(
            _one_of([definitions.typed(name, "system", systems.load(name).Config) for name in systems.working()])
        ),
        "evaluators": _named(definitions.reference("Evaluator")),
        "passes": _passes(definitions),
        "search_strategy": {"anyOf": [definitions.reference("SearchStrategy"), {"type": "boolean"}]},
        "outputs": {
            "anyOf": [
                {"type": "object", "additionalProperties": {"type": "string"}},
                {"type": "array", "items": {"type": "string"}},
                {"type": "string"},
            ]
        },
    }
    sections = {
        name: {**schema, "description": Workflow.model_fields[name].description} for name, schema in sections.items()
    }
    components = definitions.made["model.CompositeModel"]["properties"]["model_components"]
    components["items"] = sections["input_model"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "olive-like workflow",
        "type": "object",
        "properties": {**sections, **settings},
        "additionalProperties": False,
        "$defs": definitions.sorted(),
    }


class _Definitions:
    """The definitions that the schema refers to."""

    def __init__(self) -> None:
        models: dict[str, type[BaseModel]] = {"Settings": Settings, "SearchStrategy": SearchStrategy,
                                              "DataConfig": DataConfig, "Evaluator": Evaluator}  # fmt: skip
        models |= {f"model.{name}": cls for name, cls in MODELS.items()}
        models |= {f"system.{name}": systems.load(name).Config for name in systems.working()}
        models |= {f"pass.{name}": passes.load(name).Config for name in passes.working()}
        unique = list(dict.fromkeys(models.values()))
        references, schema = models_json_schema(
            [(cls, "validation") for cls in unique],
            by_alias=False,
            schema_generator=_Generator,
            ref_template="#/$defs/{model}",
        )
        self.all: dict[str, Schema] = schema.get("$defs", {})
        self.key_of = {name: references[cls, "validation"]["$ref"].rpartition("/")[2] for name, cls in models.items()}
        for name, cls in models.items():
            _add_spellings(cls, self.all[self.key_of[name]])
        self.made: dict[str, Schema] = {"Space": _SPACE}

    def schema_of(self, model: type[BaseModel]) -> Schema:
        return self.all[self.key_of[model.__name__]]

    def reference(self, name: str) -> Schema:
        return {"$ref": f"#/$defs/{self.key_of[name]}"}

    def typed(self, name: str, family: str, cls: type[BaseModel], common: Schema | None = None) -> Schema:
        """A reference to the settings of one type, with the `type` that chooses them."""
        key = f"{family}.{name}"
        model = self.all[self.key_of[key]]
        properties = dict(model.get("properties", {}))
        if common is not None:
            properties = {key: _open(schema) for key, schema in properties.items()}
        self.made[key] = {
            "type": "object",
            "description": model.get("description", ""),
            "properties": {"type": {"const": name}, **(common or {}), **properties},
            "required": ["type", *model.get("required", [])],
            "additionalProperties": False,
        }
        return {"$ref": f"#/$defs/{key}"}

    def sorted(self) -> dict[str, Schema]:
        """Those that something refers to."""
        everything = {**self.all, **self.made}
        top = set(self.made) | {self.key_of[name] for name in ("DataConfig", "Evaluator", "SearchStrategy")}
        wanted: set[str] = set()
        while top:
            name = top.pop()
            wanted.add(name)
            top |= set(_references(everything[name])) - wanted
        return {name: everything[name] for name in sorted(wanted)}


class _Generator(GenerateJsonSchema):
    """Without the titles that pydantic makes of names: they would hide the descriptions in hover texts."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def _add_spellings(model: type[BaseModel], schema: Schema) -> None:
    """The other names under which a setting may be written."""
    properties = schema.get("properties", {})
    for name, info in model.model_fields.items():
        alias = info.validation_alias
        others = [other for other in getattr(alias, "choices", [alias]) if isinstance(other, str) and other != name]
        for other in others:
            properties[other] = {**properties[name], "description": f"Another name of `{name}`."}
        if others and name in schema.get("required", []):
            schema["required"].remove(name)


def _passes(definitions: _Definitions) -> Schema:
    text: Schema = {"type": "string"}
    common: Schema = {
        "input": {
            "anyOf": [text, {"type": "array", "items": text}],
            "description": "The pass (or `input_model`) that it takes from; default: the pass above it.",
        },
        "inputs": {"type": "array", "items": text, "description": "The passes that it takes from."},
        "system": {**text, "description": "The system that it runs on."},
        "evaluator": {
            "anyOf": [text, definitions.reference("Evaluator")],
            "description": "What is measured of its result.",
        },
    }
    names = passes.working()
    for name in names:
        definitions.typed(name, "pass", passes.load(name).Config, common)
        definitions.made[f"pass.{name}"]["description"] = passes.doc(passes.load(name))
    definitions.made["pass"] = {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": names, "description": "Which pass."}},
        "allOf": [
            {"if": {"properties": {"type": {"const": name}}}, "then": {"$ref": f"#/$defs/pass.{name}"}}
            for name in names
        ],
    }
    reference = {"$ref": "#/$defs/pass"}
    skip = {"type": "object", "properties": {"type": {"const": "Skip"}}, "required": ["type"]}
    options = [reference, {**skip, "additionalProperties": False}, {"type": "null"}]
    return {
        "type": "object",
        "additionalProperties": {"anyOf": [reference, {"type": "array", "items": {"anyOf": options}, "minItems": 1}]},
    }


def _open(schema: Schema) -> Schema:
    """A setting that may be left open to a search."""
    outer: Schema = {key: schema[key] for key in ("description", "default") if key in schema}
    inner = {key: value for key, value in schema.items() if key not in outer}
    options = inner["anyOf"] if set(inner) == {"anyOf"} else [inner]
    return {**outer, "anyOf": [*options, {"$ref": "#/$defs/Space"}]}


def _named(schema: Schema) -> Schema:
    """A section: entries by name, or a list of entries with a `name`."""
    return {"anyOf": [{"type": "object", "additionalProperties": schema}, {"type": "array", "items": schema}]}


def _one_of(schemas: list[Schema]) -> Schema:
    return {"anyOf": schemas}


def _references(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        found = [schema["$ref"].rpartition("/")[2]] if isinstance(schema.get("$ref"), str) else []
        return found + [name for value in schema.values() for name in _references(value)]
    if isinstance(schema, list):
        return [name for item in schema for name in _references(item)]
    return []
