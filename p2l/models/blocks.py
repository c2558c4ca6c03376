"""The transformer blocks of a backbone, which are compiled, sharded and checkpointed one by one."""

from typing import Literal

from torch import nn

CompileBackend = Literal["inductor", "aot_eager", "eager"]


def transformer_blocks(backbone: nn.Module) -> list[nn.Module]:
    """Return the layers of a backbone, in order: its longest ModuleList; empty if it has none."""
    lists = [list(module) for module in backbone.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=len, default=[])


def compile_blocks(backbone: nn.Module, backend: CompileBackend = "inductor") -> None:
    """Compile each block in place, at its first call; one program serves all equal blocks and all lengths.

    The whole backbone is not compiled: its mask depends on the batch, and one block compiles in a fraction of the time.
    The state dict keeps its keys, and blocks can be sharded and checkpointed as before.
    """
    for block in transformer_blocks(backbone):
        block.compile(dynamic=True, backend=backend)
