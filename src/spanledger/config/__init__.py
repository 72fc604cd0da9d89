"""What an operator sets: the keys, their defaults, and reading them from a file.

Promises: a ``Config`` is complete, checked and frozen; whatever is wrong is told at once, each
problem with its key, the value and what to do. Never prints a secret, never guesses a value.
"""

from spanledger.config.load import load
from spanledger.config.model import Config, warnings
from spanledger.config.sections import Budget
from spanledger.config.values import Address, Secret

__all__ = ["Address", "Budget", "Config", "Secret", "load", "warnings"]
