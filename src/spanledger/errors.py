"""The errors that a person is meant to read, each with what to do about it.

Promises: whatever derives from ``SpanledgerError`` is shown as plain sentences and ends the
command with ``exit_code``, never with a traceback. Never holds a secret: values are rendered by
whoever knows whether they may be shown.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


class SpanledgerError(Exception):
    """Something that the person at the keyboard can put right.

    Args:
        message: what happened, where, and the value.
        hint: what to do.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}. {self.hint}" if self.hint else self.message


class StartupError(SpanledgerError):
    """The service cannot start here: a taken port, a data directory with another owner."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the configuration."""

    where: str  # "config.yaml:12", "--set" or "" for the configuration as a whole
    key: str  # dotted path, "" where there is none
    value: str  # as written, "" where it must not or cannot be shown
    wrong: str  # begins with a verb: "is given twice"
    hint: str  # what to do

    def __str__(self) -> str:
        subject = f"{self.key} = {self.value}" if self.key and self.value else self.key
        fault = f"{subject} {self.wrong}" if subject else self.wrong
        sentence = f"{self.where}: {fault}" if self.where else fault
        return f"{sentence}. {self.hint}" if self.hint else sentence


class ConfigError(SpanledgerError):
    """The configuration cannot be used; carries every problem at once."""

    what: ClassVar[str] = "the configuration has"

    def __init__(self, errors: Sequence[Problem]) -> None:
        self.errors = tuple(errors)
        count = f"{len(self.errors)} problem{'s' if len(self.errors) != 1 else ''}"
        super().__init__(f"{self.what} {count}")

    def __str__(self) -> str:
        return "\n".join((f"{self.message}:", *(f"  {problem}" for problem in self.errors)))


class PriceFileError(ConfigError):
    """A price file cannot be used; carries every problem at once."""

    what: ClassVar[str] = "the price files have"
