"""Styles of verifiers, as data: how a solution is laid out for a model, where it is read, and what is read there.

Each style is a TOML file, ours in the folder `styles`; a user's own works like ours (docs/verifiers.md).

    >>> read_style("trl").rendering.after_step
    '\\n'
"""

from __future__ import annotations

import functools
import json
import re
import tomllib
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import NonPositiveInt, PositiveFloat, TypeAdapter, ValidationError

from components.dataflow.stage import field_added_later
from schemas.settings import settings

OURS: Final = "stepverify"  # models trained here; their convention is in their config, and no file
_FOLDER = Path(__file__).parent / "styles"
BUILTIN: Final = tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))

Class = Literal["negative", "neutral", "positive"]
_TOKENS = ("{bos_token}", "{eos_token}", "{pad_token}")
CLASSES: Final[tuple[Class, ...]] = ("negative", "neutral", "positive")


@settings
class FolderRules:
    """What the folder of a model of the style must have."""

    architectures: tuple[str, ...]  # patterns (* and ?), one of which fits the first of config.json's architectures
    model_types: tuple[str, ...] = ()  # model_type of config.json; (): any
    one_token: tuple[str, ...] = ()  # texts that the vocabulary has as one token each
    adds_bos: bool = False  # the tokenizer puts its begin-of-text token before a text

    def __post_init__(self) -> None:
        if not self.architectures:
            raise ValueError("architectures: at least one pattern")


@settings
class Rendering:
    """How a problem and a solution become token ids.

    form: apart: problem, steps and `after_step` are tokenised by themselves; text: one text; chat: a chat of system,
    user and assistant by the folder's chat template; turns: a chat in which the user says the steps one by one, and
    the assistant answers `reply` to each. In `problem` and `after_step`, {bos_token}, {eos_token} and {pad_token} stand
    for the tokenizer's.
    """

    form: Literal["apart", "text", "chat", "turns"]
    problem: str = "{problem}"
    system: str = ""  # "": no turn of the system
    number: str = ""  # before a step that does not begin so by itself, e.g. "Step {number}: "
    after_step: str = ""  # after every step
    between_steps: str = ""  # between two steps; an outcome style joins the steps of a solution without a text by it
    reply: str = ""  # of the assistant, in turns
    strip_problem: bool = False  # of white space
    strip_steps: bool = False
    split_steps: bool = False  # apart: tokenise a step that holds `after_step` in parts, as if it were several steps
    removed_token: str = ""  # taken out of the ids after tokenising, but for the first token
    # none: of the tokenizer's own special tokens none is added; bos: its begin-of-text token, if it has one, as first;
    # tokenizer: what it adds by itself; once: so, and a begin-of-text token that the chat template wrote is dropped
    special_tokens: Literal["none", "bos", "tokenizer", "once"] = "none"

    def __post_init__(self) -> None:
        if "{problem}" not in self.problem:
            raise ValueError("problem: {problem} is missing")
        for name in ("problem", "after_step", "removed_token", "system", "number", "between_steps", "reply"):
            fillable = _TOKENS if name in ("problem", "after_step", "removed_token") else ()
            for text in re.findall(r"\{\w+_token\}", getattr(self, name)):
                if text not in fillable:
                    where = f"{', '.join(_TOKENS)} are filled in, in problem, after_step and removed_token"
                    raise ValueError(f"{name}: {text} would stand as it is; {where}")
        if self.number and "{number}" not in self.number:
            raise ValueError("number: {number} is missing")
        if (self.form == "turns") != bool(self.reply):
            raise ValueError("reply: the form turns has one, and no other form has")
        if self.special_tokens == "bos" and self.form != "apart":
            raise ValueError("special_tokens: bos is for the form apart")
        if self.form == "apart" and self.special_tokens in ("tokenizer", "once"):
            raise ValueError("special_tokens: none or bos, where the parts are tokenised apart")
        if self.split_steps and not (self.form == "apart" and self.after_step):
            raise ValueError("split_steps: for the form apart with an after_step")
        if self.system and self.form != "chat":
            raise ValueError("system: for the form chat")
        if self.removed_token and self.form != "text":
            raise ValueError("removed_token: for the form text")


@settings
class ReadingPlace:
    """Where a score is read, one position per step, or one per solution of an outcome style.

    at: separator: the last token of `after_step`, in the form apart; tag: each token `tag`, one per step, in text and
    chat; removed: the token before each removed one, the first of which ends the problem; reply: where the assistant's
    reply is predicted; closed_prefix: in a chat, the last token of the chat that ends with the step, its end stripped,
    with `between_steps` behind it (EurusPRM); end: the last token.
    """

    at: Literal["separator", "tag", "removed", "reply", "closed_prefix", "end"]
    tag: str = ""
    shift: NonPositiveInt = 0  # tokens before that place
    skip_padding: bool = False  # end: pass by tokens that are config.json's pad_token_id, as transformers' classes do
    # In a chat, the text of tokens between problem and solution, at the first of which a gated head reads the problem.
    gate: str = field_added_later("", value_before="")

    def __post_init__(self) -> None:
        if (self.at == "tag") != bool(self.tag):
            raise ValueError("tag: a style that is read at a tag has one, and no other has")
        if self.skip_padding and self.at != "end":
            raise ValueError('skip_padding: for at = "end"')
        if self.gate and (self.at != "end" or self.shift or self.skip_padding):
            raise ValueError('gate: for at = "end", without shift and skip_padding')


@settings
class Head:
    """What is read there.

    output: classes: the softmax of a classifier's outputs, one per class; tokens: the softmax of a language model's
    logits of `tokens`, one per class; scalar: the one output of a value head; log_ratio: `beta` times the sum, from the
    answer's beginning, of log P(token) of the model less that of a reference model.
    """

    output: Literal["classes", "tokens", "scalar", "log_ratio"]
    classes: tuple[Class, ...] = ()  # of each output or token, in their order
    tokens: tuple[str, ...] = ()  # each a text that is one token
    softmax: Literal["tokens", "vocabulary"] = "tokens"  # over which logits; vocabulary: what is not right is wrong
    modules: tuple[str, ...] = ()  # names that the head has in the weights, e.g. score; the first one that is there
    # mlp: linear, ReLU, linear: NAME.0 and NAME.2 in the weights; gated: ArmoRM's (`gated_head.py`)
    layers: Literal["linear", "mlp", "gated"] = "linear"
    bias: bool | None = None  # None: where the weights have one
    squash: Literal["none", "sigmoid"] = "none"  # of a scalar; a process style's is a probability
    beta: PositiveFloat | None = None

    def __post_init__(self) -> None:
        of_classes, own = self.output in ("classes", "tokens"), self.output in ("classes", "scalar")
        if of_classes != bool(self.classes):
            raise ValueError(f"classes: {'are missing' if of_classes else 'are for the outputs classes and tokens'}")
        if of_classes and (
            len(set(self.classes)) != len(self.classes) or not {*self.classes} >= {CLASSES[0], CLASSES[2]}
        ):
            raise ValueError("classes: negative and positive are needed, and each only once")
        if len(self.tokens) != (len(self.classes) if self.output == "tokens" else 0):
            raise ValueError("tokens: one per class, for the output tokens alone")
        if self.softmax == "vocabulary" and len(self.tokens) != 2:
            raise ValueError("softmax: vocabulary is for two tokens")
        if own != bool(self.modules):
            raise ValueError("modules: the names of the head are for the outputs classes and scalar, which need them")
        if (self.output == "log_ratio") != (self.beta is not None):
            raise ValueError("beta: for the output log_ratio, which needs it")
        if not own and (self.layers != "linear" or self.bias is not None):
            raise ValueError("layers and bias: for the outputs classes and scalar")
        if self.squash != "none" and self.output != "scalar":
            raise ValueError("squash: for the output scalar")
        if self.layers == "gated" and self.output != "scalar":
            raise ValueError("layers: gated is for the output scalar")


@settings
class Style:
    """A style.

    reduction: how a solution's score comes of its steps; softmin: Σ wᵢ sᵢ with w = softmax(−s / temperature). steps_as:
    what of a step is reduced: the probability that it is not wrong (neutral counts as positive), P(positive) −
    P(negative), or the value that was read.
    """

    name: str
    kind: Literal["process", "outcome"]
    folder: FolderRules
    rendering: Rendering
    reading: ReadingPlace
    head: Head
    reduction: Literal["product", "min", "last", "mean", "softmin"] = "product"
    steps_as: Literal["probability", "difference", "value"] = "probability"
    temperature: PositiveFloat | None = None

    def __post_init__(self) -> None:
        if not self.name or self.name == OURS:
            raise ValueError(f"name: a text, and not {OURS}")
        places = {
            "apart": ("separator", "end"),
            "text": ("tag", "removed", "end"),
            "chat": ("tag", "closed_prefix", "end"),
            "turns": ("reply",),
        }[self.rendering.form]
        if self.reading.at not in places:
            raise ValueError(f"reading.at: {' or '.join(places)}, for the form {self.rendering.form}")
        if (self.reading.at == "removed") != bool(self.rendering.removed_token):
            raise ValueError('rendering.removed_token: for reading.at = "removed", which needs it')
        if self.kind == "process" and self.reading.at == "end":
            raise ValueError("reading.at: end is for the kind outcome")
        if self.kind == "outcome" and self.reading.at not in ("end", "reply"):
            raise ValueError("reading.at: end or reply, for the kind outcome")
        is_gated = self.head.layers == "gated"
        if is_gated != bool(self.reading.gate) or (is_gated and self.rendering.form != "chat"):
            raise ValueError("reading.gate: for a gated head, which needs it, in the form chat")
        if self.reading.at == "separator" and not self.rendering.after_step:
            raise ValueError("rendering.after_step: the separator is missing")
        if self.needs_reference != (self.reading.at == "closed_prefix"):
            raise ValueError('head.output: log_ratio goes with reading.at = "closed_prefix"')
        if self.kind == "process" and self.head.output == "scalar" and self.head.squash == "none":
            raise ValueError("head.squash: a step's scalar becomes a probability: sigmoid")
        if self.steps_as != "value" and self.head.output == "scalar" and self.head.squash == "none":
            raise ValueError("steps_as: value, for a scalar that nothing squashes")
        unused = {
            "number": self.kind == "outcome",
            "after_step": self.rendering.form == "turns",
            "between_steps": self.kind == "process" and self.rendering.form in ("apart", "turns"),
        }
        for name, is_unused in unused.items():
            if is_unused and getattr(self.rendering, name):
                raise ValueError(f"rendering.{name}: unused in the form {self.rendering.form} of the kind {self.kind}")
        if self.steps_as == "value" and self.head.output not in ("scalar", "log_ratio"):
            raise ValueError("steps_as: value is for the outputs scalar and log_ratio")
        if self.reduction == "product" and self.steps_as != "probability":
            raise ValueError("reduction: product is of probabilities")
        if (self.reduction == "softmin") != (self.temperature is not None):
            raise ValueError("temperature: for the reduction softmin, which needs it")

    @property
    def needs_reference(self) -> bool:
        """Whether scoring needs a second, the reference model."""
        return self.head.output == "log_ratio"


def read_style(name_or_path: str) -> Style:
    """Return a style of ours by its name, or a user's by the path of its TOML file.

    Raises ValueError in one line, which names file and field.
    """
    if name_or_path in BUILTIN:
        return _read(_FOLDER / f"{name_or_path}.toml")
    if not name_or_path.endswith(".toml"):
        raise ValueError(f"style {name_or_path!r}: one of {', '.join(BUILTIN)}, or the path of a FILE.toml")
    return _read(Path(name_or_path))


def style_settings(given: str) -> dict[str, Any]:
    """Return the fields prm_style and style of a config: a style of ours by its name, a user's by all of its file.

    Raises ValueError, as `read_style`.
    """
    if given == OURS or given in BUILTIN:
        return {"prm_style": given, "style": None}
    style = read_style(given)
    return {"prm_style": style.name, "style": style}


def process_styles() -> tuple[str, ...]:
    """Return the names of our process styles."""
    return tuple(name for name in BUILTIN if read_style(name).kind == "process")


def _no_value(date: object) -> dict[str, str]:
    """Stand for a TOML date or time, which no field takes."""
    return {}


@functools.cache
def _read_text(text: str, where: str) -> Style:
    try:
        # As JSON, for there tables and arrays are dataclasses and tuples, which strict checks of Python values refuse.
        return TypeAdapter(Style).validate_json(json.dumps(tomllib.loads(text), default=_no_value))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
        raise ValueError(": ".join(part for part in (where, field, message) if part)) from error
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"{where}: is not TOML: {str(error).partition(chr(10))[0]}") from error


def _read(path: Path) -> Style:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    return _read_text(text, str(path))
