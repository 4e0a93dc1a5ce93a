"""What the tests of the graph share: a store of their own and the way from text to a plan."""

from pathlib import Path

import pytest

from olive_like.errors import WorkflowError
from olive_like.graph.planning import plan_workflow
from olive_like.store import Manifest, Record, Store, seal
from olive_like.workflow.read import read


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "cache") as made:
        yield made


@pytest.fixture
def planned(tmp_path, store):
    """Write a workflow file and plan it."""

    def plan(text: str, name: str = "flow.yaml", **options):
        file = tmp_path / name
        file.write_text(text)
        return plan_workflow(read(file).require(), store, **options)

    return plan


@pytest.fixture
def problems_of(planned):
    """The diagnostics that keep a workflow from being a graph."""

    def problems(text: str):
        with pytest.raises(WorkflowError) as caught:
            planned(text)
        return list(caught.value.diagnostics)

    return problems


def pretend_run(plan, store: Store, upto: str | None = None) -> None:
    """Make every node's result, with content that its key alone decides."""
    made = {"input_model": plan.source}
    for name, item in plan.nodes.items():
        inputs = [made[source] for source in item.node.inputs]
        data = {field: made[source] for field, source in item.node.data.items()}
        key, document = plan.planner.finish(name, inputs, data)
        staging = store.staging(key)
        Path(staging, "out").write_text(key)
        manifest: Manifest = seal(staging, item.node.kind.kind, {}, {})
        record = Record(
            key, document=document, node=name, workflow=plan.planner.workflow, pass_name=item.node.pass_name
        )
        made[name] = store.commit(key, staging, manifest, record)
        if name == upto:
            return
