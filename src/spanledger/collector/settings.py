"""What of the service follows the configuration, also while it runs.

Promises: each part is made from a checked configuration alone; a change that needs a restart is
named, never half applied. Never reads a file but certificates and prices.
"""

import time
from collections.abc import Callable
from typing import Final

from pydantic import BaseModel

from spanledger.collector.auth import Gate, Grant
from spanledger.collector.books import Books
from spanledger.collector.commit import Rules
from spanledger.collector.tls import Certificates, Files
from spanledger.config import Config
from spanledger.errors import StartupError
from spanledger.ledger import dialects
from spanledger.ledger.pricing import price

# What SIGHUP takes into use. Everything else is bound to sockets, files and threads that exist.
RELOADED: Final = frozenset({"attributes", "auth", "budgets", "prices", "tenant"})


def rules(config: Config, books: Books, sealed_before_ns: Callable[[], int] = lambda: 0) -> Rules:
    """How bodies become entries; none before the moment at which the ledger is sealed.

    The book of these prices is the one in use from now on.

    Raises:
        StartupError: the configuration asks for content to be kept.
        PriceFileError: a price file cannot be used.
    """
    attributes = config.attributes
    own = tuple(attributes.columns.items())
    asked = [*attributes.allow, *(name for _, names in own for name in names)]
    if content := dialects.content_names(asked):
        raise StartupError(
            f"attributes: {', '.join(content)}: content is never kept",
            hint="Remove these names; parameters, ids and tags of your own may be kept",
        )
    book = books.load(config.prices.files, config.prices.data)
    return Rules(
        dialects.attribute_keys(attributes.allow, own),
        lambda spans, tenants: dialects.refuse_before(
            dialects.normalise(spans, tenants, own), sealed_before_ns()
        ),
        lambda calls: price(calls, book, known_at_ns=time.time_ns()),
        book,
    )


def gate(config: Config) -> Gate:
    """Who may send and read."""
    grants = (
        Grant(token.token.reveal(), token.tenant or config.tenant, frozenset(token.may))
        for token in config.auth.tokens
    )
    return Gate(grants, config.tenant)


def certificates(config: Config) -> Certificates | None:
    """The certificate of all listeners, None where they speak in the clear.

    Raises:
        StartupError: its files cannot be used.
    """
    tls = config.tls
    if tls.cert_file is None or tls.key_file is None:
        return None
    return Certificates(Files(tls.cert_file, tls.key_file, tls.client_ca_file))


def taken_over(running: Config, new: Config) -> Config:
    """The running configuration with what can change while it runs."""
    return running.model_copy(update={key: getattr(new, key) for key in RELOADED})


def needs_restart(running: Config, new: Config) -> list[str]:
    """The keys that differ and cannot change while it runs."""
    names = sorted(Config.model_fields.keys() - RELOADED)
    return [key for name in names for key in _differing(running, new, name, name)]


def _differing(running: BaseModel, new: BaseModel, name: str, key: str) -> list[str]:
    before, after = getattr(running, name), getattr(new, name)
    if isinstance(before, BaseModel) and isinstance(after, type(before)):
        return [
            place
            for part in type(before).model_fields
            for place in _differing(before, after, part, f"{key}.{part}")
        ]
    return [] if before == after else [key]
