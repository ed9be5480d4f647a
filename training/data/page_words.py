"""Words for rendered pages, made of random syllables, so that no text has to be downloaded."""

from __future__ import annotations

from random import Random

# Repeated entries are drawn more often.
ONSETS = (
    "b b br c c ch d d f f fl g gr h j k l l m m n n p p pr r r s s sh st t t th tr v w".split()
)
VOWELS = "a e i o u ai ea ee io ou".split()
CODAS = ["", "", "", "", "", "", "l", "m", "n", "nd", "r", "s", "st", "t", "ck", "ng"]
SHORT = "the of and to in is for on with as by at from or an be it that this are".split()
# Number of words in a page's vocabulary, not counting the short ones.
VOCABULARY = 240
# Share of short words in running text, as in English.
SHORT_SHARE = 0.35


class Words:
    """Draws words, sentences, names and numbers from the small vocabulary of this file.

    Args:
        random: The source of all random choices.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.vocabulary = [self._new_word() for _ in range(VOCABULARY)]

    def _new_word(self) -> str:
        syllables = self.random.choice((1, 1, 2, 2, 2, 3))
        return "".join(
            self.random.choice(ONSETS) + self.random.choice(VOWELS) + self.random.choice(CODAS)
            for _ in range(syllables)
        )

    def word(self) -> str:
        """One word of the vocabulary. The first ones come most often, as in a language."""
        return self.vocabulary[int(VOCABULARY * self.random.random() ** 2)]

    def words(self, count: int) -> str:
        """Words with spaces between them, without capitals."""
        return " ".join(self._running() for _ in range(count))

    def _running(self) -> str:
        return self.random.choice(SHORT) if self.random.random() < SHORT_SHARE else self.word()

    def title(self, least: int = 2, most: int = 6) -> str:
        """A headline of `least` to `most` words, the first one with a capital."""
        count = self.random.randint(least, most)
        return " ".join(self.word() for _ in range(count)).capitalize()

    def sentence(self) -> str:
        """5 to 18 words with a capital letter and a final mark; some have a comma or a number."""
        parts = self.words(self.random.randint(5, 18)).split()
        if self.random.random() < 0.3:
            parts[len(parts) // 2] += ","
        if self.random.random() < 0.2:
            parts.insert(-1, self.number())
        return " ".join(parts).capitalize() + self.random.choice("....?!")

    def paragraph(self, least: int = 2, most: int = 6) -> str:
        """`least` to `most` sentences."""
        return " ".join(self.sentence() for _ in range(self.random.randint(least, most)))

    def name(self) -> str:
        """A person's first and last name."""
        return f"{self.word().capitalize()} {self.word().capitalize()}"

    def identifier(self) -> str:
        """An identifier as in source code, in snake case or camel case."""
        parts = [self.word() for _ in range(self.random.randint(1, 3))]
        if self.random.random() < 0.7:
            return "_".join(parts)
        return parts[0] + "".join(part.capitalize() for part in parts[1:])

    def number(self) -> str:
        """A whole number, an amount, or a percentage."""
        kind = self.random.randrange(3)
        if kind == 0:
            return f"{self.random.randint(1, 99999):,}"
        if kind == 1:
            return f"{self.random.uniform(0, 9999):,.2f}"
        return f"{self.random.uniform(-50, 100):.1f} %"

    def date(self) -> str:
        """A day as year, month, day."""
        random = self.random
        return f"{random.randint(2012, 2029)}-{random.randint(1, 12):02}-{random.randint(1, 28):02}"

    def time(self) -> str:
        """A time of day in hours and minutes."""
        return f"{self.random.randrange(24):02}:{self.random.randrange(60):02}"
