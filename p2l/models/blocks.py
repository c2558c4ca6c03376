"""The transformer blocks of a backbone: what is compiled, sharded and checkpointed one by one."""

from typing import Literal

from torch import nn

CompileBackend = Literal["inductor", "aot_eager", "eager"]


def transformer_blocks(backbone: nn.Module) -> list[nn.Module]:
    """The layers of a backbone, in order: its longest ModuleList; none if it has no list of layers."""
    lists = [list(module) for module in backbone.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=len, default=[])


def compile_blocks(backbone: nn.Module, backend: CompileBackend = "inductor") -> None:
    """Compile each block in place, at its first call; one program serves all blocks that are alike, and all lengths.

    Not the whole backbone: how its mask is made depends on the batch, and one block compiles in a fraction of the time.
    The state dict keeps its keys, and blocks can be sharded and checkpointed as before.
    """
    for block in transformer_blocks(backbone):
        block.compile(dynamic=True, backend=backend)
