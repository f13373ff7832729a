"""Attention within a row of many packed trees (see `prefix_tree.py`), under any Hugging Face decoder.

Every linear layer runs over real tokens alone: nothing is padded but attention itself. On a GPU a row is one call of
flex attention, whose block mask skips what cannot be seen. Elsewhere trees of like size are one call of PyTorch's own
kernel, causal where a tree is a single sequence; of rows that are only read, long trees are cut into blocks
(`tree_blocks.py`). All are equal to rounding, and equal to one sequence at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from components.training.prefix_tree import Ints, PrefixTree
from components.training.tree_blocks import BLOCK, blocks_of, padded

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

_PADDED_SHARE = 1.3  # trees share an attention call while its area is at most so many times that of the trees
_FLEX_BLOCK = 128


@dataclass(frozen=True)
class Group:
    """Trees, or blocks of them, that share one attention call: T of them, of Q queries and K keys each. mask_T1QK: what
    is added to the scores; None where plain causal attention will do."""

    trees: int
    queries: int
    keys: int
    mask_T1QK: Tensor | None


@dataclass(frozen=True)
class PackedRow:
    """One row of N tokens. ids_1N, positions_1N; and either `block_mask`, for flex attention, or `groups`.

    take_P: for every slot of the groups, laid end to end, the token that stands there (any token in a padding slot).
    take_keys: the same of keys and values, where they have slots of their own. place_N: for every token its slot.
    until_N: of `block_mask`, which is made of it. copies: by device, of `to`.
    """

    ids_1N: Tensor
    positions_1N: Tensor
    block_mask: BlockMask | None
    groups: tuple[Group, ...]
    take_P: Tensor
    place_N: Tensor
    take_keys: Tensor | None = None
    until_N: Ints | None = None
    copies: dict[torch.device, PackedRow] = field(default_factory=dict, compare=False)

    def to(self, device: torch.device) -> PackedRow:
        """Return the row on a device; one copy for each, however many layers ask for it."""
        if device == self.take_P.device:
            return self
        if device not in self.copies:
            masks = (
                replace(each, mask_T1QK=None if each.mask_T1QK is None else each.mask_T1QK.to(device))
                for each in self.groups
            )
            parts = (part.to(device) for part in (self.ids_1N, self.positions_1N, self.take_P, self.place_N))
            ids_1N, positions_1N, take_P, place_N = parts
            take_keys = None if self.take_keys is None else self.take_keys.to(device)
            block_mask = None if self.until_N is None else _block_mask(self.until_N, device)
            self.copies[device] = PackedRow(ids_1N, positions_1N, block_mask, tuple(masks), take_P, place_N, take_keys)
        return self.copies[device]


def pack(
    trees: Sequence[PrefixTree], device: torch.device, flex: bool | None = None, in_blocks: bool = False
) -> PackedRow:
    """Pack trees into a row, in the order given.

    flex: which kernel; None: flex attention on a GPU. in_blocks: of another kernel, cut long trees (`tree_blocks.py`):
    much less work, for reading alone.
    """
    flex = device.type == "cuda" if flex is None else flex
    ids = np.concatenate([tree.ids for tree in trees]).astype(np.int64)
    positions = np.concatenate([tree.positions for tree in trees]).astype(np.int64)
    sizes = np.array([len(tree) for tree in trees])
    starts = np.cumsum(sizes) - sizes
    if flex:
        until = np.concatenate([tree.until + start for tree, start in zip(trees, starts, strict=True)])
        return _flex_row(ids, positions, until, device)
    if in_blocks and sizes.max() > BLOCK and any(bool((tree.until < len(tree)).any()) for tree in trees):
        return _row_of_blocks(ids, positions, trees, device)
    take, place, groups, filled = [], np.empty(len(ids), dtype=np.int64), [], 0
    for members in _alike(sizes):
        width = int(sizes[members].max())
        slots = np.zeros((len(members), width), dtype=np.int64)
        for row, index in enumerate(members):
            tokens = np.arange(starts[index], starts[index] + sizes[index])
            slots[row, : sizes[index]] = tokens
            place[tokens] = filled + row * width + np.arange(sizes[index])
        take.append(slots.ravel())
        groups.append(Group(len(members), width, width, _mask([trees[i].until for i in members], width, device)))
        filled += slots.size
    tensors = (
        torch.from_numpy(array).to(device) for array in (ids[None], positions[None], np.concatenate(take), place)
    )
    ids_1N, positions_1N, take_P, place_N = tensors
    return PackedRow(ids_1N, positions_1N, None, tuple(groups), take_P, place_N)


def _row_of_blocks(
    ids: np.ndarray, positions: np.ndarray, trees: Sequence[PrefixTree], device: torch.device
) -> PackedRow:
    """Return a row whose attention is in blocks of its trees."""
    take, take_keys, place, groups, filled = [], [], np.empty(len(ids), dtype=np.int64), [], 0
    blocks, until = blocks_of(trees)
    for members in blocks:
        queries_TQ, keys_TK, mask = padded(members, until)
        for row, block in enumerate(members):
            place[block.queries] = filled + row * queries_TQ.shape[1] + np.arange(len(block.queries))
        take.append(queries_TQ.ravel())
        take_keys.append(keys_TK.ravel())
        groups.append(Group(len(members), queries_TQ.shape[1], keys_TK.shape[1], mask.to(device)))
        filled += queries_TQ.size
    arrays = ids[None], positions[None], np.concatenate(take), place, np.concatenate(take_keys)
    ids_1N, positions_1N, take_P, place_N, keys = (torch.from_numpy(array).to(device) for array in arrays)
    return PackedRow(ids_1N, positions_1N, None, tuple(groups), take_P, place_N, keys)


def _alike(sizes: np.ndarray) -> list[list[int]]:
    """Return indices of trees, grouped so that padding to each group's longest costs little."""
    groups: list[list[int]] = []
    area = 0
    for index in np.argsort(-sizes, kind="stable").tolist():
        size = int(sizes[index])
        if groups:
            padded = (len(groups[-1]) + 1) * int(sizes[groups[-1][0]]) ** 2
            if padded <= _PADDED_SHARE * (area + size**2):
                groups[-1].append(index)
                area += size**2
                continue
        groups.append([index])
        area = size**2
    return groups


def _mask(untils: Sequence[Ints], width: int, device: torch.device) -> Tensor | None:
    """Return 0 where a token sees another and −∞ elsewhere, shape (trees, 1, width, width); None where every tree is a
    single sequence.

    A mask of booleans gives the same, and PyTorch makes this of it again in every layer.
    """
    if all(bool((until == len(until)).all()) for until in untils):
        return None
    until_TW = np.full((len(untils), width), width)
    for row, until in enumerate(untils):
        until_TW[row, : len(until)] = until
    places = torch.arange(width, device=device)
    until_T11W = torch.from_numpy(until_TW).to(device)[:, None, None, :]
    sees_T1WW = (places[None, :] <= places[:, None]) & (places[:, None] < until_T11W)
    return torch.zeros(sees_T1WW.shape, device=device).masked_fill_(~sees_T1WW, -torch.inf)


def _flex_row(ids: np.ndarray, positions: np.ndarray, until: np.ndarray, device: torch.device) -> PackedRow:
    """Return a row filled up to whole blocks with tokens that see themselves alone."""
    length = len(ids)
    filling = -length % _FLEX_BLOCK
    until = np.concatenate([until, np.arange(length + 1, length + filling + 1)]).astype(np.int64)
    ids_1N = torch.from_numpy(np.pad(ids, (0, filling))[None]).to(device)
    positions_1N = torch.from_numpy(np.pad(positions, (0, filling))[None]).to(device)
    nowhere = torch.empty(0, dtype=torch.long, device=device)
    return PackedRow(ids_1N, positions_1N, _block_mask(until, device), (), nowhere, nowhere, until_N=until)


def _block_mask(until: np.ndarray, device: torch.device) -> BlockMask:
    """Return which blocks of tokens see all, some or none of each other.

    `create_block_mask` finds the same by trying all N² pairs.
    """
    from torch.nn.attention.flex_attention import BlockMask  # imported where it runs: it brings a compiler

    until_N = torch.from_numpy(until).to(device)

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (query < until_N[key])

    until_BK = until.reshape(-1, _FLEX_BLOCK)  # of the keys in each block
    count = len(until_BK)
    first_B1 = (np.arange(count) * _FLEX_BLOCK)[:, None]  # query of each block
    earlier_BB = np.tri(count, k=-1, dtype=bool)
    full_BB = earlier_BB & (until_BK.min(1) >= first_B1 + _FLEX_BLOCK)
    some_BB = np.eye(count, dtype=bool) | (earlier_BB & (until_BK.max(1) > first_B1) & ~full_BB)

    def ordered(seen_BB: np.ndarray) -> tuple[Tensor, Tensor]:
        order_BB = np.argsort(~seen_BB, axis=1, kind="stable")
        arrays = seen_BB.sum(1), order_BB
        numbers, indices = (torch.from_numpy(array.astype(np.int32)[None, None]).to(device) for array in arrays)
        return numbers, indices

    return BlockMask.from_kv_blocks(*ordered(some_BB), *ordered(full_BB), _FLEX_BLOCK, sees)


class _Take(torch.autograd.Function):
    """Rows of a tensor by index, with the gradient copied to where each row came from.

    Every row is taken once but in padding slots, which nobody reads, so nothing has to be added up.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, take: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(place)
        return rows.index_select(0, take)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (place,) = ctx.saved_tensors
        return gradients[0].index_select(0, place), None, None


class _Return(torch.autograd.Function):
    """Rows of tokens out of slots, the inverse of _Take; padding slots get no gradient."""

    @staticmethod
    def forward(ctx: Any, slots: Tensor, place: Tensor) -> Tensor:
        ctx.save_for_backward(place)
        ctx.slots = len(slots)
        return slots.index_select(0, place)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (place,) = ctx.saved_tensors
        padded = gradients[0].new_zeros(ctx.slots, *gradients[0].shape[1:])
        return padded.index_copy_(0, place, gradients[0]), None


def rows_at(rows: Tensor, places: Tensor) -> Tensor:
    """Return the rows of a tensor at places, none twice, with a gradient that is a copy."""
    return _Return.apply(rows, places)


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    packed: PackedRow | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Compute attention by Hugging Face's interface.

    query (1, heads, N, size), key and value (1, kv heads, N, size) → (1, N, heads, size). Raises ValueError for what it
    does not compute.
    """
    if packed is None:
        raise ValueError("packed attention needs packed=PackedRow")
    for name in ("softcap", "s_aux", "position_bias"):
        if options.get(name) is not None:
            raise ValueError(f"packed attention has no {name}")
    if packed.block_mask is not None:
        from transformers.integrations.flex_attention import flex_attention_forward

        output, _ = flex_attention_forward(module, query, key, value, packed.block_mask, scaling=scaling)
        return output, None
    query_NHD, key_NHD, value_NHD = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    queries = _Take.apply(query_NHD, packed.take_P, packed.place_N)
    if packed.take_keys is None:
        keys, values = (_Take.apply(rows, packed.take_P, packed.place_N) for rows in (key_NHD, value_NHD))
    else:
        keys, values = (rows.index_select(0, packed.take_keys) for rows in (key_NHD, value_NHD))
    outputs, start, start_of_keys = [], 0, 0
    for group in packed.groups:
        end, end_of_keys = start + group.trees * group.queries, start_of_keys + group.trees * group.keys
        query_TQHD = queries[start:end].unflatten(0, (group.trees, group.queries))
        key_TKHD, value_TKHD = (
            part[start_of_keys:end_of_keys].unflatten(0, (group.trees, group.keys)) for part in (keys, values)
        )
        output_THQD = nn.functional.scaled_dot_product_attention(
            query_TQHD.transpose(1, 2),
            key_TKHD.transpose(1, 2),
            value_TKHD.transpose(1, 2),
            attn_mask=None if group.mask_T1QK is None else group.mask_T1QK.to(query.dtype),
            is_causal=group.mask_T1QK is None,
            scale=scaling,
            enable_gqa=query.shape[1] != key.shape[1],
        )
        outputs.append(output_THQD.transpose(1, 2).flatten(0, 1))
        start, start_of_keys = end, end_of_keys
    output_PHD = torch.cat(outputs) if len(outputs) > 1 else outputs[0]
    return _Return.apply(output_PHD, packed.place_N)[None], None


def use_packed_attention(model: Any, max_tokens: int) -> None:
    """Make a Hugging Face decoder compute packed rows: `model(input_ids=…, position_ids=…, packed=PackedRow)`.

    max_tokens: of the longest sequence, which no sliding window may cut. Raises ValueError for an architecture whose
    attention this is not.
    """
    config = model.config.get_text_config()
    if not getattr(model, "_supports_attention_backend", False):
        raise ValueError(f"{config.model_type}: this architecture takes no attention but its own")
    if getattr(config, "attention_dropout", 0.0):
        raise ValueError(f"{config.model_type}: attention dropout {config.attention_dropout}; set it to 0")
    sliding = set(getattr(config, "layer_types", None) or []) - {"full_attention"}
    window = getattr(config, "sliding_window", None)
    if sliding - {"sliding_attention"} or (window is not None and window < max_tokens):
        raise ValueError(
            f"{config.model_type}: layers see {window} tokens ({', '.join(sorted(sliding)) or 'sliding window'}), "
            f"fewer than the {max_tokens} of a solution; only full causal attention can be packed"
        )
    model.set_attn_implementation(_NAME)


_NAME = "packed"
AttentionInterface.register(_NAME, packed_attention)
