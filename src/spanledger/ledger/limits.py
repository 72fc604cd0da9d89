"""Every bound of the core, each with its reason beside it.

Never holds a value that an operator sets: those are in ``config.py``. These are the bounds
without which arithmetic could overflow, memory could grow with junk, or content could leak.
"""

from typing import Final

TRACE_ID_BYTES: Final = 16
SPAN_ID_BYTES: Final = 8

# Counts above this are no usage of any real call; with the rate bound below, a product stays
# under 1e18 and therefore inside Decimal(38, 18), where Polars fails and ClickHouse wraps silently.
QUANTITY_MAX: Final = 10**12
RATE_USD_MAX: Final = 10**6

# A call dearer than this is a broken count. The bound keeps the sum over any realistic group of
# entries below 1e20 USD, the edge of Decimal(38, 18) past which sums wrap without an error.
CALL_COST_USD_MAX: Final = 10**9

# A fixed window, not one that moves with the clock: a moving one files a retry elsewhere.
START_TIME_NS_MIN: Final = 1_577_836_800_000_000_000  # 2020-01-01T00:00:00Z
START_TIME_NS_MAX: Final = 4_102_444_800_000_000_000  # 2100-01-01T00:00:00Z

# A log record says when a call ended and how long it took. Beyond a day that is no duration.
CALL_DURATION_NS_MAX: Final = 24 * 3_600 * 10**9

# genai-prices takes 1.7 s for a model name of 5 MB and remembers every name for ever.
MODEL_NAME_BYTES_MAX: Final = 256

# Text values are cut here: long enough for any id or name, too short for a prompt to hide in.
TEXT_BYTES_MAX: Final = 1_024
# Raw usage JSON is read for numbers and ids only, then dropped.
RAW_USAGE_BYTES_MAX: Final = 64 * 1_024
# Names of custom attributes: a dictionary of low cardinality in the store, not a second text.
CUSTOM_KEY_BYTES_MAX: Final = 128

# The shortest complete attribute has 9 bytes, {"key":"a","value":{"boolValue":true}} four values in
# 37. A request with less than this for each is padding, and each costs 60 to 150 bytes of memory.
BYTES_PER_VALUE_MIN: Final = 8
# The shortest element of an array has 4 bytes, a small number; an empty one 2, and 50 in memory.
BYTES_PER_ELEMENT_MIN: Final = 4
VALUES_FREE: Final = 512  # a small request harms nobody, whatever its proportions
# The way down to an element of an array in an attribute takes 12; whatever lies deeper is unknown.
JSON_DEPTH_MAX: Final = 64
# A span has 17 fields. Equal names in one object take the parser quadratic time: 4 MiB of them,
# more than a minute.
JSON_MEMBERS_MAX: Final = 256

MONEY_DIGITS: Final = 38
MONEY_SCALE: Final = 18
