"""Who speaks a sentence, and how.

In: a random generator. Out: a ``Voice`` and a ``Manner`` of speaking. Does not know: how any
synthesiser is run.

Training sentences are spoken by more voices and in a wider range of manners than test sentences. A
voice is never heard in training if it is in ``HELD_OUT``.
"""

import math
import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Voice:
    """One speaker of one synthesiser; written ``engine:name``."""

    engine: str
    name: str

    def __str__(self) -> str:
        return f"{self.engine}:{self.name}"

    @classmethod
    def parse(cls, text: str) -> "Voice":
        """The voice that ``str`` wrote."""
        return cls(*text.split(":", 1))


@dataclass(frozen=True, slots=True)
class Manner:
    """How one sentence is spoken; a synthesiser heeds what it can."""

    frequency_factor: float = 1.0  # all frequencies times this, by resampling: it shortens, too
    words_per_minute: int = 160  # espeak-ng
    pitch: int = 50  # espeak-ng, 0 to 99
    stretch: float | None = None  # flite and festival: durations times this
    melody_hz: tuple[float, float] | None = None  # festival: mean and deviation of the pitch


# Repeated entries are drawn more often.
ACCENTS = (
    *("en-us",) * 5,
    *("en-gb",) * 4,
    *("en-gb-x-rp",) * 2,
    *("en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-us-nyc", "en-029"),
)
# fmt: off
VARIANTS = (
    "m1", "m2", "m3", "m4", "m5", "m7", "m8", "f1", "f2", "f3", "f4", "Alex", "Andy", "Annie",
    "Gene", "Lee", "Marco", "Mike", "Michael", "adam", "anika", "announcer", "antonio",
    "belinda", "benjamin", "caleb", "david", "ed", "edward", "grandpa", "gustave", "iven",
    "john", "linda", "marcelo", "max", "michel", "miguel", "norbert", "pablo", "paul",
    "quincy", "rob", "robert", "shelby", "steph", "steph2", "travis", "victor", "zac",
)
WIDE_VARIANTS = (
    *VARIANTS,
    "Alicia", "Andrea", "Denis", "Diogo", "Gene2", "Henrique", "Hugo", "Jacky", "Mario",
    "Nguyen", "RicishayMax", "Storm", "Tweaky", "aunty", "boris", "edward2", "grandma",
    "iven2", "iven3", "iven4", "kaukovalta", "klatt", "klatt2", "klatt3", "klatt4", "klatt5",
    "klatt6", "pedro", "sandro", "steph3", "croak",
)
# fmt: on
FLITE = ("slt", "rms", "awb", "kal16")
SLT_HTS, KAL = "voice_cmu_us_slt_arctic_hts", "voice_kal_diphone"
HELD_OUT = (
    Voice("espeak", "en-us+f5"),
    Voice("espeak", "en-gb+m6"),
    Voice("festival", "voice_ked_diphone"),
)


@dataclass(frozen=True, slots=True)
class Cast:
    """Which voices are drawn: shares of espeak-ng and flite, festival takes the rest."""

    espeak: float
    flite: float
    variants: tuple[str, ...]
    festival: tuple[str, ...]
    plain_accent: float = 0.08  # an accent of espeak-ng without any variant

    def draw(self, rng: random.Random) -> Voice:
        """One voice."""
        share = rng.random()
        if share < self.espeak:
            variant = rng.choice(self.variants)
            accent = rng.choice(ACCENTS)
            plain = rng.random() < self.plain_accent
            return Voice("espeak", accent if plain else f"{accent}+{variant}")
        if share < self.espeak + self.flite:
            return Voice("flite", rng.choice(FLITE))
        return Voice("festival", rng.choice(self.festival))


SEEN_CAST = Cast(0.58, 0.36, VARIANTS, (SLT_HTS, KAL))
# Diphone voices are the rarest kind, and one of them is held out: more of the other one.
TRAINING_CAST = Cast(0.52, 0.34, WIDE_VARIANTS, (SLT_HTS, KAL, KAL))


def plain_manner(voice: Voice, rng: random.Random) -> Manner:
    """A manner for test sentences: near to the synthesiser's defaults."""
    if voice.engine == "festival":
        return Manner()
    factor = rng.uniform(0.9, 1.12)
    if voice.engine == "flite":
        return Manner(factor, stretch=rng.uniform(0.88, 1.15))
    rate, pitch = rng.randint(130, 190), rng.randint(25, 75)
    return Manner(factor if rng.random() < 0.3 else 1.0, rate, pitch)


def wide_manner(voice: Voice, rng: random.Random) -> Manner:
    """A manner for training: vocal tracts and tempos far beyond the voices' own.

    What the frequency factor shortens, the tempo lengthens first, so that the two vary freely.
    """
    strong = rng.random() < 0.65
    factor = math.exp(rng.uniform(-0.22, 0.22)) if strong else rng.uniform(0.96, 1.04)
    if voice.engine == "espeak":
        rate = max(80, round(rng.uniform(120, 200) / factor))
        return Manner(factor, rate, rng.randint(15, 85))
    if voice.engine == "flite":
        return Manner(factor, stretch=rng.uniform(0.85, 1.2) * factor)
    if voice.name != KAL:  # its tempo cannot be set
        return Manner(factor**0.55)
    melody_hz = (rng.uniform(80, 170), rng.uniform(8, 24))
    return Manner(factor, stretch=rng.uniform(0.92, 1.25) * factor, melody_hz=melody_hz)
