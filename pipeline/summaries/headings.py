"""What the sections of a summary are called, in its own language.

Goes in: a language's code. Comes out: the names of sections. Does not know: what stands in them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Headings:
    """Of the sections, in the order of a summary."""

    points: str = "Key points"
    chapters: str = "Chapters"
    actions: str = "To do"
    questions: str = "Open questions"
    people: str = "People"
    terms: str = "Terms"
    topics: str = "Topics"


# By ISO 639-1. Other languages have English ones.
HEADINGS = {
    "en": Headings(),
    "cs": Headings(
        "Hlavní body", "Kapitoly", "Úkoly", "Otevřené otázky", "Lidé", "Pojmy", "Témata"
    ),
    "da": Headings(
        "Hovedpunkter", "Kapitler", "Opgaver", "Åbne spørgsmål", "Personer", "Begreber", "Emner"
    ),
    "de": Headings(
        "Kernpunkte", "Kapitel", "Aufgaben", "Offene Fragen", "Personen", "Begriffe", "Themen"
    ),
    "es": Headings(
        *("Puntos clave", "Capítulos", "Tareas", "Preguntas abiertas"),
        *("Personas", "Términos", "Temas"),
    ),
    "fi": Headings(
        *("Pääkohdat", "Luvut", "Tehtävät", "Avoimet kysymykset"),
        *("Henkilöt", "Käsitteet", "Aiheet"),
    ),
    "fr": Headings(
        *("Points clés", "Chapitres", "À faire", "Questions en suspens"),
        *("Personnes", "Termes", "Thèmes"),
    ),
    "it": Headings(
        "Punti chiave", "Capitoli", "Da fare", "Domande aperte", "Persone", "Termini", "Temi"
    ),
    "ja": Headings("要点", "チャプター", "やること", "未解決の質問", "人物", "用語", "トピック"),
    "ko": Headings("핵심 내용", "챕터", "할 일", "남은 질문", "인물", "용어", "주제"),
    "nl": Headings(
        "Kernpunten", "Hoofdstukken", "Te doen", "Open vragen", "Personen", "Begrippen", "Thema's"
    ),
    "no": Headings(
        "Hovedpunkter", "Kapitler", "Oppgaver", "Åpne spørsmål", "Personer", "Begreper", "Temaer"
    ),
    "pl": Headings(
        *("Najważniejsze punkty", "Rozdziały", "Do zrobienia", "Otwarte pytania"),
        *("Osoby", "Pojęcia", "Tematy"),
    ),
    "pt": Headings(
        *("Pontos principais", "Capítulos", "Tarefas", "Perguntas em aberto"),
        *("Pessoas", "Termos", "Temas"),
    ),
    "ru": Headings(
        *("Главное", "Главы", "Задачи", "Открытые вопросы", "Люди", "Термины", "Темы"),
    ),
    "sv": Headings(
        "Huvudpunkter", "Kapitel", "Att göra", "Öppna frågor", "Personer", "Begrepp", "Ämnen"
    ),
    "tr": Headings(
        *("Ana noktalar", "Bölümler", "Yapılacaklar", "Açık sorular"),
        *("Kişiler", "Terimler", "Konular"),
    ),
    "uk": Headings("Головне", "Розділи", "Завдання", "Відкриті питання", "Люди", "Терміни", "Теми"),
    "zh": Headings("要点", "章节", "待办事项", "待解决的问题", "人物", "术语", "主题"),
    "zh-Hant": Headings("重點", "章節", "待辦事項", "待解決的問題", "人物", "術語", "主題"),
}
_NORWEGIAN = ("nb", "nn")  # both have the names of "no"
# Where Chinese is written in traditional characters. Source: Unicode CLDR, likely subtags.
_TRADITIONAL = re.compile(r"zh-(.*-)?(hant|tw|hk|mo)\b|yue\b")


def headings(language: str | None) -> Headings:
    """For a code such as de, pt-BR, or zh-Hant."""
    tag = (language or "en").lower()
    if _TRADITIONAL.match(tag):
        return HEADINGS["zh-Hant"]
    code = tag.split("-")[0]
    return HEADINGS.get("no" if code in _NORWEGIAN else code, HEADINGS["en"])
