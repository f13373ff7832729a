"""The engine transformers, for where vLLM is not installed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from components.models.model_folder import open_model
from components.sampling.engines import Request, Sample, SamplingConfig

if TYPE_CHECKING:
    from torch import Tensor


class TransformersEngine:
    """The engine for where vLLM is not installed: slower, and other samples for the same seeds."""

    def __init__(self, folder: Path, config: SamplingConfig) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        if config.regex:
            raise ValueError("the engine transformers cannot hold samples to a regular expression; use vllm")
        self.config = config
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = open_model(AutoModelForCausalLM, folder, dtype=getattr(torch, config.dtype))
        self.model = model.to(self.device)
        self.model.eval()

    def generate(self, requests: Sequence[Request], batch_size: int = 128) -> list[Sample]:
        # Prompts of one length need no padding, and so no position is ever shifted.
        """Sample one continuation per request, at most `batch_size` at a time."""
        order = sorted(range(len(requests)), key=lambda i: len(requests[i].prompt_ids))
        samples: dict[int, Sample] = {}
        while order:
            length = len(requests[order[0]].prompt_ids)
            batch = [i for i in order[:batch_size] if len(requests[i].prompt_ids) == length]
            order = order[len(batch) :]
            samples |= zip(batch, self._batch([requests[i] for i in batch]), strict=True)
        return [samples[i] for i in range(len(requests))]

    def _probabilities(self, logits_BV: Tensor, written: Sequence[Sequence[int]]) -> Tensor:
        """Return the probabilities of next tokens: of those alone that top_k, min_p and top_p leave.

        written: of each sample its prompt and what it has so far, whose tokens the repetition penalty is for.
        """
        scaled_BV = self._narrowed(logits_BV, written).softmax(-1)
        if self.config.top_p == 1:
            return scaled_BV
        ordered_BV, tokens_BV = scaled_BV.sort(stable=True, dim=-1, descending=True)
        before_BV = ordered_BV.cumsum(-1) - ordered_BV
        return scaled_BV.scatter(-1, tokens_BV, ordered_BV.masked_fill(before_BV >= self.config.top_p, 0))

    def _narrowed(self, logits_BV: Tensor, written: Sequence[Sequence[int]]) -> Tensor:
        """Return logits over the temperature (0: the likeliest), those of tokens that are out of the question at −∞."""
        import torch
        from transformers import MinPLogitsWarper, RepetitionPenaltyLogitsProcessor, TopKLogitsWarper

        if self.config.repetition_penalty != 1:
            penalise = RepetitionPenaltyLogitsProcessor(self.config.repetition_penalty)
            rows = [penalise(torch.tensor([ids]), row[None]) for ids, row in zip(written, logits_BV, strict=True)]
            logits_BV = torch.cat(rows)
        logits_BV = logits_BV / max(self.config.temperature, 1e-6)
        narrowed: Any = logits_BV
        if self.config.min_p:
            narrowed = MinPLogitsWarper(self.config.min_p)(cast(Any, None), narrowed)
        if self.config.top_k:
            narrowed = TopKLogitsWarper(self.config.top_k)(cast(Any, None), narrowed)
        return cast("Tensor", narrowed)

    def _batch(self, requests: list[Request]) -> list[Sample]:
        import torch

        end = self.model.generation_config.eos_token_id
        ends = set(end if isinstance(end, list) else [end]).union(*(request.ends for request in requests))
        generators = [torch.Generator().manual_seed(request.seed) for request in requests]
        written: list[list[int]] = [[] for _ in requests]
        ids_BT = torch.tensor([request.prompt_ids for request in requests], device=self.device)
        caps = [request.max_tokens or self.config.max_tokens for request in requests]

        def ended(row: int) -> bool:
            return bool(written[row]) and (written[row][-1] in ends or len(written[row]) >= caps[row])

        cache = None
        with torch.inference_mode():
            for _ in range(max(caps)):
                output = self.model(input_ids=ids_BT, past_key_values=cache, use_cache=True)
                cache = output.past_key_values
                logits_BV = output.logits[:, -1].float().cpu()
                so_far = [[*one.prompt_ids, *ids] for one, ids in zip(requests, written, strict=True)]
                scaled_BV = self._probabilities(logits_BV, so_far)
                chosen = []
                for row, generator in enumerate(generators):
                    token = int(torch.multinomial(scaled_BV[row], 1, generator=generator))
                    if not ended(row):
                        written[row].append(token)
                    chosen.append([token])
                if all(map(ended, range(len(requests)))):
                    break
                ids_BT = torch.tensor(chosen, device=self.device)
        return [Sample(ids, "stop" if ids[-1] in ends else "length") for ids in written]
