"""Parser for mathematical expressions in model text: it builds a tree, and does nothing else.

Model text is data here: there is no `eval`, no `sympify`, no name that is looked up. expression_value.py evaluates
the trees.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from components.grader.expression_tokens import is_power_factor, split_tokens

_MAX_DEPTH = 60  # of nested brackets and functions


class NotAnExpression(ValueError):
    """The text has no reading as an expression."""


class Risky(ValueError):
    """The expression would be too large to evaluate."""


@dataclass(frozen=True)
class Tree:
    """One node: a number (value), a name (a variable or a constant), or an operation on trees."""

    kind: str  # number, name, +, *, /, ^, -, or a function's name
    parts: tuple[Tree, ...] = ()
    value: Fraction | None = None
    name: str = ""


_FUNCTIONS = frozenset(
    "sqrt sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln lg exp binom abs floor ceil".split()
)
_GREEK = frozenset(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta kappa lambda mu nu xi rho sigma tau phi varphi "
    "chi psi omega Gamma Delta Theta Lambda Xi Sigma Phi Psi Omega ell hbar".split()
)
_APPLIED = "fghFGHPQ"  # letters that are functions before a bracket
_APPLIED_GREEK = frozenset("phi varphi sigma zeta Gamma tau psi Phi Psi".split())
_CLOSING = {"(": ")", "[": "]", "{": "}"}


def parse(text: str, *, powers_follow: bool = False) -> Tree:
    r"""Parse a text such as `\frac{x+2}{7}`, `2\sqrt3`, `3x^2 - 1` or `sqrt(2)/2`.

    powers_follow: read the power of a number as a factor behind a letter or a bracket, as in `n2^{n-1}`. Raises
    NotAnExpression for text without such a reading, Risky for text nested too deep.
    """
    tokens, rest = split_tokens(text)
    if rest:
        raise NotAnExpression(f"{rest[0]!r} is not expected")
    parser = _Parser(tokens, powers_follow=powers_follow)
    tree = parser.sum()
    if parser.at < len(parser.tokens):
        raise NotAnExpression(f"{parser.peek()!r} is not expected")
    return tree


class _Parser:
    def __init__(self, tokens: list[str], *, powers_follow: bool) -> None:
        self.tokens, self.at, self.depth = tokens, 0, 0
        self.powers_follow = powers_follow
        self.bars = 0  # open absolute values: there a bar closes

    def peek(self) -> str:
        return self.tokens[self.at] if self.at < len(self.tokens) else ""

    def take(self, wanted: str = "") -> str:
        token = self.peek()
        if not token or (wanted and token != wanted):
            raise NotAnExpression(f"{wanted or 'more'} is expected, not {token!r}")
        self.at += 1
        return token

    def sum(self) -> Tree:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise Risky("nested too deep")
        terms = [self.product()]
        while self.peek() in ("+", "-"):
            sign = self.take()
            term = self.product()
            terms.append(term if sign == "+" else Tree("-", (term,)))
        self.depth -= 1
        return terms[0] if len(terms) == 1 else Tree("+", tuple(terms))

    def product(self) -> Tree:
        tree = self.signed()
        while True:
            token = self.peek()
            if token in ("*", "/"):
                self.take()
                tree = Tree(token, (tree, self.signed()))
                if token == "/" and self._begins_factor(self.peek()):
                    raise NotAnExpression("a/bc has two readings")
            elif self._begins_factor(token):
                power = self.powers_follow and is_power_factor(self.tokens, self.at)
                if re.fullmatch(r"[\d.]+", token) and self.tokens[self.at - 1] != "!" and not power:
                    raise NotAnExpression("a number follows without a sign")
                tree = Tree("*", (tree, self.power()))
            else:
                return tree

    def _begins_factor(self, token: str) -> bool:
        if token == "|":
            return self.bars == 0
        if token in ("\\rfloor", "\\rceil"):
            return False
        return bool(token) and (token in "([{" or token[0] == "\\" or token[0].isalnum() or token in "∞π")

    def signed(self) -> Tree:
        negative = False
        while self.peek() in ("+", "-"):
            negative ^= self.take() == "-"
        tree = self.power()
        return Tree("-", (tree,)) if negative else tree

    def power(self) -> Tree:
        tree = self.postfix(self.atom())
        if self.peek() != "^":
            return tree
        self.take()
        braced = self.peek() == "{"
        power = Tree("^", (tree, self.exponent()))
        following = self.peek()
        if not braced and (following == "!" or (tree.name == "e" and following.isalpha() and len(following) == 1)):
            raise NotAnExpression("2^3! and e^2x have two readings")
        if following == "(" and tree.name[:1] in _APPLIED and tree.name:
            raise NotAnExpression("f^2(x) has two readings")
        return self.postfix(power)

    def exponent(self) -> Tree:
        if self.peek() == "-":
            self.take()
            return Tree("-", (self.exponent(),))
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise Risky("nested too deep")
        number = self.peek()
        tree = Tree("number", value=Fraction(self.take())) if re.fullmatch(r"\d+", number) else self.atom()
        if self.peek() == "^":  # a tower without braces
            self.take()
            tree = Tree("^", (tree, self.exponent()))
        self.depth -= 1
        return tree

    def postfix(self, tree: Tree) -> Tree:
        while self.peek() in ("!", "°"):
            tree = Tree("factorial" if self.take() == "!" else "degrees", (tree,))
            if tree.kind == "factorial" and self.peek() == "!":
                raise NotAnExpression("3!! has two readings")
        return tree

    def atom(self) -> Tree:
        token = self.take()
        if token in _CLOSING:
            bars, self.bars = self.bars, 0
            tree = self.sum()
            self.bars = bars
            self.take(_CLOSING[token])
            return tree
        if token == "|":
            self.bars += 1
            tree = self.sum()
            self.bars -= 1
            self.take("|")
            return Tree("abs", (tree,))
        if token[0] in "0123456789.":
            if re.match(r"0\d", token):
                raise NotAnExpression("a number does not begin with 0")
            number = Tree("number", value=Fraction(token))
            return self.mixed(number) if token.isdigit() and self.peek() == "\\frac" else number
        if token[0] == "\\" or len(token) > 1:
            return self.command(token.removeprefix("\\"))
        if not token.isalpha() and token != "∞":
            raise NotAnExpression(f"{token!r} is not expected")
        return self._name(token)

    def mixed(self, whole: Tree) -> Tree:
        r"""Read `2\frac{1}{3}` as two and a third; before a fraction of other parts the number is a factor."""
        start = self.at
        self.take()
        rest = self.command("frac")
        if all(part.value is not None and part.value.denominator == 1 for part in rest.parts):
            top, bottom = (part.value for part in rest.parts)
            if top and bottom and top < bottom:
                return Tree("+", (whole, rest))
        self.at = start
        return whole

    def _name(self, name: str) -> Tree:
        if self.peek() == "_":
            self.take()
            name += "_" + self._subscript()
        if (name[0] in _APPLIED or name in _APPLIED_GREEK) and self.peek() == "(":
            return Tree("apply", (self.atom(),), name=name)
        return Tree("name", name={"π": "pi", "∞": "infinity"}.get(name, name))

    def _subscript(self) -> str:
        if self.peek() != "{":
            return self.take()
        self.take("{")
        taken = []
        while self.peek() != "}":
            taken.append(self.take())
        self.take("}")
        return "".join(taken)

    def command(self, name: str) -> Tree:
        if name in ("frac", "binom"):
            parts = (self.argument(), self.argument())
            return Tree("/" if name == "frac" else "binom", parts)
        if name == "sqrt":
            return self.root()
        if name in ("lfloor", "lceil"):
            tree = self.sum()
            self.take("\\rfloor" if name == "lfloor" else "\\rceil")
            return Tree("floor" if name == "lfloor" else "ceil", (tree,))
        if name in ("vec", "hat", "bar", "tilde", "overline", "mathbb", "mathcal") and self.peek() == "{":
            inner = self._subscript()
            if inner.isalpha():
                return Tree("name", name=f"{name} {inner}")
        if name in _FUNCTIONS:
            return self.function(name)
        if name in ("pi", "infty") or name in _GREEK:
            return self._name({"infty": "infinity"}.get(name, name))
        raise NotAnExpression(f"\\{name} is not known here")

    def root(self) -> Tree:
        index = Tree("number", value=Fraction(2))
        if self.peek() == "[":
            self.take("[")
            index = self.sum()
            self.take("]")
        return Tree("^", (self.argument(), Tree("/", (Tree("number", value=Fraction(1)), index))))

    def argument(self) -> Tree:
        r"""Read an argument of \frac or \sqrt: a group, or a single digit, letter or command."""
        token = self.peek()
        if token and token[0].isdigit() and len(token) > 1:
            if not token[1:].strip("."):
                raise NotAnExpression("a digit and a period are no argument")
            self.tokens[self.at] = token[1:]
            return Tree("number", value=Fraction(token[0]))
        return self.atom()

    def function(self, name: str) -> Tree:
        base = power = None
        while self.peek() in ("_", "^"):
            if self.take() == "_":
                if re.fullmatch(r"\d{2,}", self.peek()):
                    raise NotAnExpression("log_25 has two readings")
                base = self.argument()
            else:
                power = self.exponent()
        if self.peek() in ("(", "[", "{", "|"):
            argument = self.power() if self.peek() == "|" else self.atom()
        else:
            argument = self.signed_factors()
        if name == "log" and base is not None:
            tree = Tree("/", (Tree("ln", (argument,)), Tree("ln", (base,))))
        elif base is not None:
            raise NotAnExpression(f"{name} takes no index")
        else:
            tree = Tree(name, (argument,))
        if power is None:
            return tree
        if power == Tree("-", (Tree("number", value=Fraction(1)),)):
            if name not in ("sin", "cos", "tan"):
                raise NotAnExpression(f"{name}^-1 has two readings")
            return Tree("arc" + name, (argument,))
        return Tree("^", (tree, power))

    def signed_factors(self) -> Tree:
        """Read the argument of a function without brackets: factors up to a sign or another function."""
        tree = self.signed()
        while self._begins_factor(self.peek()) and self.peek().removeprefix("\\") not in _FUNCTIONS | {"frac"}:
            if self.peek() in "([{|":
                if tree.kind == "number":
                    raise NotAnExpression("sin 2(x) has two readings")
                break
            tree = Tree("*", (tree, self.power()))
        if self.peek() == "/":
            raise NotAnExpression("sin x/2 has two readings")
        return tree
