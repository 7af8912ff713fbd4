"""Words in the visitor's language, and numbers as each language writes them."""

import re
from functools import cache, partial

from sentences import SENTENCES
from words import WORDS

LANGUAGES = ("en", "fr")


def say(key: str, language: str, **values: object) -> str:
    """A sentence of the page.

    Args:
        key: its name in `WORDS`.
        language: "en" or "fr".
        values: what fills its braces.
    """
    return WORDS[key][LANGUAGES.index(language)].format(**values)


def table(language: str) -> dict[str, str]:
    """All words of the page, for scripts."""
    return {key: pair[LANGUAGES.index(language)] for key, pair in WORDS.items()}


def class_name(name: str, language: str) -> str:
    """A class of the release, as people call it; other names stay as they are."""
    key = f"class_{name}"
    return say(key, language) if key in WORDS else name


def source_name(name: str, language: str) -> str:
    """A source of images, as people call it; other names stay as they are."""
    key = f"source_{name}"
    return say(key, language) if key in WORDS else name


def reason(text: str | None, language: str) -> str | None:
    """Sentences of the package about a file, in the visitor's language."""
    if language == "en" or not text:
        return text
    for pattern, french in _sentences():
        text = pattern.sub(partial(_filled, french), text)
    return text


def of_language(asked: str | None) -> str:
    """A language that the page speaks: the one that was asked for, else English."""
    code = (asked or "").strip().lower()[:2]
    return code if code in LANGUAGES else LANGUAGES[0]


def percents(values: list[float]) -> list[float]:
    """Shares in whole percents that add up to 100 (largest remainder).

    Args:
        values: shares, 0..1, sum 1.

    Returns:
        The same shares, 0..1, each a whole percent.
    """
    whole = [int(100 * value) for value in values]
    order = sorted(range(len(values)), key=lambda i: whole[i] - 100 * values[i])
    for index in order[: 100 - sum(whole)]:
        whole[index] += 1
    return [count / 100 for count in whole]


def percent(value: float, language: str, digits: int = 0) -> str:
    """A probability or a share as people write it; never a certainty that the model cannot have.

    Args:
        value: 0..1.
        language: "en" or "fr".
        digits: digits after the point; 0 rounds to whole percents and says "<1%" and ">99%".
    """
    if digits == 0 and value < 0.01:
        text = "<1"
    elif digits == 0 and value > 0.99:
        text = ">99"
    else:
        text = f"{100 * value:.{digits}f}"
    return number(text, language) + ("\u202f%" if language == "fr" else "%")


def number(text: str, language: str) -> str:
    """A number with the language's decimal sign."""
    return text.replace(".", ",") if language == "fr" else text


@cache
def _sentences() -> list[tuple[re.Pattern, str]]:
    """Each English sentence, the longest first, as one may begin another, and the French one."""
    ordered = sorted(SENTENCES.items(), key=lambda pair: len(pair[0]), reverse=True)
    return [(re.compile(_blanks(english)), french) for english, french in ordered]


def _filled(french: str, found: re.Match) -> str:
    return french.format(**{key: _in_french(value) for key, value in found.groupdict().items()})


def _blanks(english: str) -> str:
    """A sentence as a pattern whose blanks are words without spaces, or the rest of the line."""
    parts = re.split(r"{(\w+)}", english)
    last = parts[-1] == ""
    pattern = ""
    for index, part in enumerate(parts):
        if index % 2 == 0:
            pattern += re.escape(part)
        else:
            ends = last and index == len(parts) - 2
            pattern += rf"(?P<{part}>{'.+' if ends else '[^ ;)]+?'})"
    return pattern


def _in_french(value: str) -> str:
    """A blank's figure or size."""
    size = re.fullmatch(r"([\d.]+)( MB)?", value)
    return number(size[1], "fr") + (" Mo" if size[2] else "") if size else value
