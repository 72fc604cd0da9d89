"""Tokens of what is not counted in tokens yet: text by its length, audio by its minutes.

Promises: every ratio has its source beside it, and what is computed with one is an estimate that
says so; where nobody published a ratio there is no figure. Text is measured, never kept.
"""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Final, Literal

from spanledger.ledger.catalog import RateCard
from spanledger.ledger.estimate.quantities import WIDE, Quantities

# What providers tell of English prose. Code and other scripts have fewer characters a token.
CHARACTERS_A_TOKEN: Final = 4
# 100 tokens are about 75 words of English.
TOKENS_A_WORD: Final = Decimal("1.3")

Direction = Literal["input", "output"]


@dataclass(frozen=True, slots=True)
class _AudioRatio:
    provider: str  # whose model it is, an id of the book
    has: str  # in the id of the model
    lacks: str
    direction: Direction
    tokens_a_second: int
    source: str


_REALTIME: Final = "https://developers.openai.com/api/docs/guides/realtime-costs"
_AUDIO_RATIOS: Final = (
    _AudioRatio("openai", "realtime", "whisper", "input", 10, _REALTIME),
    _AudioRatio("openai", "realtime", "whisper", "output", 20, _REALTIME),
    # Live models count otherwise.
    _AudioRatio(
        "google", "gemini", "live", "input", 32, "https://ai.google.dev/gemini-api/docs/audio"
    ),
)


def tokens_of_text(text: str) -> int:
    """About how many tokens a text has: one for 4 characters, rounded up.

    Good to within a third for English prose; too low for code and for scripts such as Chinese.
    A cost that is computed with it is an estimate: pass ``usage_estimated=True``, or use
    ``estimate_text``, which does.
    """
    return tokens_of_characters(len(text))


def tokens_of_characters(characters: int) -> int:
    """About how many tokens so many characters are."""
    return -(-characters // CHARACTERS_A_TOKEN)


def measured(characters: int) -> tuple[int, str]:
    """Tokens for the length of a text, and the note that they are a guess."""
    tokens = tokens_of_characters(characters)
    ratio = f"about {CHARACTERS_A_TOKEN} characters a token"
    return tokens, f"a text of {characters:,} characters taken for {tokens:,} tokens ({ratio})"


def tokens_of_words(words: int) -> int:
    """About how many tokens so many English words are: 1.3 a word, rounded up."""
    tokens = WIDE.multiply(Decimal(words), TOKENS_A_WORD)
    return int(tokens.to_integral_value(ROUND_CEILING))


def add_audio(
    card: RateCard, direction: Direction, minutes: int | Decimal, quantities: Quantities
) -> tuple[bool, str]:
    """Add minutes of audio to ``quantities`` in the unit that the model is sold by.

    Returns:
        Whether the model can be charged for them, and a note: how minutes became tokens, or why
        they did not. Without a note they became seconds, which is no estimate.
    """
    seconds = WIDE.multiply(Decimal(minutes), Decimal(60))
    if f"{direction}_audio_seconds" in card.shape.covered:
        _add(quantities, f"{direction}_audio_seconds", seconds)
        return True, ""
    entry = card.model.entry
    for ratio in _AUDIO_RATIOS:
        fits = entry.provider == ratio.provider and ratio.has in entry.id
        if fits and ratio.lacks not in entry.id and direction == ratio.direction:
            product = WIDE.multiply(seconds, Decimal(ratio.tokens_a_second))
            tokens = int(product.to_integral_value(ROUND_CEILING))
            _add(quantities, f"{direction}_audio_tokens", Decimal(tokens))
            _add(quantities, f"{direction}_tokens", Decimal(tokens))
            return True, (
                f"{minutes} minutes of {direction} audio taken for {tokens:,} tokens "
                f"({ratio.tokens_a_second} a second: {ratio.source})"
            )
    return False, (
        f"{entry.id} is not sold by the minute of {direction} audio, and how many tokens a "
        f"minute of it has is not published: give {direction}_audio_tokens"
    )


def _add(quantities: Quantities, unit: str, more: Decimal) -> None:
    total = WIDE.add(Decimal(quantities.get(unit, 0)), more)
    is_whole = total == total.to_integral_value()
    quantities[unit] = int(total) if is_whole else total
