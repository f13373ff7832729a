"""Rendering of problems and solutions by a style: token ids, and the positions at which the model is read.

One forward pass over the ids gives what each style's own scoring code gives. A solution that would be read at other
positions than the ends of its steps is refused, where the originals return scores that belong to no step.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from components.models.chat_template import apply_chat_template
from components.verifiers.style import Style

_SPECIAL = ("bos_token", "eos_token", "pad_token")


@dataclass(frozen=True)
class StyledText:
    """Token ids of a solution as a style lays it out.

    read_at: indices into ids, one per step, or one for an outcome style, two for a gated head: where the problem ends
    and the last token. answer_start: index of the first token whose
    log-ratio counts; 0 for styles that read no log-ratio.
    """

    ids: list[int]
    read_at: list[int]
    answer_start: int = 0


def render_styled(
    style: Style,
    tokenizer: Any,
    problem: str,
    steps: Sequence[str],
    text: str | None = None,
    padding_id: int | None = None,
) -> StyledText:
    """Render a problem and its solution as `style` lays them out.

    text: the solution as written, which an outcome style reads if it is not empty. padding_id: pad_token_id of the
    model's config. Raises ValueError for a solution that the style cannot hold.
    """
    form = style.rendering
    if style.kind == "outcome":
        steps = [text or form.between_steps.join(steps)]
    if not steps or (style.kind == "outcome" and not steps[0]):
        raise ValueError("a solution without steps has no position at which a score is read")
    if form.form != "apart":
        _refuse_control_tokens(tokenizer, problem, steps)
    if form.strip_problem:
        problem = problem.strip()
    question = special_tokens_filled(form.problem, tokenizer).replace("{problem}", problem)
    answers = _step_texts(style, steps)
    render = {"apart": _apart, "text": _text, "chat": _chat, "turns": _turns}[form.form]
    rendered = render(style, tokenizer, question, answers)
    if style.reading.skip_padding and padding_id is not None:
        kept = [index for index, token in enumerate(rendered.ids) if token != padding_id]
        if not kept:
            raise ValueError("the solution is padding alone")
        rendered = StyledText(rendered.ids, kept[-1:])
    if style.reading.gate:
        if padding_id in rendered.ids:
            raise ValueError("the solution holds the model's padding token, before which its authors' code reads")
        rendered = StyledText(
            rendered.ids, [_last_place(style.reading.gate, rendered.ids, tokenizer), *rendered.read_at]
        )
    read_at = [index + style.reading.shift for index in rendered.read_at]
    if min(read_at) < 0:
        raise ValueError("a score would be read before the first token")
    return StyledText(rendered.ids, read_at, rendered.answer_start)


def one_token(tokenizer: Any, text: str) -> int:
    """Return the id of a text that is one token. Raises ValueError for a text that is not, or is unknown."""
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    if len(ids) != 1 or ids[0] == tokenizer.unk_token_id:
        raise ValueError(f"{text!r} is not one known token")
    return ids[0]


def special_tokens_filled(template: str, tokenizer: Any) -> str:
    """Return a style's template with the tokenizer's own special tokens in it. Raises ValueError for a missing one."""
    for name in _SPECIAL:
        if f"{{{name}}}" in template:
            token = getattr(tokenizer, name)
            if token is None:
                raise ValueError(f"the tokenizer has no {name}, which the style writes")
            template = template.replace(f"{{{name}}}", token)
    return template


def _step_texts(style: Style, steps: Sequence[str]) -> list[str]:
    """Return the steps, stripped and numbered as the style says."""
    form = style.rendering
    numbered = re.compile(re.escape(form.number.strip()).replace(re.escape("{number}"), r"\d+"))
    texts = []
    for number, step in enumerate(steps, 1):
        text = step.strip() if form.strip_steps else step
        if form.number and style.kind == "process" and not numbered.match(text):
            text = form.number.replace("{number}", str(number)) + text
            text = text.strip() if form.strip_steps else text
        texts.append(text)
    return texts


def _apart(style: Style, tokenizer: Any, question: str, steps: Sequence[str]) -> StyledText:
    """Tokenise the problem, the steps and what follows each by themselves, without special tokens."""
    after = special_tokens_filled(style.rendering.after_step, tokenizer)
    parts = [step.split(after) if style.rendering.split_steps else [step] for step in steps]
    flat = [part for pieces in parts for part in pieces]
    prompt, separator, *encoded = tokenizer([question, after, *flat], add_special_tokens=False)["input_ids"]
    begins = style.rendering.special_tokens == "bos" and tokenizer.bos_token_id is not None
    ids = [tokenizer.bos_token_id, *prompt] if begins else list(prompt)
    read_at, remaining = [], iter(encoded)
    for pieces in parts:
        for _ in pieces:
            ids += next(remaining) + separator
        read_at.append(len(ids) - 1)
    return StyledText(ids, read_at)


def _text(style: Style, tokenizer: Any, question: str, steps: Sequence[str]) -> StyledText:
    """Tokenise problem and steps as one text."""
    form = style.rendering
    after = special_tokens_filled(form.after_step, tokenizer)
    text = question + form.between_steps.join(step + after for step in steps)
    ids = _encode(style, tokenizer, text)
    if style.reading.at == "tag":
        return StyledText(ids, _tags(ids, style.reading.tag, tokenizer, len(steps)))
    if style.reading.at == "end":
        return StyledText(ids, [len(ids) - 1])
    removed: int = tokenizer.encode(special_tokens_filled(form.removed_token, tokenizer))[-1]
    first = int(ids[0] == tokenizer.bos_token_id)  # which is kept, also if it is the token that is taken out
    places = [index for index, token in enumerate(ids) if token == removed and index >= first]
    if len(places) != len(steps) + 1:
        raise ValueError(f"{len(steps)} steps, but {len(places)} separators: one ends the problem, and one each step")
    kept = [token for index, token in enumerate(ids) if token != removed or index < first]
    return StyledText(kept, [place - 1 - number for number, place in enumerate(places)][1:])


def _chat(style: Style, tokenizer: Any, question: str, steps: Sequence[str]) -> StyledText:
    """Render a chat of system, problem and an answer."""
    form = style.rendering
    after = special_tokens_filled(form.after_step, tokenizer)

    def chat(count: int) -> str:
        turns = [{"role": "system", "content": form.system}] if form.system else []
        answer = form.between_steps.join(step + after for step in steps[:count])
        turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        return str(apply_chat_template(tokenizer, turns, tokenize=False))

    ids = _encode(style, tokenizer, chat(len(steps)))
    if style.reading.at == "tag":
        return StyledText(ids, _tags(ids, style.reading.tag, tokenizer, len(steps)))
    if style.reading.at == "end":
        return StyledText(ids, [len(ids) - 1])
    lengths = []
    for count in range(len(steps) + 1):
        closed = chat(count).strip() + (form.between_steps if 0 < count < len(steps) else "")
        lengths.append(len(_encode(style, tokenizer, closed)))
    read_at = [length - 1 for length in lengths[1:]]
    if read_at != sorted(set(read_at)) or read_at[-1] >= len(ids):
        raise ValueError("a step without text has no position at which a score is read")
    return StyledText(ids, read_at, lengths[0] - 2)  # one before the answer's first token: the original sums from there


def _turns(style: Style, tokenizer: Any, question: str, steps: Sequence[str]) -> StyledText:
    """Render a chat: the user says problem and first step, then step by step; the assistant replies to each.

    A score is read where the reply is predicted, the third last position of the chat so far. The originals score each
    chat so far by itself. Attention is causal, so one pass over the longest gives the same numbers as long as the
    others are its prefixes, which is a matter of the chat template, and checked.
    """
    reply = style.rendering.reply
    turns: list[dict[str, str]] = []
    so_far = []
    for number, step in enumerate(steps):
        said = step if number else question + step
        turns += [{"role": "user", "content": said}, {"role": "assistant", "content": reply}]
        so_far.append(str(apply_chat_template(tokenizer, turns, tokenize=False)))
    encoded = [_encode(style, tokenizer, text) for text in so_far]
    replied = one_token(tokenizer, reply)
    for ids in encoded:
        if encoded[-1][: len(ids)] != ids:
            raise ValueError("the chat template changes earlier turns as a conversation goes on: no single pass")
        if ids[-2] != replied:
            raise ValueError(
                f"the chat template does not end in {reply} and one closing token: no position at which to read"
            )
    return StyledText(encoded[-1], [len(ids) - 3 for ids in encoded])


def _encode(style: Style, tokenizer: Any, text: str) -> list[int]:
    special = style.rendering.special_tokens
    if special == "once" and tokenizer.bos_token:
        text = text.removeprefix(tokenizer.bos_token)
    ids: list[int] = tokenizer(text, add_special_tokens=special in ("tokenizer", "once"))["input_ids"]
    return ids


def _refuse_control_tokens(tokenizer: Any, problem: str, steps: Sequence[str]) -> None:
    """Refuse a text that spells a control token, e.g. <|eot_id|>: it would open turns, and give answers of its own."""
    control = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    for number, text in enumerate([problem, *steps]):
        for token in control:
            if token in text:
                raise ValueError(f"{f'step {number}' if number else 'the problem'} holds the control token {token!r}")


def _last_place(text: str, ids: list[int], tokenizer: Any) -> int:
    """Return where the tokens of a text begin in ids, for the last time. Raises ValueError where they are not."""
    wanted: list[int] = tokenizer.encode(text, add_special_tokens=False)
    for place in range(len(ids) - len(wanted), -1, -1):
        if ids[place : place + len(wanted)] == wanted:
            return place
    raise ValueError(f"the chat has no {text!r}, where the gate reads the problem")


def _tags(ids: list[int], tag: str, tokenizer: Any, count: int) -> list[int]:
    """Return the positions of a tag, which are the ends of `count` steps. Raises ValueError for another number of
    them."""
    wanted = one_token(tokenizer, tag)
    positions = [position for position, token in enumerate(ids) if token == wanted]
    if len(positions) != count:
        raise ValueError(f"{count} steps, but {len(positions)} tags {tag!r}: the text holds one, or swallows one")
    return positions
