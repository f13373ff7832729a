"""Hostile answers: HOSTILE is a list of (answer, truth, why). No crash, no hang, no memory, no execution is what is
asked here, and a verdict only of the entries whose numbers are in MUST_REFUSE or MUST_ACCEPT."""

# ruff: noqa: UP031 (LaTeX is full of braces)

from __future__ import annotations

HOSTILE: list[tuple[str, str, str]] = []
MUST_REFUSE: list[int] = []
MUST_ACCEPT: list[int] = []
MB = 1_000_000
# What the extraction of answers looks for, over and over.
EXTRACTION_UNITS = (
    "# Answer\n", "# Answer ", r"\boxed{", r"\boxed{}", r"\boxed{1} and ", r"\boxed 7 ", r"\boxed{answer}", r"\fbox{",
    "answer is ", "the answer is 5 ", "Answer: ", "Answer:\n", "5 is the answer ", "the answer to ", "n't answer ",
    "####", "#### 1\n", "#", "<think>", "</think>", "<think></think>", "<think></answer>", "<answer>",
    "<answer>5</answer>", "**", "**1** ", "__", "$", "$$", "$1$ ", r"\(", r"\[", r"\begin{a}", " ", "\n", "\t",
    "7", "1,", "1 = ", "(", "()", "[", "{", "}", "\\", "答案：", "答案", "选", "。", "réponse est ", "D is correct ",
    "option ", "A:\n", "a", "a. ", "İ", "`", "---\n",
)  # fmt: skip


def h(a: str, t: str, w: str, verdict: bool | None = None) -> None:
    if verdict is True:
        MUST_ACCEPT.append(len(HOSTILE))
    elif verdict is False:
        MUST_REFUSE.append(len(HOSTILE))
    HOSTILE.append((a, t, w))


# exponent towers
for s in (
    r"9^{9^{9^9}}",
    r"9^{9^{9^{9}}}",
    "9^9^9^9",
    "9**9**9**9",
    r"{9}^{{9}^{{9}^{9}}}",
    r"9^{9^{9^{9^{9^{9}}}}}",
    r"(-9)^{9^{9^9}}",
    r"0.9^{9^{9^9}}",
    r"\frac{1}{9^{9^{9^9}}}",
    r"\left(9^9\right)^{\left(9^9\right)^9}",
    r"10^{10^{10^{10}}}",
    r"2^{99999999999}",
    r"2^{-99999999999}",
    r"(1/3)^{10^{12}}",
    r"i^{9^{9^9}}",
    r"\pi^{9^{9^9}}",
    r"9⁹^9^9",
    r"\sqrt{9^{9^{9^9}}}",
    r"e^{e^{e^{e^{e}}}}",
):
    h(s, "1", "exponent tower " + s, False)
h(r"9^{9^{9^9}}", r"9^{9^{9^9}}", "same tower: equal as written", True)
h(r"9^{9^{9^9}}", r"9^{9^{9^8}}", "two towers that differ")
h(r"9^{9^{9^9}}-9^{9^{9^9}}", "0", "difference of towers")
h("^".join(["{9"] * 300) + "}" * 300, "9", "tower 300 high")
h("^".join(["9"] * 5000), "9", "chain of 5000 carets")
h(r"9^{9^{9^9}} \bmod 7", "2", "tower modulo 7 (it is 1)", False)
# factorials
for s in (
    "(99999999)!",
    "99999999!",
    "((9!)!)!",
    "(((3!)!)!)!",
    "9!!!!!!!!!!",
    "3" + "!" * 10000,
    "(10^{100})!",
    r"\frac{99999999!}{99999998!}",
    "(-1)!",
    "(1/2)!",
    "(0.5)!",
    "x!!!!",
    "!" * 1000,
    r"\Gamma(10^{10})",
):
    h(s, "7", "factorial " + s[:40], False)
h("(99999999)!", "(99999998)!", "two large factorials")
# megabyte strings
for name, unit in (
    ("digits", "7"),
    ("open brackets", "("),
    ("close brackets", ")"),
    ("pairs of brackets", "()"),
    ("open braces", "{"),
    ("close braces", "}"),
    ("square brackets", "["),
    ("backslashes", "\\"),
    ("x+", "x+"),
    ("minus", "-"),
    ("frac", r"\frac{"),
    ("sqrt", r"\sqrt{"),
    ("letter a", "a"),
    ("letters", "abcdefghij"),
    ("spaces", " "),
    ("newlines", "\n"),
    ("NULs", "\0"),
    ("dollars", "$"),
    ("commas", ","),
    ("1,", "1,"),
    ("carets", "^"),
    ("2^", "2^"),
    ("underscores", "_"),
    ("bars", "|"),
    ("factorial marks", "!"),
    ("dots", "."),
    ("left", r"\left("),
    ("text", r"\text{a}"),
    ("box", r"\boxed{"),
    ("primes", "'"),
    ("percents", "%"),
    ("colons", "1:"),
    ("cups", r"\cup"),
    ("pm", r"\pm"),
    ("ampersands", "&"),
    ("equals", "="),
    ("lt", "1<"),
    ("emoji", "\U0001f600"),
    ("surrogates", "\ud800"),
    ("combining marks", "\u0301"),
    ("sin", r"\sin "),
    ("times", r"2\times "),
    ("thousands", "1,000"),
    ("zeros", "0"),
):
    h((unit * (MB // len(unit) + 1))[:MB], "1", "1 MB of " + name, False)
for unit in EXTRACTION_UNITS:
    h((unit * (MB // len(unit) + 1))[:MB], "1", "1 MB to extract from: " + repr(unit), False)
    h("The answer is " + unit * (MB // len(unit)) + ".", "1", "1 MB behind 'The answer is': " + repr(unit), False)
h("x" * MB, "x" * MB, "1 MB equal letters", True)
h("a" * MB + "b", "a" * MB + "c", "1 MB letters, last one differs", False)
h("5", "7" * MB, "1 MB truth", False)
h("(" * MB + "5" + ")" * MB, "5", "2 MB of nesting")
# deep nesting
for n in (500, 20000):
    h("(" * n + "5" + ")" * n, "6", f"{n} round brackets", False)
    h("{" * n + "5" + "}" * n, "6", f"{n} braces", False)
    h("[" * n + "5" + "]" * n, "6", f"{n} square brackets", False)
    h(r"\{" * n + "5" + r"\}" * n, "6", f"{n} set braces", False)
    h(r"\sqrt{" * n + "2" + "}" * n, "6", f"{n} nested roots", False)
    h(r"\frac{1}{1+" * n + "1" + "}" * n, "6", f"continued fraction {n} deep", False)
    h(r"\frac{" * n + "1" + "}{2}" * n, "6", f"{n} nested fractions", False)
    h("|" * n + "5" + "|" * n, "6", f"{n} bars")
    h(r"\left|" * n + "x" + r"\right|" * n, "6", f"{n} left bars", False)
    h("-" * n + "5", "6", f"{n} minus signs", False)
    h(r"\text{" * n + "a" + "}" * n, "b", f"{n} nested text", False)
    h(r"\sin(" * n + "x" + ")" * n, "x", f"{n} nested sines", False)
    h("f(" * n + "x" + ")" * n, "x", f"{n} nested f", False)
    h("2^{" * n + "1" + "}" * n, "6", f"tower of twos {n} high", False)
    h(r"\log_2(" * n + "2" + ")" * n, "7", f"{n} nested logs", False)
    h(r"\boxed{" * n + "5" + "}" * n, "6", f"{n} nested boxes", False)
    h("$" * n + "5" + "$" * n, "6", f"{n} dollars", False)
    h(r"\left(" * n, "6", f"{n} left without right", False)
# NULs, surrogates, invisible characters
h("\0", "5", "only a NUL", False)
h("5\0" * 1000, "6", "NULs between digits", False)
h("\ud800", "5", "lone high surrogate", False)
h("\udfff5", "6", "lone low surrogate", False)
h("\udc80\ud83d" * 1000, "\udc80", "surrogates in the wrong order", False)
h("5\u202e6", "65", "right-to-left override", False)
h("\u2066(1,2)\u2069", "(2,1)", "bidi isolate", False)
h("1\u200b2", "3", "zero-width space", False)
h("\u200b" * 100000 + "5", "6", "zero-width flood", False)
h("\ufeff5", "6", "byte order mark", False)
h("\u0661\u0662", "21", "Arabic-Indic digits", False)
h("\u0967" * 5000, "1", "Devanagari digits", False)
h("\u2460", "2", "circled digit", False)
h("\u00b2", "3", "superscript two alone", False)
h("x\u00b2\u00b3", "x^2", "superscripts", False)
h("\u00bd", "2", "vulgar fraction", False)
h("\uff15", "6", "full-width digit", False)
h("\U000e0035" * 50, "5", "tag characters", False)
h("a" + "\u0301" * 50000, "a", "Zalgo text")
h("\u0430", "a", "Cyrillic a for Latin a")
# unbalanced LaTeX
for s in (
    r"\frac{1}{",
    r"\frac",
    r"\frac{}{}",
    r"\frac1",
    r"\sqrt",
    r"\sqrt[",
    r"\sqrt[3]{",
    r"\left(",
    r"\right)",
    r"\begin{pmatrix}",
    r"\end{pmatrix}",
    r"\begin{pmatrix}1&2\\",
    r"\begin{}\end{}",
    r"\binom{5}",
    r"\binom",
    r"\text{",
    r"x^",
    r"x_",
    "^",
    "_",
    r"\\",
    "\\",
    r"{{{}",
    "}{",
    "([)]",
    r"\log_",
    r"\sum_{",
    r"\overline{",
    r"0.\overline{}",
    r"1,,2",
    ",",
    ":",
    "::",
    "1:",
    "..",
    "1..2",
    "=",
    "x=",
    "==",
    "<",
    "1<",
    "|",
    "||",
    "|||",
    "!",
    "$",
    "$$$",
    "%",
    "#",
    "&",
    "~",
    r"\left.\right.",
    r"\%",
    r"\$",
    "+-",
    "*/",
    "--",
    r"\pm",
    r"\cup",
    r"\in",
):
    h(s, "5", "broken LaTeX " + s, False)
# Python escapes (none may create /tmp/pwned)
for s in (
    "__import__('os').system('touch /tmp/pwned')",
    "eval(\"__import__('os').system('touch /tmp/pwned')\")",
    "exec(\"open('/tmp/pwned','w')\")",
    "open('/tmp/pwned','w').write('x')",
    "(lambda: open('/tmp/pwned','w'))()",
    "lambda x: x",
    'f\'{open("/tmp/pwned","w")}\'',
    "().__class__.__bases__[0].__subclasses__()",
    "[].__class__.__mro__[1].__subclasses__()",
    "x.__class__.__init__.__globals__",
    "globals()",
    "locals()",
    "exit()",
    "quit()",
    "import os",
    "breakpoint()",
    "input()",
    "help()",
    "print(1)",
    "__builtins__",
    "[x for x in range(10**10)]",
    "range(10**12)",
    "'a'*10**10",
    "10**10**10",
    "(yield)",
    "await x",
    "raise SystemExit",
    "assert False",
    "while True: pass",
    "del x",
    "x:=5",
    "compile('1','','eval')",
    "getattr(x,'y')",
    "sympify('1')",
    'parse_expr(\'open("/tmp/pwned","w")\')',
    "sys.exit(5)",
    "os._exit(0)",
    "{}.__class__",
    "''.join(['5'])",
    "int('5')",
    "float('5')",
    "0x5",
    "0b101",
    "1_0",
    "1e999999999",
    "1e-999999999",
    "1e5j",
    "5j",
    "True",
    "False",
    "None",
    "Ellipsis",
    "NotImplemented",
    "@x",
    "`touch /tmp/pwned`",
    "$(touch /tmp/pwned)",
    "; touch /tmp/pwned",
    "| touch /tmp/pwned",
    "\\input{/etc/passwd}",
    "\\write18{touch /tmp/pwned}",
    "{{7*7}}",
    "${7*7}",
    "%s%s%s%n",
    "%x" * 100,
    "{0.__class__}",
    "{}" * 50,
    '"; DROP TABLE x; --',
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "!!python/object/apply:os.system ['touch /tmp/pwned']",
    "cos\nsystem\n(S'touch /tmp/pwned'\ntR.",
):
    h(s, "7", "escape " + s[:50], False)
h("\\def\\x{\\x\\x}\\x", "7", "TeX bomb", False)
h("\\newcommand{\\x}{\\x}\\x", "7", "recursive macro", False)
# SymPy names and traps
for s in (
    "Integral",
    "S",
    "N",
    "E",
    "I",
    "O",
    "Q",
    "C",
    "beta",
    "gamma",
    "zeta",
    "Lambda",
    "lambda",
    "Symbol",
    "Function",
    "S.Infinity",
    "S(1)",
    "N(pi,10**9)",
    "E1",
    "zoo",
    "nan",
    "oo",
    "-oo",
    "oo-oo",
    "zoo*0",
    "test",
    "solve",
    "Matrix",
    "Matrix(10000,10000)",
    "factorint(10**200+1)",
    "prime(10**12)",
    "isprime(2**99999-1)",
    "Integral(x**x**x,x)",
    "summation(1/x,(x,1,10**12))",
    "preview(x)",
    "plot(x)",
    "lambdify(x,x)",
    "Rational('1/0')",
    "var('x')",
    "Piecewise",
    "Poly(x**99999)",
    "expand((x+1)**99999)",
    "ord",
    "id",
    "as",
    "is",
    "not",
    "or",
    "and",
    "if",
    "in",
    "for",
    "def",
):
    h(s, "7", "SymPy or Python name " + s, False)
for a, b in (
    ("S", "N"),
    ("E", "e"),
    ("I", "i"),
    ("Q", "O"),
    ("pi", "p i"),
    ("beta", r"\beta"),
    ("S+N", "N+S"),
    ("I^2", "-1"),
):
    h(a, b, f"names as symbols {a} / {b}")
for s in (
    r"\sum_{k=1}^{10^{12}} \frac{1}{k}",
    r"\sum_{k=1}^{\infty} k!",
    r"\prod_{k=1}^{10^{9}} k",
    r"\prod_{k=1}^\infty k",
    r"\int_0^\infty x^{x^x} dx",
    r"\int e^{-x^2}\sin(x^3)\,dx",
    r"\lim_{x\to 0} \frac{\sin x^{x^x}}{x}",
    r"\lim_{n\to\infty} n!^{n!}",
    r"\binom{10^9}{5*10^8}",
    r"\binom{10^9}{5\cdot 10^8}",
    r"\binom{1000000000}{500000000}",
    r"\binom{-10^9}{10^9}",
    r"\binom{x}{10^9}",
    r"\frac{d^{99999}}{dx^{99999}} e^{x^2}",
    r"\gcd(2^{10^9},3^{10^9})",
    r"\lfloor 10^{10^9}\pi\rfloor",
    r"\lceil e^{10^{10}}\rceil",
    r"\log_{1} 5",
    r"\log_0 0",
    r"\log 0",
    r"\ln(-1)",
    r"\log_{2} 2^{10^{12}}",
    r"\sin(10^{10^{10}})",
    r"\tan(\frac{\pi}{2})",
    r"\arcsin(10^{9})",
    r"\zeta(1)",
    r"\sqrt[10^9]{2}",
    r"\sqrt[0]{2}",
    r"\sqrt[-1]{0}",
    r"\cos(\frac{\pi}{1000003})",
    r"(1+\sqrt2)^{10^8}",
    r"(\sqrt2+\sqrt3)^{99999}",
    r"\left(\frac{123}{457}\right)^{10^7}",
    r"10^{-10^{9}}",
    r"1.5^{10^{8}}",
    r"0.\overline{" + "123456789" * 20000 + "}",
):
    h(s, "11", "heavy " + s[:50], False)
# regex bait
h("a" * 50000 + "!", "a", "(a+)+ bait", False)
h("1," * 50000 + "x", "1", "list regex bait", False)
h(" " * 100000 + "x", "y", "blank regex bait", False)
h("x" + " " * 100000 + "y", "xz", "inner blank regex bait", False)
h("1" * 50000 + ".", "2", "number regex bait", False)
h("1" * 50000 + "e", "2", "exponent regex bait", False)
h("1,111" * 20000 + ",", "2", "thousands regex bait", False)
h(r"\text{" * 20000, "2", "text regex bait", False)
h(r"\frac" * 20000, "2", "frac regex bait", False)
h("the answer is " * 20000, "2", "answer is bait", False)
h(r"\begin{pmatrix}" * 10000, "2", "matrix regex bait", False)
h("3:30 " * 20000 + "p", "2", "time regex bait", False)
h("one hundred and " * 20000, "2", "number words bait", False)
h("-" * 50000 + "." * 50000, "2", "sign and dot bait", False)
h("x=" * 30000, "2", "equation chain", False)
h(("1<" * 30000) + "2", "2", "inequality chain", False)
# long numbers
D = "1234567890" * 10000
h(D, D, "100k digits, equal", True)
h(D, D[:-1] + "1", "100k digits, last differs", False)
h(D, "-" + D, "100k digits, sign", False)
h(D + ".0", D, "100k digits as a decimal")
h("0." + D, "0." + D[:-1] + "1", "100k decimals, last differs", False)
h("0." + "3" * 100000, r"\frac{1}{3}", "100k threes are not 1/3", False)
h("0" * 100000 + "5", "5", "leading zeros")
h("5." + "0" * 100000, "5", "trailing zeros")
h("5." + "0" * 100000 + "1", "5", "nearly 5", False)
h(r"\frac{" + D + "}{" + D[:-1] + "1}", "1", "fraction of 100k digits, not 1", False)
h(r"\sqrt{" + D + "}", "1", "root of 100k digits", False)
h(D + "!", "1", "factorial of 100k digits", False)
h("2^{" + D + "}", "1", "power with 100k digits", False)
h(D + "^{" + D + "}", "1", "100k digits to 100k digits", False)
h(D + r"\cdot " + D, "1", "product of 100k digits", False)
h(D + "_2", D + "_3", "100k digits in a base", False)
h("x^{" + D + "}", "x", "symbol to 100k digits", False)
h("x_{" + D + "}", "x", "index of 100k digits", False)


# matrices, lists, many variables
def mat(n, last="1"):
    rows = [["1"] * n for _ in range(n)]
    rows[-1][-1] = last
    return r"\begin{pmatrix}" + r"\\".join("&".join(r) for r in rows) + r"\end{pmatrix}"


h(mat(300), mat(300, "2"), "300x300, last entry differs", False)
h(mat(300).replace("pmatrix", "vmatrix"), "1", "determinant 300x300 (it is 0)", False)
h(mat(100, "x") + "^{100000}", "1", "power of a matrix", False)
h(r"\begin{pmatrix}" + "&" * 100000 + r"\end{pmatrix}", "1", "100k empty cells", False)
h(r"\begin{pmatrix}" + r"\\" * 100000 + r"\end{pmatrix}", "1", "100k empty rows", False)
h(r"\begin{pmatrix}" * 200 + "1" + r"\end{pmatrix}" * 200, "2", "matrices in matrices", False)
L = [str(k) for k in range(20000)]
h(",".join(L), ",".join(L[::-1]), "list of 20000, reversed")
h(",".join(L), ",".join([*L[:-1], "-1"]), "list of 20000, one differs", False)
h("(" + ",".join(L) + ")", "(" + ",".join(L[::-1]) + ")", "tuple of 20000, reversed", False)
h(r"\{" + ",".join(["1"] * 20000) + r"\}", r"\{2\}", "set of equal ones", False)
roots = [r"\sqrt{%d}" % k for k in range(2, 1002)]
h(",".join(roots), ",".join([*roots[::-1][:-1], r"\sqrt{1003}"]), "1000 roots, matching bait", False)
h(
    ",".join("x_{%d}+y" % k for k in range(500)),
    ",".join("y+x_{%d}" % k for k in range(1, 501)),
    "500 expressions, quadratic matching",
    False,
)
h(r"\cup".join("(%d,%d)" % (2 * k, 2 * k + 1) for k in range(5000)), "(0,1)", "union of 5000", False)
h(",".join([r"\pm 1"] * 40), "1", "40 plus-minus signs in a list", False)
h(r"\pm 1" * 40, "1", "2^40 sign choices: product of terms")
h("".join(r"\pm\sqrt{%d}" % k for k in range(2, 60)), "1", "2^58 sign choices", False)
V = ["x_{%d}" % k for k in range(200)]
h("+".join(V), "+".join(V[::-1]), "200 variables, reversed")
h("+".join(V), "+".join(V[1:]), "200 variables, one missing", False)
h("(" + "+".join(V) + ")^{50}", "1", "200 variables to the 50th", False)
h("".join("(%s+1)" % v for v in V), "1", "product of 200 binomials", False)
h(
    "".join("(%s+1)" % v for v in V),
    "".join("(%s+1)" % v for v in V[::-1][:-1]) + "(x_{0}+2)",
    "two such products, one factor differs",
    False,
)
h(r"\frac{1}{" + "}+\\frac{1}{".join(V) + "}", "1", "sum of 200 reciprocals", False)
h("(x+1)^{99999}", "(x+1)^{99998}", "large powers of a binomial", False)
h("(x+1)^{99999}", "x^{99999}+1", "expansion bait", False)
h("(x+y+z+w)^{5000}", "1", "four-term power", False)
h("((((x+1)^{99}+1)^{99}+1)^{99}+1)^{99}", "x", "nested powers", False)
h("(x^2+1)" * 3000, "x", "3000 factors", False)
h("+".join(roots), "1", "sum of 1000 roots", False)
h(
    "+".join(r"\sqrt{%d}" % p for p in (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)),
    "0",
    "twelve prime roots: minimal polynomial of degree 4096",
    False,
)
h(
    r"\frac{1}{" + "+".join(r"\sqrt{%d}" % p for p in (2, 3, 5, 7, 11, 13, 17, 19, 23)) + "}",
    "1",
    "rationalising bait",
    False,
)
h(r"\sqrt{2+" * 60 + "2" + "}" * 60, "2", "60 nested roots (equal to 2)")
h(r"\sqrt{2+" * 40 + "1" + "}" * 40, "2", "40 nested roots (within 1e-23 of 2)", False)
h(r"\sqrt[3]{1+" * 40 + "x" + "}" * 40, "x", "nested cube roots", False)
h("+".join(r"\sin(%dx)" % k for k in range(1, 500)), "0", "sum of 500 sines", False)
h(r"\sin x" * 2000, "0", "2000 sines", False)
h("123456789" * 30 + r"\cdot " + "987654321" * 30 + "+1", "0", "factoring bait", False)
h(r"\sqrt{" + "1234567891" * 30 + "}", "0", "square-free bait: factor a 300-digit number", False)
h(r"\log_{" + "1234567891" * 30 + "}{" + "9876543211" * 30 + "}", "0", "log bait", False)
# division by zero and indeterminate forms
for a, b in (
    (r"\frac{1}{0}", r"\infty"),
    (r"\frac{0}{0}", "0"),
    (r"\frac{0}{0}", "1"),
    ("0^0", "1"),
    ("0^0", "0"),
    ("1/0", "2/0"),
    ("0^{-1}", r"\infty"),
    (r"\infty-\infty", "0"),
    (r"0\cdot\infty", "0"),
    (r"\frac{\infty}{\infty}", "1"),
    (r"1^\infty", "1"),
    (r"\frac{x}{0}", "x"),
    (r"\frac{x}{x-x}", "1"),
    (r"\tan 90^\circ", r"\infty"),
    ("1 mod 0", "0"),
    (r"\frac{1}{0.0}", "0"),
    ("0!", "0"),
    ("(-1)^{1/0}", "1"),
    (r"0.\overline{0}", "1"),
    ("5_0", "5"),
    ("1_1", "1"),
    ("9_{-10}", "9"),
    ("Z_{10^{100}}", "Z"),
    ("25:61", "2"),
    ("12:99 p.m.", "1"),
    (r"(1,0)\cup(5", "1"),
    ("", ""),
    ("", "5"),
    ("5", ""),
    (" ", " "),
):
    h(a, b, f"degenerate {a} / {b}")
