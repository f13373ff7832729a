"""The names of units and currencies, and the words after a number that are none."""

from __future__ import annotations

_NAMES = {
    "mm": "millimeter millimetre 毫米", "cm": "centimeter centimetre 厘米", "dm": "decimeter decimetre 分米",
    "m": "meter metre 米", "km": "kilometer kilometre 千米 公里", "in": "inch inches 英寸", "ft": "foot feet 英尺",
    "yd": "yard 码", "mi": "mile 英里", "g": "gram gramme 克", "kg": "kilogram 千克 公斤", "mg": "milligram 毫克",
    "lb": "pound 磅", "oz": "ounce 盎司", "ton": "tonne 吨", "l": "liter litre 升", "ml": "milliliter millilitre 毫升",
    "s": "second sec 秒 秒钟", "min": "minute 分钟", "h": "hour hr 小时 时", "day": "天 日", "week": "周 星期",
    "month": "月 个月", "year": "yr 年", "degree": "deg ° 度", "radian": "rad 弧度", "percent": "% percentage pct",
    "mph": "", "gal": "gallon", "qt": "quart", "unit": "单位", "acre": "", "hectare": "公顷", "mole": "mol 摩尔",
    "dollar": "$ usd buck us$ 美元", "cent": "¢ 美分", "euro": "€ eur 欧元", "sterling": "£ gbp 英镑",
    "yen": "jpy 日元", "¥": "", "yuan": "rmb cny 元", "rupee": "₹ rs inr 卢比", "ruble": "₽ rub 卢布",
    "won": "₩ krw 韩元", "hkd": "hk$ 港元", "cad": "c$ ca$", "aud": "a$ au$",
    **dict.fromkeys("chf sek nok dkk brl mxn sgd nzd zar pln ₱ ₫ ₦ ฿ ₪ ₴".split(), ""),
    # The measure words of Chinese, which count things.
    **dict.fromkeys("个 只 本 张 支 条 件 辆 次 名 位 种 块 棵 头 页 道 套 箱 袋 瓶 杯 朵 颗 组 排 班 台 座 双 把 根 人 岁 步 局 场 盒 户 篇 枚 段 对".split(), ""),  # noqa: E501
}  # fmt: skip
# Abbreviations with a meaning in their case: mW is not MW.
_CASED_NAMES = {
    "N": "newton 牛 牛顿", "kN": "kilonewton", "J": "joule 焦 焦耳", "kJ": "kilojoule 千焦", "MJ": "megajoule",
    "W": "watt 瓦", "mW": "milliwatt", "kW": "kilowatt 千瓦", "MW": "megawatt", "V": "volt 伏", "mV": "millivolt",
    "kV": "kilovolt", "A": "ampere amp 安", "mA": "milliampere", "K": "kelvin", "Pa": "pascal 帕", "kPa": "kilopascal",
    "MPa": "megapascal", "Hz": "hertz 赫兹", "kHz": "kilohertz", "MHz": "megahertz", "GHz": "gigahertz",
    "C": "coulomb", "F": "farad", "T": "tesla", "H": "henry", "nm": "nanometer nanometre", "ms": "millisecond",
    "ns": "nanosecond", "eV": "electronvolt", "keV": "", "MeV": "", "kWh": "", "cal": "calorie", "kcal": "kilocalorie",
    "dB": "decibel", "Ω": "ohm",
    "bit": "", "byte": "", "°C": "", "°F": "",
}  # fmt: skip
UNITS = {alias: unit for unit, aliases in _NAMES.items() for alias in (unit, *aliases.split())}
CASED_UNITS = {alias: unit for unit, aliases in _CASED_NAMES.items() for alias in (unit, *aliases.split())}
KNOWN = frozenset((*UNITS.values(), *CASED_UNITS.values()))
# Letters that are units after a number and a space. Beside an expression they are variables.
LETTER_UNITS = frozenset("m s h g l L N J W V nm ms Pa Hz".split())
# Units of one capital letter, set as text behind a number. C and A could be answers of a choice.
TEXT_LETTER_UNITS = "NJWVK"
SIGNS = "$£€¥₹₽₩₱₫₦฿₪₴"
CURRENCIES = (
    rf"[A-Z]{{1,3}}\$|«?[{SIGNS}]»?|«?Rs\.?»? ?|"
    r"«?(?:USD|EUR|GBP|JPY|CNY|RMB|INR|CAD|AUD|HKD|CHF|SEK|NOK|DKK|BRL|MXN|SGD|NZD|ZAR|PLN)»? ?"
)
CHINESE_POWERS = {"平方": "^2", "立方": "^3"}

# Words with more meaning than a unit, or that are mathematics.
NO_UNIT = frozenset(
    "and or if for when where hundred thousand dozen score gross less more most least fewer above below plus "
    "minus times over divided multiplied choose root repeating recurring except excluding excluded nonzero "
    "otherwise odd even by to through out of halved doubled tripled twice ten tens ones eleventh elevenths "
    "twelfth twelfths power rem extraneous undefined under debt into squared cubed factorial not negative is "
    "ago loss mod remainder base infinity infinities floor ceil sqrt sin cos tan sinh cosh tanh cis log ln exp "
    "re im pi alpha beta gamma delta epsilon zeta eta theta kappa lambda mu nu xi rho sigma tau phi chi psi "
    "omega".split()
)
# Counted things that may follow a number as plain text; as LaTeX text, any word may.
COUNTED = frozenset(
    "way people person student child children boy girl point game marble apple orange ball card coin book page number "
    "integer solution pair side triangle square edge vertex vertices term digit prime factor divisor car ticket cookie "
    "candy flower tree step item vote team player bird cow dog cat egg box bag piece slice cup bottle stamp seat row "
    "column tile".split()
)


def one_unit(word: str) -> str:
    """Return one name for a word's unit; a word that is no unit is its own name, in lower case and singular."""
    if word in CASED_UNITS:
        return CASED_UNITS[word]
    lower = word.lower()
    singular = lower[:-1] if lower.endswith("s") and len(lower) > 2 else lower
    return UNITS.get(lower) or UNITS.get(singular) or CASED_UNITS.get(singular) or CASED_UNITS.get(lower) or singular


def chinese_unit(text: str) -> str | None:
    """Return the unit that Chinese words name, such as cm^2 for 平方厘米 and km/h for 千米/时; None for other words."""
    parts = []
    for part in text.replace("每", "/").split("/"):
        power = CHINESE_POWERS.get(part[:2], "")
        word = part[2:] if power else part
        unit = UNITS.get(word) or CASED_UNITS.get(word)
        if unit is None or word.isascii():
            return None
        parts.append(unit + power)
    return "/".join(parts)
