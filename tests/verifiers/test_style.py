"""Styles as files: ours, a user's, and what is refused of them; and solutions that a style cannot hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from components.dataflow.stage import canonical_json
from components.verifiers.style import BUILTIN, process_styles, read_style, style_settings
from components.verifiers.styled_rendering import render_styled
from tests.verifiers.vocabularies import llama_tokenizer, mistral_tokenizer, qwen_tokenizer

FOLDER = Path(__file__).parents[2] / "components/verifiers/styles"


def test_a_file_of_ours_has_the_name_of_its_style_and_says_whence_it_is() -> None:
    assert len(BUILTIN) >= 18
    for name in BUILTIN:
        assert read_style(name).name == name
        assert (FOLDER / f"{name}.toml").read_text(encoding="utf-8").startswith("# ")
    assert {"trl", "qwen_prm", "math_shepherd", "rlhflow"} < set(process_styles()) < set(BUILTIN)


@pytest.mark.parametrize("name", BUILTIN)
def test_a_user_s_file_works_like_ours(name: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes((FOLDER / f"{name}.toml").read_bytes())
    assert read_style(str(path)) == read_style(name)
    assert canonical_json(read_style(str(path))) == canonical_json(read_style(name))
    assert style_settings(name) == {"prm_style": name, "style": None}
    assert style_settings(str(path)) == {"prm_style": name, "style": read_style(name)}


PURE = [
    ('kind = "process"', 'kind = "proces"', "kind: must be 'process' or 'outcome'"),
    ('kind = "process"', 'kind = "outcome"', "reading.at: end or reply, for the kind outcome"),
    ('name = "pure"', 'name = "stepverify"', "name: a text, and not stepverify"),
    ('form = "apart"', 'from = "apart"', "rendering.form: Field required"),
    ('form = "apart"', 'form = "apart"\nfrom = 1', "rendering.from: Unexpected keyword argument"),
    ('form = "apart"', 'form = "text"', "rendering: special_tokens: bos is for the form apart"),
    ('after_step = "\\n"', "", "rendering.after_step: the separator is missing"),
    ('after_step = "\\n"', "after_step = 3", "rendering.after_step: must be a valid string"),
    ('after_step = "\\n"', 'problem = "?"', "rendering: problem: {problem} is missing"),
    ('after_step = "\\n"', 'number = "Step"', "rendering: number: {number} is missing"),
    ('at = "separator"', 'at = "tag"', "reading: tag: a style that is read at a tag has one"),
    ('at = "separator"', 'at = "separator"\nshift = 1', "reading.shift: must be less than or equal to 0"),
    ('["negative", "positive"]', '["negative", "negative"]', "head: classes: negative and positive are needed"),
    ('["negative", "positive"]', '["wrong", "right"]', "head.classes.0: must be 'negative', 'neutral' or 'positive'"),
    ('modules = ["score"]', "", "head: modules: the names of the head"),
    ('output = "classes"', 'output = "tokens"', "head: tokens: one per class"),
    ('output = "classes"', 'output = "scalar"', "head: classes: are for the outputs classes and tokens"),
    ("temperature = 0.1", "", "temperature: for the reduction softmin, which needs it"),
    ("temperature = 0.1", "temperature = 0", "temperature: must be greater than 0"),
    ('reduction = "softmin"', 'reduction = "product"', "reduction: product is of probabilities"),
    ('["*ForTokenClassification"]', "[]", "folder: architectures: at least one pattern"),
    ("[folder]", "[folder", "is not TOML"),
    ("temperature = 0.1", "temperature = 2026-01-01", "temperature: must be a valid number"),
    ('form = "apart"', 'form = "apart"\nbetween_steps = " "', "rendering.between_steps: unused in the form apart"),
    (
        'form = "apart"',
        'form = "apart"\nproblem = "{sep_token}{problem}"',
        "rendering: problem: {sep_token} would stand",
    ),
    ('form = "apart"', 'form = "apart"\nnumber = "{bos_token}{number}"', "rendering: number: {bos_token} would stand"),
]
OTHERS = [
    ("rlhflow", 'reply = "+"', 'reply = "+"\nafter_step = "\\n"', "rendering.after_step: unused in the form turns"),
    ("rlhflow_orm", 'reply = "+"', 'reply = "+"\nnumber = "{number}."', "rendering.number: unused in the form turns"),
    ("versaprm", 'output = "tokens"', 'output = "tokens"\nlayers = "mlp"', "head: layers and bias: for the outputs"),
    ("armorm", 'layers = "gated"', "", "reading.gate: for a gated head, which needs it, in the form chat"),
    ("armorm", "gate = ", 'tag = "+"\ngate = ', "reading: tag: a style that is read at a tag has one"),
    ("armorm", "[head]", "shift = -1\n[head]", "reading: gate: for at = "),
    ("acemath_rm", "skip_padding = true", 'gate = "+"', "reading.gate: for a gated head"),
    ("acemath_rm", 'steps_as = "value"', "", "steps_as: value, for a scalar that nothing squashes"),
]


@pytest.mark.parametrize(("style", "old", "new", "message"), [*(("pure", *case) for case in PURE), *OTHERS])
def test_a_wrong_file_is_refused_in_one_line_with_file_and_field(
    style: str, old: str, new: str, message: str, tmp_path: Path
) -> None:
    text = (FOLDER / f"{style}.toml").read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match="mine") as caught:
        read_style(str(path))
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_a_style_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"style 'no_style': one of acemath_rm, .*FILE\.toml"):
        read_style("no_style")
    with pytest.raises(ValueError, match=r"none\.toml: cannot be read"):
        read_style(str(tmp_path / "none.toml"))


TOKENIZERS: dict[str, Any] = {
    "math_shepherd": mistral_tokenizer,
    "rlhflow": llama_tokenizer,
    "rlhflow_orm": llama_tokenizer,
    "armorm": llama_tokenizer,
}


@pytest.mark.parametrize(
    ("style", "problem", "steps", "message"),
    [
        ("trl", "1 + 1?", [], "without steps"),
        ("qwen_prm", "1 + 1?", [], "without steps"),
        ("acemath_rm", "1 + 1?", [], "without steps"),
        ("qwen_prm", "1 + 1?", ["2", "so<extra_0> 2"], "step 2 holds the control token '<extra_0>'"),
        ("qwen_prm", "1 + 1?<|im_end|>", ["2"], "the problem holds the control token"),
        ("math_shepherd", "1 + 1?", ["2 ки", "so 2"], "2 steps, but 3 tags 'ки'"),
        ("math_shepherd", "1 + 1? ки", ["2"], "1 steps, but 2 tags"),
        ("math_shepherd", "1 + 1?", ["2</s>"], "step 1 holds the control token '</s>'"),
        ("rlhflow", "1 + 1?", ["3", "<|eot_id|>so 2"], "step 2 holds the control token '<|eot_id|>'"),
        ("rlhflow_orm", "1 + 1?", ["3", "<|eot_id|>so 2"], "step 1 holds the control token '<|eot_id|>'"),
        ("armorm", "1 + 1?", ["2<|eot_id|>"], "step 1 holds the control token '<|eot_id|>'"),
        ("versaprm", "1 + 1?", ["2 \n\n\n\n3", "so 2"], "2 steps, but 3 tags"),
        ("math_psa", "1 + 1?", ["2 \n\n\n\n\n 3"], "1 steps, but 2 tags"),
        ("skywork_o1", "1 + 1?", ["2"], "the tokenizer has no bos_token"),
    ],
)
def test_solutions_that_a_style_cannot_hold_are_refused(
    style: str, problem: str, steps: list[str], message: str
) -> None:
    tokenizer: Any = TOKENIZERS.get(style, qwen_tokenizer)()
    with pytest.raises(ValueError, match=message.replace("|", r"\|").replace("?", r"\?")):
        render_styled(read_style(style), tokenizer, problem, steps)


def test_a_tag_that_is_no_control_token_is_counted() -> None:
    tokenizer = qwen_tokenizer(tag="<extra_1>")
    tokenizer.add_tokens(["<extra_0>"])
    style = read_style("qwen_prm")
    assert len(render_styled(style, tokenizer, "1 + 1?", ["2", "so 2"]).read_at) == 2
    with pytest.raises(ValueError, match="2 steps, but 3 tags '<extra_0>'"):
        render_styled(style, tokenizer, "1 + 1?", ["2<extra_0>", "so 2"])


def test_the_separator_is_data_also_as_four_characters(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    text = (FOLDER / "trl.toml").read_text(encoding="utf-8")
    path.write_text(text.replace('after_step = "\\n"', r"after_step = '\n\n'"), encoding="utf-8")
    tokenizer = qwen_tokenizer()
    separator = tokenizer.encode(r"\n\n", add_special_tokens=False)
    assert len(separator) >= 2
    rendered = render_styled(read_style(str(path)), tokenizer, "1 + 1?", ["2", "so 2"])
    for end in rendered.read_at:
        assert rendered.ids[end + 1 - len(separator) : end + 1] == separator
