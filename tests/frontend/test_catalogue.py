"""Both languages are complete: every sentence that a program marks has its Chinese, with the same placeholders."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import polib
import pytest

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = ROOT / "frontend/locale/zh_Hant/LC_MESSAGES/django.po"
PACKAGES = ("monitor", "streams", "detectors", "alerts", "frontend")
PLAIN = {"_", "gettext", "gettext_lazy", "gettext_noop"}
WITH_CONTEXT = {"pgettext", "pgettext_lazy"}
PLACEHOLDER = re.compile(r"%\(\w+\)[-.\d]*[a-z]|\{\w+\}")
TRANS = re.compile(r"\{%\s*(?:trans|translate)\s+\"([^\"]+)\"")


def _marked_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        place = 0 if name in PLAIN else 1 if name in WITH_CONTEXT else None
        if place is None or len(node.args) <= place:
            continue
        text = node.args[place]
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            yield text.value


def marked() -> set[str]:
    """Every sentence marked for translation in code and in simple template tags."""
    found: set[str] = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            found |= set(_marked_in(ast.parse(path.read_text())))
        for path in (*(ROOT / package).rglob("*.html"), *(ROOT / package).rglob("*.txt")):
            found |= set(TRANS.findall(path.read_text()))
    return found


@pytest.fixture(scope="module")
def catalogue() -> polib.POFile:
    return polib.pofile(str(CATALOGUE))


def test_every_marked_sentence_is_in_the_catalogue(catalogue: polib.POFile) -> None:
    known = {entry.msgid for entry in catalogue}
    assert sorted(marked() - known) == [], "run: manage.py makemessages -l zh_Hant -l en"


def test_every_sentence_has_its_chinese(catalogue: polib.POFile) -> None:
    missing = [entry.msgid for entry in catalogue if not entry.translated() or entry.fuzzy]
    assert missing == []


def test_placeholders_are_the_same(catalogue: polib.POFile) -> None:
    for entry in catalogue:
        for said in (entry.msgstr, *entry.msgstr_plural.values()):
            if said:
                assert sorted(PLACEHOLDER.findall(said)) == sorted(
                    PLACEHOLDER.findall(entry.msgid_plural or entry.msgid)
                ), entry.msgid


def test_the_compiled_catalogue_is_that_of_the_text(catalogue: polib.POFile) -> None:
    compiled = {(entry.msgctxt, entry.msgid): entry.msgstr for entry in polib.mofile(str(CATALOGUE.with_suffix(".mo")))}
    for entry in catalogue:
        if not entry.msgid_plural:
            assert compiled.get((entry.msgctxt, entry.msgid)) == entry.msgstr, entry.msgid


ONE_WORD = {"供應商": "業者", "危急": "緊急", "場所": "場域", "控制室": "監控室", "界限": "門檻", "團隊": "小組"}
"""What would be a second word for the same thing, and the word that we use."""


def test_one_thing_has_one_word(catalogue: polib.POFile) -> None:
    said = "".join(entry.msgstr + "".join(entry.msgstr_plural.values()) for entry in catalogue)
    assert [(other, word) for other, word in ONE_WORD.items() if other in said] == []


MAINLAND = (
    "视频", "視頻", "軟件", "信息", "默認", "登錄", "攝像頭", "網絡", "服務器", "用戶", "短信",
    "數據", "屏幕", "激活", "鼠標", "菜單", "質量", "內存", "硬盤", "打印", "鏈接", "搜索",
    "點擊", "刷新", "實時",
)  # fmt: skip


def test_no_mainland_wording_or_half_width_punctuation_between_characters(catalogue: polib.POFile) -> None:
    for entry in catalogue:
        said = entry.msgstr + "".join(entry.msgstr_plural.values())
        assert not any(word in said for word in MAINLAND), entry.msgid
        assert not re.search(r"[\u4e00-\u9fff][,;!?][\u4e00-\u9fff]", said), entry.msgid
