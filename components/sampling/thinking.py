"""What a reasoning model thinks and what it says after, kept apart by the markers that the model itself writes.

The paper's generator has no such part. Sampling is in two goes: the thinking, up to its end, with its own cap, and then
what is said, with its own. The second goes on from the very tokens of the first.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from components.dataflow.stage import seed_for
from components.sampling.engines import Engine, Request, Sample, SamplingConfig, StepsOf

Markers = tuple[str, str]  # how thinking opens, and how it closes

HARMONY = ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>")  # gpt-oss
KNOWN_MARKERS: tuple[Markers, ...] = (
    ("<think>", "</think>"),  # DeepSeek-R1, Qwen3, QwQ, and most others
    HARMONY,
    ("[THINK]", "[/THINK]"),  # Magistral
    ("◁think▷", "◁/think▷"),  # Kimi
    ("<seed:think>", "</seed:think>"),  # Seed-OSS
    ("<|begin_of_thought|>", "<|end_of_thought|>"),  # OpenThinker, Sky-T1
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
)
# Between the end of a message of gpt-oss and the channel of its next one.
_NEXT_MESSAGE = "<|end|><|start|>assistant"
_PROMPT_END = 16  # tokens of a prompt that are looked at for an opening


@dataclass(frozen=True)
class Parts:
    """A sample in its two parts. is_cut: the thinking was not at its end, so that nothing was said."""

    thinking: str
    text: str
    is_cut: bool


def markers_of(tokenizer: Any) -> Markers | None:
    """Return the markers of a model's thinking: those in its chat template or among its added tokens. None: it has
    none that is known.
    """
    template = str(getattr(tokenizer, "chat_template", None) or "")
    added = set(tokenizer.get_added_vocab())
    return next((each for each in KNOWN_MARKERS if each[1] in template or each[1] in added), None)


def parts(written: str, markers: Markers, opened: bool = False) -> Parts:
    r"""Part what a model wrote. opened: the prompt has opened the thinking already, as some chat templates do.

    A marker that closes what nothing opened closes all that stands before it. What stands between several thoughts is
    said. Where the last thought is not closed, all is thinking: nothing is said at its end.

    >>> parts("<think>\n7 + 5 = 12\n</think>\n\nIt is 12.", ("<think>", "</think>"))
    Parts(thinking='7 + 5 = 12', text='It is 12.', is_cut=False)
    """
    opens, closes = markers
    pieces: list[tuple[bool, str]] = []  # whether it is a thought, and what was written
    rest, inside = written, opened
    while rest:
        if not inside:
            before, open_found, after = rest.partition(opens)
            if closes in before:  # opened where it cannot be seen
                inside = True
                continue
            pieces.append((False, before))
            rest, inside = after, bool(open_found)
            continue
        thought, close_found, rest = rest.partition(closes)
        pieces.append((True, thought.replace(opens, "")))
        inside = not close_found
    if markers == HARMONY:
        pieces = [(is_thought, each) for is_thought, piece in pieces for each in _messages(piece)]
    thoughts = [stripped for is_thought, piece in pieces if (is_thought or inside) and (stripped := piece.strip())]
    said = [piece for is_thought, piece in pieces if not (is_thought or inside)]
    return Parts("\n\n".join(thoughts), "".join(said).strip(), is_cut=inside)


def _messages(thought: str) -> list[str]:
    """Return what messages of thinking, one after the other, have between them."""
    return [message.rpartition("<|message|>")[2] for message in thought.split(_NEXT_MESSAGE)]


@dataclass(frozen=True)
class Thought:
    """A sample of a model that thinks, in its parts; error: why there is none."""

    parts: Parts
    finish_reason: str
    num_tokens: int
    num_thinking_tokens: int
    error: str | None = None


class Thinker:
    """Samples in two goes by an engine: thinking, and what is said after it."""

    def __init__(self, engine: Engine, tokenizer: Any, config: SamplingConfig) -> None:
        opens, closes = config.thinking_markers
        self.engine, self.tokenizer, self.config = engine, tokenizer, config
        self.markers: Markers = (opens, closes)
        [self.close_ids] = tokenizer([closes], add_special_tokens=False)["input_ids"]

    def sample(self, requests: Sequence[Request], lock: Any) -> list[Thought]:
        """Sample one thought per request. lock: held where the tokenizer is used, which is not for threads."""
        most = max(self.config.max_thinking_tokens, self.config.max_tokens)  # of either part: which it is shows later
        ends = tuple(self.close_ids) if len(self.close_ids) == 1 else ()
        stops = () if ends else (self.markers[1],)
        first = self.engine.generate(
            [replace(one, max_tokens=most, ends=one.ends + ends, stops=stops) for one in requests]
        )
        with lock:
            opened = [self._opens(one.prompt_ids) for one in requests]
            thought = [self._through_close(sample.ids) for sample in first]
            thought = [ids if len(ids) <= self.config.max_thinking_tokens else [] for ids in thought]
        second = iter(
            self.engine.generate(
                [
                    replace(one, prompt_ids=one.prompt_ids + ids, seed=seed_for(one.seed, "text"))
                    for one, ids in zip(requests, thought, strict=True)
                    if ids
                ]
            )
        )
        with lock:
            return [
                self._whole(one, ids, next(second) if ids else sample, is_open)
                for one, sample, ids, is_open in zip(requests, first, thought, opened, strict=True)
            ]

    def _opens(self, prompt_ids: Sequence[int]) -> bool:
        """Return whether a prompt ends with the opening of the thinking."""
        return self._decode(prompt_ids[-_PROMPT_END:]).rstrip().endswith(self.markers[0])

    def _through_close(self, ids: list[int]) -> list[int]:
        """Return the tokens through the first one with which the thinking is closed; [] where nothing closes it."""
        if len(self.close_ids) == 1:
            [close] = self.close_ids
            return ids[: ids.index(close) + 1] if close in ids else []
        if self.markers[1] not in self._decode(ids):
            return []
        low, high = 1, len(ids)  # the least number of tokens whose text has it
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.markers[1] in self._decode(ids[:middle]) else (middle + 1, high)
        return ids[:low]

    def _whole(self, request: Request, thought: list[int], sample: Sample, opened: bool) -> Thought:
        """Put the two goes together. sample: the second, or the first where nothing closed a thinking in it."""
        if sample.error is not None:
            return Thought(Parts("", "", True), "error", 0, 0, sample.error)
        ids, finish_reason = [*thought, *sample.ids], sample.finish_reason
        found = self._parts(request, ids, opened)
        if not thought:  # it thinks to the end, or over the cap, or it does not think
            thinks = found.is_cut or bool(found.thinking)
            most = self.config.max_thinking_tokens if thinks else self.config.max_tokens
            if len(ids) > most:
                ids, finish_reason = ids[:most], "length"
                found = self._parts(request, ids, opened)
        thinking_tokens = len(thought) if thought else len(ids) * found.is_cut
        return Thought(found, finish_reason, len(ids), thinking_tokens)

    def _parts(self, request: Request, ids: list[int], opened: bool) -> Parts:
        written = ids[:-1] if ids and ids[-1] in request.ends else ids
        found = parts(self._decode(written), self.markers, opened)
        return replace(found, thinking=self._plain(found.thinking), text=self._plain(found.text))

    def _plain(self, text: str) -> str:
        """Return a text without the tokenizer's special tokens."""
        for token in self.tokenizer.all_special_tokens:
            text = text.replace(token, "")
        return text.strip()

    def _decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=False))


def steps_by(steps_of: StepsOf, thinking: str, text: str, cut: Callable[[str], list[str]]) -> list[str]:
    """Return the steps of what is said, of what is thought, or of both in turn."""
    wanted = {"text": [text], "thinking": [thinking], "both": [thinking, text]}[steps_of]
    return list(itertools.chain.from_iterable(cut(part) for part in wanted))
