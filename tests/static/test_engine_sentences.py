"""What the engine says stands in the table that both pages share."""

import re

from tests.helpers.space_app import SPACE

import sentences  # isort: skip (space/ is put on the path by tests.space_app)

LITERAL = r'"(?:[^"\\\n]|\\.)*"|' + r"'(?:[^'\\\n]|\\.)*'"
STARTS = r"([Tt]his|[Tt]he|Taken) "


def sentences_of(source):
    """Texts of a script that are joined from literals and begin as a sentence for the reader."""
    for found in re.finditer(rf"(?:{LITERAL})(?:\s*\+\s*(?:{LITERAL}))*", source):
        text = "".join(part[1:-1] for part in re.findall(LITERAL, found.group()))
        if re.match(STARTS, text):
            yield text


def test_every_sentence_of_the_engine_is_in_the_table():
    found = set()
    for path in (SPACE / "static" / "engine").glob("*.js"):
        found |= set(sentences_of(path.read_text(encoding="utf-8")))
    assert len(found) > 40, "else they are no longer found"
    assert found - set(sentences.SENTENCES) == set()
