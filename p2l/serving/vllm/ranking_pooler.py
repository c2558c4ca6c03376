"""The head of a P2L checkpoint as a pooler of vLLM."""

from collections.abc import Set

import torch
from torch import Tensor
from vllm.model_executor.layers.pooler import PoolingParamsUpdate
from vllm.model_executor.layers.pooler.abstract import Pooler
from vllm.tasks import PoolingTask
from vllm.v1.pool.metadata import PoolingMetadata

from p2l.heads import RankingHead


class RankingPooler(Pooler):
    """Maps the hidden state of each prompt's last token to its coefficients, eta, costs and state, as far as there are.

    The pooled vector of a prompt is float32: one coefficient per model, then eta, then one cost per model, then the
    state that the posterior reads. It is NaN for a prompt that does not end in the CLS token, such as a text that vLLM
    tokenised itself: its hidden state is not what the head was trained on. The task is "embed"; the vector is never
    normalised.
    """

    def __init__(self, head: RankingHead, cls_token_id: int) -> None:
        super().__init__()
        self.head, self._cls_token_id = head, cls_token_id

    def get_supported_tasks(self) -> Set[PoolingTask]:
        return {"embed"}

    def get_pooling_updates(self, task: PoolingTask) -> PoolingParamsUpdate:
        return PoolingParamsUpdate(requires_token_ids=True)

    def forward(self, hidden_states: Tensor, pooling_metadata: PoolingMetadata) -> Tensor:
        last = pooling_metadata.get_pooling_cursor().last_token_indices_gpu
        ranking = self.head(hidden_states[last])
        eta = [] if ranking.eta is None else [ranking.eta[:, None]]
        more = [part for part in (ranking.costs, ranking.states) if part is not None]
        vectors = torch.cat([ranking.coefs, *eta, *more], dim=1)
        last_ids = [int(ids[-1]) for ids in pooling_metadata.get_prompt_token_ids_cpu()]
        wrong = [i for i, last_id in enumerate(last_ids) if last_id != self._cls_token_id]
        if wrong:
            vectors[wrong] = torch.nan
        return vectors
