"""Facts behind an explanation, each as a sentence (`hrm.model.fact_phrases` has the kinds)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hrm.cli.output import show_amounts, show_time
from hrm.model.fact_phrases import phrase_of
from hrm.model.phrases import ENGLISH, say
from hrm.model.resources import GPUS, MEMORY, VCORES

#: What people call the resources of `hrm.model.resources` in tables.
UNITS = {MEMORY: "memory", VCORES: "cpu", GPUS: "gpu"}


def say_fact(fact: Mapping[str, Any], language: str = ENGLISH) -> str:
    """One fact. What a newer server may tell, and this program does not know, is shown field by field."""
    said = phrase_of(fact)
    if said is not None:
        return say(said, language, moment=show_time)
    fields = [f"{_words(key)} {_show(value)}" for key, value in fact.items() if key != "kind"]
    return f"{_words(str(fact.get('kind', 'fact')))}: {'; '.join(fields)}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _show(value: Any) -> str:
    if isinstance(value, dict):
        amounts = all(isinstance(amount, int) for amount in value.values())
        return show_amounts(value) if amounts else " ".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, list):
        return ",".join(map(str, value)) or "-"
    return "-" if value is None else str(value)
