"""What languages are called in English.

Goes in: a code, or a name as Whisper writes it. Comes out: the other one. Does not know: which
languages a model hears or writes.
"""

from __future__ import annotations

from pipeline.iso639 import SHORT_CODES

# Source: openai-whisper 20250625, tokenizer.py, LANGUAGES.
_NAMES = """
en:english zh:chinese de:german es:spanish ru:russian ko:korean fr:french ja:japanese
pt:portuguese tr:turkish pl:polish ca:catalan nl:dutch ar:arabic sv:swedish it:italian
id:indonesian hi:hindi fi:finnish vi:vietnamese he:hebrew uk:ukrainian el:greek ms:malay cs:czech
ro:romanian da:danish hu:hungarian ta:tamil no:norwegian th:thai ur:urdu hr:croatian bg:bulgarian
lt:lithuanian la:latin mi:maori ml:malayalam cy:welsh sk:slovak te:telugu fa:persian lv:latvian
bn:bengali sr:serbian az:azerbaijani sl:slovenian kn:kannada et:estonian mk:macedonian br:breton
eu:basque is:icelandic hy:armenian ne:nepali mn:mongolian bs:bosnian kk:kazakh sq:albanian
sw:swahili gl:galician mr:marathi pa:punjabi si:sinhala km:khmer sn:shona yo:yoruba so:somali
af:afrikaans oc:occitan ka:georgian be:belarusian tg:tajik sd:sindhi gu:gujarati am:amharic
yi:yiddish lo:lao uz:uzbek fo:faroese ht:haitian_creole ps:pashto tk:turkmen nn:nynorsk mt:maltese
sa:sanskrit lb:luxembourgish my:myanmar bo:tibetan tl:tagalog mg:malagasy as:assamese tt:tatar
haw:hawaiian ln:lingala ha:hausa ba:bashkir jw:javanese su:sundanese yue:cantonese
"""
# The same, TO_LANGUAGE_CODE: other names of these.
_OTHER_NAMES = """
my:burmese ca:valencian nl:flemish ht:haitian lb:letzeburgesch ps:pushto pa:panjabi ro:moldavian
ro:moldovan si:sinhalese es:castilian zh:mandarin
"""


def _pairs(table: str) -> list[tuple[str, str]]:
    cells = (pair.partition(":") for pair in table.split())
    return [(code, name.replace("_", " ")) for code, _, name in cells]


NAMES = dict(_pairs(_NAMES))
_CODES = {name: code for code, name in _pairs(_NAMES + _OTHER_NAMES)}


def code_of(said: str) -> str:
    """The code of "German", "german", "deu" or "de"; what is none of these stays as it is."""
    known = said.strip().lower()
    known = _CODES.get(known, known)
    return SHORT_CODES.get(known, known if known in NAMES else said)
