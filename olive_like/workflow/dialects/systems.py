"""Where things run: `systems`, `host` and `target`."""

from __future__ import annotations

from typing import Any

from olive_like.workflow.builder import copied
from olive_like.workflow.dialects.passes import each_pass
from olive_like.workflow.dialects.report import Report, at_key, at_value
from olive_like.workflow.dialects.tree import entries, lift, take, without_effect
from olive_like.workflow.located import LocatedDict, LocatedList

_SPELLINGS = {
    "pythonenvironmentsystem": "PythonEnvironment",
    "dockersystem": "Docker",
}
MISSING = {
    "azureml": "Run on a machine that you can reach.",
    "azuremlsystem": "Run on a machine that you can reach.",
    "isolatedort": "Use PythonEnvironment: it runs in another interpreter, whatever is installed there.",
    "isolatedortsystem": "Use PythonEnvironment: it runs in another interpreter, whatever is installed there.",
}
_NO_EFFECT = {
    "hf_token": "the token that is set up on the machine is used wherever a name of the hub is",
    "is_dev": "the package that runs the workflow is the one that its workers have",
    "olive_managed_env": "an environment is made wherever `requirements_file` is given without a path",
}


def translate_systems(tree: LocatedDict, report: Report) -> bool:
    """Bring systems into their own form; says whether there was anything to do."""
    for name, system in entries(tree.get("systems")):
        lift(system, "config", report, f"systems.{name}")
        _system(system, report, f"systems.{name}")
    foreign = "host" in tree or "target" in tree
    for key in ("host", "target"):
        if isinstance(tree.get(key), LocatedDict):
            lift(tree[key], "config", report, key)
            _system(tree[key], report, key)
            name_in_place(tree, tree, key, key)
    _choose(tree, report)
    return foreign


def _system(system: LocatedDict, report: Report, field: str) -> None:
    without_effect(system, _NO_EFFECT, report, field)
    kind = system.get("type")
    if isinstance(kind, str):
        name = kind.lower()
        if name in _SPELLINGS:
            system["type"] = _SPELLINGS[name]
        elif name in MISSING:
            report.add(
                "OL305", f"system type not available: {kind}", at_value(system, "type"), f"{field}.type", MISSING[name]
            )
            for key in list(system):
                take(system, key)
            system.put("type", "local", system.mark, system.mark)
    if isinstance(system.get("local_docker_config"), LocatedDict):
        lift(system, "local_docker_config", report, field)
    _accelerators(system, report, f"{field}.accelerators")


def _accelerators(system: LocatedDict, report: Report, field: str) -> None:
    """A device may stand alone: `[gpu]` for `[{device: gpu}]`; devices are written in any case."""
    accelerators = system.get("accelerators")
    if not isinstance(accelerators, LocatedList):
        return
    for index, item in enumerate(accelerators):
        if isinstance(item, str):
            accelerators[index] = LocatedDict({"device": item.lower()}, accelerators.mark)
        elif isinstance(item, LocatedDict) and isinstance(item.get("device"), str):
            item["device"] = item["device"].lower()
        odd = _unheeded(accelerators[index])
        if odd:
            report.add(
                "OL352",
                f"nothing here computes with {', '.join(odd)}: passes and measurements use the CPU or CUDA",
                item.mark if isinstance(item, LocatedDict) else accelerators.mark,
                f"{field}[{index}]",
                "A metric's `inference_settings` name the provider that it is measured with.",
            )


def _unheeded(accelerator: Any) -> list[str]:
    """The device and the providers of onnxruntime that no pass uses."""
    if not isinstance(accelerator, LocatedDict):
        return []
    providers = accelerator.get("execution_providers")
    named = [one for one in (providers if isinstance(providers, list) else ()) if isinstance(one, str)]
    device = [f"the device {accelerator['device']}"] if accelerator.get("device") == "npu" else []
    return device + [name for name in named if name.removesuffix("ExecutionProvider") not in ("CPU", "CUDA")]


def name_in_place(tree: LocatedDict, holder: LocatedDict, key: str, name: str) -> None:
    """A system written where its name is expected gets one."""
    system = holder[key]
    systems = tree.get("systems")
    if not isinstance(systems, LocatedDict):
        systems = LocatedDict(mark=system.mark)
        tree.put("systems", systems, system.mark, system.mark)
    while name in systems:
        name += "_"
    systems.put(name, system, at_key(holder, key), system.mark)
    holder.put(key, name, at_key(holder, key), system.mark)


def _choose(tree: LocatedDict, report: Report) -> None:
    """Make one system of `host`, where passes run, and `target`, what models are made for."""
    host, target = tree.get("host"), tree.get("target")
    joined = "system" not in tree
    if host is None or target is None or host == target:
        key = "target" if host is None else "host"
        if tree.get(key) is not None and "system" not in tree:
            tree.move(key, tree, "system")
    elif "system" not in tree:
        tree.put("system", _both(tree, str(host), str(target), report), at_key(tree, "host"), at_value(tree, "host"))
    for key in ("host", "target"):
        if tree.get("system") is not None and tree.get(key) not in (None, tree["system"]) and not joined:
            report.add("OL311", f"`{key}` and `system` both say where passes run", at_key(tree, key), key, "Keep one.")
        take(tree, key)


def _device(system: LocatedDict) -> str:
    """What passes compute on there, by its own accelerators."""
    accelerators = system.get("accelerators")
    first = accelerators[0] if isinstance(accelerators, list) and accelerators else None
    return "gpu" if isinstance(first, dict) and first.get("device") == "gpu" else "cpu"


def _both(tree: LocatedDict, host: str, target: str, report: Report) -> str:
    """A system that is the host, for the devices of the target."""
    systems = tree.get("systems")
    known = systems if isinstance(systems, LocatedDict) else LocatedDict()
    if target not in known:
        report.add(
            "OL110", f"there is no system {target!r}", at_value(tree, "target"), "target", "Write it under `systems:`."
        )
        return host
    there, here = known[target], known.get(host)
    if not isinstance(there, LocatedDict) or not isinstance(here, LocatedDict):
        return host
    if there.get("accelerators") in (None, here.get("accelerators")):
        return host
    report.add(
        "OL352",
        f"passes and measurements run on {host}, for the devices of {target}; nothing is run on {target} itself",
        at_value(tree, "target"),
        "target",
        f"Give a pass `system: {target}` to run it there.",
    )
    name = f"{host}_for_{target}"
    both: LocatedDict = copied(here)
    both.put("accelerators", copied(there["accelerators"]), there.keys_at.get("accelerators"), None)
    if "device" not in both:
        both.put("device", _device(here), there.keys_at.get("accelerators"), None)
    known.put(name, both, known.keys_at.get(host), known.values_at.get(host))
    used = {str(step.get(key)) for _, step in each_pass(tree) for key in ("host", "system")}
    for replaced in {host, target} - used:
        take(known, replaced)
    return name
