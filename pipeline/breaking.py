"""How well text may be broken between two atoms.

Goes in: the texts of neighbours, the language. Comes out: a cost, 0 for the best place to break.
Does not know: times, widths, lines.

The order of the costs is Netflix's timed text style guide, general requirements, "line treatment":
break after punctuation, before conjunctions, before prepositions; do not part a noun from its
article or adjective, a first from a last name, a verb from its subject, auxiliary or negation.
BBC subtitle guidelines, "break at natural points", say the same.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class BreakCosts:
    """What a break costs. Only the proportions matter."""

    sentence: float = 0.0  # after the end of a sentence
    clause: float = 0.8  # after a comma, semicolon, colon, dash or bracket
    clause_word: float = 1.5  # before that, which, because, but …
    phrase_word: float = 2.2  # before and, or, in, with, after …
    predicate: float = 3.0  # before is, has, would … after a noun
    plain: float = 4.0  # between words that are nothing special
    tied: float = 8.0  # between words that belong together: I | am, Ada | Lovelace, 32 | years
    leaning: float = 14.0  # after a word that leans on the next: the | house, of | it, Mr. | Hyde


@dataclass(frozen=True, slots=True)
class Grammar:
    """The small words of a language, lower-case."""

    clause_words: frozenset[str] = frozenset()  # conjunctions that begin a clause, relatives
    phrase_words: frozenset[str] = frozenset()  # prepositions, and, or
    leaning: frozenset[str] = frozenset()  # articles, possessives, "of", titles, abbreviations
    pronouns: frozenset[str] = frozenset()  # that can be subjects
    auxiliaries: frozenset[str] = frozenset()  # and forms of "to be", with their negations
    tied: frozenset[str] = frozenset()  # others that belong to the next word: very, this, two
    ordinal_dot: bool = False  # "3. Mai": a number's full stop ends no sentence


COSTS = BreakCosts()

# A full stop ends no sentence when the next word is lower-case.
_SENTENCE_END = (".", "?", "!", "…", "。", "？", "！", "؟", "۔", "।", "॥", "．", "｡", "։", "።")
_UNSURE_END = (".", "…")
_CLAUSE_END = (",", ";", ":", "、", "，", "；", "：", "،", "؛", "–", "—", "-", ")", "]", "」", "）")
_CLOSING = "\"'”’»›)]}」』）】"
_OPENING = '"“„«‹([{「『（【¿¡–—♪-'
_ACRONYM = re.compile(r"(?:\w\.){2,}")  # U.S. and a.m.: their full stops say nothing
_MARKS = re.compile(r"[?!:;.,…»›”’%€$°)\]]+")  # French sets a space before "?" and "»"


def break_cost(before: str, after: str, grammar: Grammar) -> float:
    """The cost of a line or a cue that ends with `before` when `after` follows."""
    if _MARKS.fullmatch(after) or _leans(before, grammar):
        return COSTS.leaning
    if _bare(before).rstrip(",") == _bare(after).rstrip(","):
        return COSTS.tied  # really, really
    punctuated = _after_punctuation(before, after, grammar)
    return _between_words(before, after, grammar) if punctuated is None else punctuated


def ends_sentence(before: str, after: str, grammar: Grammar) -> bool:
    """Whether a sentence ends between two neighbours."""
    bare = before.rstrip(_CLOSING)
    if not bare.endswith(_SENTENCE_END) or _MARKS.fullmatch(after) or _ACRONYM.fullmatch(bare):
        return False
    if _leans(before, grammar):
        return False
    return not (bare.endswith(_UNSURE_END) and after.lstrip(_OPENING)[:1].islower())


def _bare(word: str) -> str:
    """As the tables have it; what follows a word says how it is bound, so that stays."""
    return word.lower().lstrip(_OPENING)


def _leans(before: str, grammar: Grammar) -> bool:
    """Articles, prepositions and conjunctions never end a line; nor do titles and initials."""
    word = _bare(before)
    if word in grammar.leaning or word in grammar.phrase_words or word in grammar.clause_words:
        return True
    if grammar.ordinal_dot and before[:-1].isdigit() and len(before) <= len("31."):
        return before.endswith(".")
    initial = len(before) == len("J.") and before.endswith(".") and before[0].isupper()
    return initial or not word


def _after_punctuation(before: str, after: str, grammar: Grammar) -> float | None:
    if ends_sentence(before, after, grammar):
        return COSTS.sentence
    bare = before.rstrip(_CLOSING)
    if _ACRONYM.fullmatch(bare):
        return None
    if before.endswith(_CLAUSE_END) or bare.endswith((*_CLAUSE_END, *_SENTENCE_END)):
        return COSTS.clause
    return COSTS.clause if after[0] in _OPENING else None


def _between_words(before: str, after: str, grammar: Grammar) -> float:
    word, following = _bare(before), _bare(after)
    tied = word in grammar.auxiliaries or word in grammar.tied or _ties(before, after)
    if following in grammar.clause_words:
        return COSTS.plain if tied else COSTS.clause_word
    if following in grammar.phrase_words:
        return COSTS.plain if tied else COSTS.phrase_word
    if tied or word in grammar.pronouns:
        return COSTS.tied
    if following in grammar.auxiliaries:
        return COSTS.predicate
    return _between_signs(before[-1], after[0])


def _ties(before: str, after: str) -> bool:
    """Parts of a name, or a number and what it counts."""
    name = before[0].isupper() and after[0].isupper() and len(before) > 1 and len(after) > 1
    return name or before[-1].isdigit()


def _between_signs(before: str, after: str) -> float:
    """Japanese words begin with kanji or katakana and end in hiragana: break where one begins."""
    left, right = _script(before), _script(after)
    if "HIRAGANA" not in (left, right) and left != "KATAKANA":
        return COSTS.plain
    if left == "HIRAGANA":
        return COSTS.plain if right == "HIRAGANA" else COSTS.phrase_word
    return COSTS.tied


def _script(character: str) -> str:
    return "" if character.isascii() else unicodedata.name(character, "").partition(" ")[0]


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


GRAMMARS = MappingProxyType(
    {
        "de": Grammar(
            _set(
                "aber denn sondern weil dass daß wenn als ob obwohl damit während bevor nachdem "
                "sobald solange sowohl indem falls wo wie was warum welche welcher welches"
            ),
            _set(
                "und oder sowie an auf aus bei beim bis durch für gegen hinter im in ins mit nach "
                "neben ohne seit trotz über um unter vom vor wegen zu zum zur zwischen am ans"
            ),
            _set(
                "der die das den dem des ein eine einen einem einer eines kein keine keinen "
                "keinem keiner mein meine meinen meinem meiner dein deine deinen deinem deiner "
                "sein seine seinen seinem seiner ihre ihren ihrem ihrer unser unsere unseren "
                "unserem unserer dieser diese dieses diesen diesem jeder jede jedes jeden jedem "
                "von herr frau hr. fr. dr. prof. st. z.b. bzw. ca. nr."
            ),
            _set("ich du er sie es wir ihr man"),
            _set(
                "bin bist ist sind war waren habe hast hat haben hatte hatten wird werden wurde "
                "wurden würde kann können konnte muss müssen soll sollte will wollen darf"
            ),
            _set("nicht nie sehr ganz so zwei drei vier fünf viel mehr"),
            ordinal_dot=True,
        ),
        "en": Grammar(
            _set(
                "but because although though if unless while whereas when whenever where wherever "
                "whether that which who whom whose until so how why what"
            ),
            _set(
                "and or nor about above across after against along amid among around as at before "
                "behind below beneath beside between beyond by despite during except for from in "
                "inside into like near on onto outside over past since through throughout to "
                "toward towards under underneath upon than via with within without"
            ),
            _set(
                "a an the my your our their its every of mr. mrs. ms. dr. prof. st. vs. e.g. i.e. "
                "mr mrs dr"
            ),
            _set("i you he she it we they"),
            _set(
                "i'm you're he's she's it's we're they're i've you've we've they've i'll you'll "
                "he'll she'll we'll they'll i'd you'd he'd she'd we'd they'd there's that's am is "
                "are was were been being be have has had do does did will would can could shall "
                "should may might must don't doesn't didn't won't wouldn't can't cannot couldn't "
                "isn't aren't wasn't weren't haven't hasn't hadn't shouldn't"
            ),
            _set(
                "not never let's his her this these those some any each no very really too quite "
                "much more most less rather going two three four five six seven eight nine ten"
            ),
        ),
        "es": Grammar(
            _set(
                "pero sino que porque aunque si cuando donde como mientras pues quien quienes qué "
                "cómo dónde cuándo cual cuyo cuya"
            ),
            _set(
                "y e o u ni a ante bajo con contra desde durante en entre hacia hasta para por "
                "según sin sobre tras al"
            ),
            _set(
                "el la los las un una unos unas lo de del mi tu su mis tus sus nuestro nuestra "
                "nuestros nuestras este esta estos estas ese esa esos esas cada sr. sra. srta. "
                "dr. dra. d. ud. don doña san"
            ),
            _set("yo tú él ella nosotros ustedes ellos ellas"),
            _set("es son era eran fue fueron ha han he hemos había está están estaba"),
            _set("se me te nos le les no muy más nunca dos tres cuatro"),
        ),
        "fr": Grammar(
            _set(
                "mais donc car que qui quand lorsque lorsqu'il si comme parce puisque dont où "
                "comment pourquoi puis quoique"
            ),
            _set(
                "et ou ni à dans en sur sous chez par pour avec sans vers entre depuis pendant "
                "avant après contre devant derrière jusque jusqu'à jusqu'au jusqu'aux dès selon "
                "malgré au aux"
            ),
            _set(
                "le la les un une des du de mon ma mes ton ta tes son sa ses notre nos votre vos "
                "leur leurs ce cet cette ces chaque m. mme mme. mlle dr dr. monsieur madame saint"
            ),
            _set("je tu il elle on nous vous ils elles"),
            _set(
                "est sont était étaient suis es sommes êtes a ont ai as avons avez avait c'est "
                "n'est"
            ),
            _set("ne me te se très plus d'un d'une l'un deux trois quatre"),
        ),
    }
)
NO_GRAMMAR = Grammar()  # of other languages only the punctuation is known
