"""A model block by block: one in memory at a time, the activations between them, and a journal to resume from."""

from __future__ import annotations

import contextlib
import copy
import functools
import gc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from olive_like.errors import PassError
from olive_like.passes._memory import release_memory
from olive_like.passes.base import Context
from olive_like.passes.quantize._journal import BlockResult, Journal
from olive_like.passes.quantize._skeleton import Skeleton, finite

_TOKENS_AT_ONCE = 2048  # few enough that a layer's outputs stay in a processor's cache


class Stop(Exception):
    """Raised by a hook that has seen enough: the rest of a forward pass is not needed."""


class _Recorder(nn.Module):
    """Stands in for a block: notes what it is called with and hands the hidden states on."""

    def __init__(self, block: nn.Module, seen: Callable[[torch.Tensor, tuple[Any, ...], dict[str, Any]], Any]) -> None:
        super().__init__()
        self.__dict__["_block"] = block
        self.__dict__["_seen"] = seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_block"], name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if args:
            return self.__dict__["_seen"](args[0], args[1:], kwargs)
        hidden = kwargs.pop("hidden_states")
        return self.__dict__["_seen"](hidden, (), kwargs)


# How the model calls one block: what comes beside the hidden states.
Call = tuple[tuple[Any, ...], dict[str, Any]]


class Blocks:
    """The blocks of a model, loaded one by one, and the activations between them.

    `reference`: also those of the model as it was, which no pass has changed.
    """

    def __init__(self, skeleton: Skeleton, tokens: torch.Tensor, device: str, reference: bool = False) -> None:
        self.skeleton = skeleton
        self.tokens = tokens
        self.device = device
        self.name, self._list = skeleton.blocks()
        self.batch = max(1, _TOKENS_AT_ONCE // tokens.shape[1])
        self.hidden = torch.empty(0)
        self.reference = torch.empty(0) if reference else None
        self._calls: dict[int, list[Call]] = {}  # by the number of sequences
        # A model of bfloat16 is run as such where the processor multiplies it, which is four times as fast;
        # the residual stream between the layers stays float32.
        self.half = skeleton.config.dtype == torch.bfloat16 and _multiplies_bfloat16(device)

    def __len__(self) -> int:
        return len(self._list)

    def start(self, activations: dict[str, torch.Tensor] | None = None) -> None:
        """Run what stands before the blocks. `activations`: those of an earlier run, to go on from instead."""
        if activations is None:
            collected: list[torch.Tensor] = []

            def seen(state: torch.Tensor, _args: Any, _kwargs: Any, index: int) -> torch.Tensor:
                if index == 0:
                    collected.append(state.float())
                return state

            self._through_stubs(seen, self.tokens.split(self.batch))
            activations = {"hidden": torch.cat(collected)}
            if self.reference is not None:
                activations["reference"] = activations["hidden"].clone()
        self.hidden = activations["hidden"].to(self.device)
        if self.reference is not None:
            self.reference = activations["reference"].to(self.device)

    def activations(self) -> dict[str, torch.Tensor]:
        """What `start` goes on from."""
        return (
            {"hidden": self.hidden} if self.reference is None else {"hidden": self.hidden, "reference": self.reference}
        )

    def _called(self, sequences: int) -> list[Call]:
        """How the model calls its blocks with so many sequences."""
        if sequences not in self._calls:
            calls: list[Call] = []

            def seen(state: torch.Tensor, args: tuple[Any, ...], kwargs: dict[str, Any], _index: int) -> torch.Tensor:
                calls.append((args, kwargs))
                return state

            self._through_stubs(seen, [self.tokens[:sequences]])
            self._calls[sequences] = calls
        return self._calls[sequences]

    def _through_stubs(self, seen: Callable[..., torch.Tensor], pieces: Iterable[torch.Tensor]) -> list[Any]:
        """Run the model with stand-ins for its blocks, and return what it makes of every batch."""
        model = copy.deepcopy(self.skeleton.model)
        blocks = model.get_submodule(self.name)
        for index, block in enumerate(list(blocks)):
            blocks[index] = _Recorder(block, lambda state, args, kwargs, index=index: seen(state, args, kwargs, index))
        head = model.get_output_embeddings()
        for name, module in model.named_modules():
            if module is head or name.startswith(f"{self.name}."):
                continue
            self._fill(module, name, keep=isinstance(module, nn.Embedding))
        # Embeddings stay in their own type, which may be half of float32; what comes out of them does not.
        for module in model.modules():
            if isinstance(module, nn.Embedding):
                module.register_forward_hook(lambda _m, _i, out: out.float())
        inner = model.base_model
        results = []
        for piece in pieces:
            results.append(inner(input_ids=piece.to(self.device), **self._options(inner)))
        return results

    def _options(self, inner: nn.Module) -> dict[str, Any]:
        return {"use_cache": False} if hasattr(inner.config, "use_cache") else {}

    def _fill(self, module: nn.Module, name: str, keep: bool = False) -> None:
        """Load a module's own parameters (not its children's) as float32."""
        for part, parameter in list(module.named_parameters(recurse=False)):
            stored = self.skeleton.stored(name, part)
            if stored is None:
                if parameter.is_meta and self.skeleton.stored(name, "qweight"):
                    raise PassError(f"{name} is quantised already")
                continue
            value = self.skeleton.checkpoint.read(f"{stored}.{part}")
            value = value if keep else value.float()
            setattr(module, part, nn.Parameter(value.to(self.device), requires_grad=False))
        if not any(parameter.is_meta for parameter in module.parameters()):
            module.to(self.device)  # computed buffers

    def load(self, index: int) -> nn.Module:
        """One block with its weights, in float32."""
        block = copy.deepcopy(self._list[index])
        prefix = f"{self.name}.{index}"
        for name, module in block.named_modules():
            self._fill(module, f"{prefix}.{name}" if name else prefix)
        missing = [(name, parameter) for name, parameter in block.named_parameters() if parameter.is_meta]
        fused = next((name for name, parameter in missing if parameter.dim() > 2), None)
        if fused:
            raise PassError(
                f"{prefix}.{fused} is all experts of a mixture in one tensor, which cannot be calibrated",
                "Rtn, KQuant and Hqq take the rest of the model and leave the experts as they are.",
            )
        if missing:
            raise PassError(f"the model's files lack {prefix}.{missing[0][0]}", "Fetch the model again.")
        for name, parameter in block.named_parameters():
            finite(parameter, f"{prefix}.{name}")
        return block.to(self.device).eval()

    def tensors(self, index: int) -> dict[str, str]:
        """Parameter name inside of a block -> name in the files."""
        prefix = f"{self.name}.{index}."
        found = {}
        for name, _ in self._list[index].named_parameters():
            module, _, part = name.rpartition(".")
            stored = self.skeleton.stored(prefix + module if module else prefix.rstrip("."), part)
            if stored is not None:
                found[name] = f"{stored}.{part}"
        return found

    def call(self, block: nn.Module, index: int, hidden: torch.Tensor) -> torch.Tensor:
        """What the block makes of some sequences."""
        args, kwargs = self._called(len(hidden))[index]
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.half):
            out = block(hidden, *args, **kwargs)
        return out[0] if isinstance(out, tuple) else out

    def batches(self, block: nn.Module, index: int) -> Iterator[Callable[[], torch.Tensor]]:
        """For every batch, a call that runs it through the block."""
        for piece in self.hidden.split(self.batch):
            yield functools.partial(self.call, block, index, piece)

    def run(self, block: nn.Module, index: int, reference: bool = False) -> None:
        """Replace the activations, or those of the reference, by what the block makes of them."""
        hidden = self.reference if reference else self.hidden
        assert hidden is not None
        for piece in hidden.split(self.batch):
            piece.copy_(self.call(block, index, piece))

    def watch(
        self, block: nn.Module, index: int, modules: list[str], seen: Callable[[tuple[str, ...], torch.Tensor], None]
    ) -> None:
        """Show the inputs of some linear layers, batch by batch; layers that share an input come together."""
        current: list[tuple[str, torch.Tensor]] = []

        def hook(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
            def before(_module: nn.Module, args: tuple[Any, ...]) -> None:
                current.append((name, args[0]))
                if len(current) == len(modules):
                    raise Stop

            return before

        handles = [block.get_submodule(name).register_forward_pre_hook(hook(name)) for name in modules]
        try:
            for call in self.batches(block, index):
                current.clear()
                with contextlib.suppress(Stop):
                    call()
                by_name = dict(current)
                for group in _same_input(current):  # of this batch: it may not reach every expert of a mixture
                    seen(group, by_name[group[0]].reshape(-1, by_name[group[0]].shape[-1]))
        finally:
            for handle in handles:
                handle.remove()

    def final(self) -> Iterator[torch.Tensor]:
        """What stands before the head: the activations after the last norm, batch by batch."""
        position = iter(range(0, len(self.hidden), self.batch))

        def seen(state: torch.Tensor, _args: Any, _kwargs: Any, index: int) -> torch.Tensor:
            if index < len(self) - 1:
                return state
            start = next(position)
            return self.hidden[start : start + state.shape[0]]

        for result in self._through_stubs(seen, self.tokens.split(self.batch)):
            yield result[0]


def _multiplies_bfloat16(device: str) -> bool:
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _same_input(seen: list[tuple[str, torch.Tensor]]) -> list[tuple[str, ...]]:
    groups: dict[tuple[int, tuple[int, ...]], list[str]] = {}
    for name, tensor in seen:
        groups.setdefault((tensor.data_ptr(), tuple(tensor.shape)), []).append(name)
    return [tuple(names) for names in groups.values()]


class BlockWork(Protocol):
    """A calibrated pass, seen from the stream: it changes the block in place and says what is to be stored."""

    def __call__(self, blocks: Blocks, block: nn.Module, index: int) -> BlockResult: ...


def go_through(blocks: Blocks, work: BlockWork, context: Context) -> list[tuple[Path, dict[str, Any]]]:
    """Do the work on every block, from the first that an earlier, interrupted run did not finish."""
    journal = Journal(context.scratch)
    done, activations = journal.resume(context)
    blocks.start(activations)
    gc.freeze()  # what the libraries brought need not be searched for garbage after every block
    try:
        for index in range(done, len(blocks)):
            _one_block(blocks, work, index, journal, context)
    finally:
        gc.unfreeze()
    return journal.shards()


def _one_block(blocks: Blocks, work: BlockWork, index: int, journal: Journal, context: Context) -> None:
    block = blocks.load(index)
    result = work(blocks, block, index)
    blocks.run(block, index)
    del block
    journal.add(index, result, blocks.activations())
    errors = [layer["relative_error"] for layer in result.report.values() if "relative_error" in layer]
    shown = {"relative_error": sum(errors) / len(errors)} if errors else {}
    context.progress(index + 1, len(blocks), **shown)
    del result
    release_memory()
