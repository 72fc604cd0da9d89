"""Which counts follow from which, and how far counts may go: the rules of usage, as tables.

Promises: plain Python without a dependency, so that the columnar engine (``pricing_usage``) and
the estimate of a single call (``estimate``) stand on the same tables.
Never a rule of one model or provider: those are prices.
"""

from typing import Final

# Clocks have nanoseconds at best. A count times this still fits int64 up to FRACTION_MAX.
NANO: Final = 10**9
# A call with a fraction in it is not a call of more than a billion of anything: 31 years of audio.
FRACTION_MAX: Final = 10**9

TTLS: Final = tuple(f"cache_write_{ttl}_tokens" for ttl in ("5m", "30m", "1h", "12h"))

# A whole that was not reported (0) is the sum of its parts where those cannot overlap.
SUMS: Final = {
    "cache_write_tokens": TTLS,
    "audio_seconds": ("input_audio_seconds", "output_audio_seconds"),
    "input_document_pages": ("input_annotated_document_pages",),
}

# Parts of input_tokens that overlap: (cached, of a modality, what is both).
OVERLAPS: Final = tuple(
    ("cache_read_tokens", f"input_{modality}_tokens", f"cache_{modality}_read_tokens")
    for modality in ("audio", "image")
)
TOTALS: Final = ("input_tokens", "output_tokens")
