"""The whole configuration, and what can be asked of it.

Promises: models are frozen, unknown keys are refused, each default is safe on a laptop. The
description of a key is what an error about it shows. Never reads a file or the environment.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, Field
from pydantic.fields import FieldInfo

from spanledger.config.sections import (
    Attributes,
    Auth,
    Budget,
    Journal,
    Log,
    Metrics,
    Name,
    Otlp,
    Prices,
    Retention,
    Section,
    Settlement,
    Sql,
    Store,
    Tls,
    Web,
)
from spanledger.config.values import Address, WrongValueError


def _directory(value: Any) -> Any:
    if isinstance(value, Path):
        return value
    try:
        usable = isinstance(value, str) and value and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise WrongValueError("is not the name of a directory", "Write a path, in quotes if needed")
    # A directory named "~" beside the program is never what was meant.
    return Path(value).expanduser()


class Config(Section):
    """The whole configuration."""

    data_dir: Annotated[Path, BeforeValidator(_directory)] = Field(
        default=Path("./spanledger-data"), description="where journal and ledger are kept"
    )
    tenant: Name = Field(default="default", description="whose calls these are")
    insecure: bool = Field(
        default=False,
        strict=True,
        description="listen beyond this machine without asking who is there",
    )
    auth: Auth = Auth()
    tls: Tls = Tls()
    otlp: Otlp = Otlp()
    web: Web = Web()
    sql: Sql = Sql()
    journal: Journal = Journal()
    store: Store = Store()
    settlement: Settlement = Settlement()
    retention: Retention = Retention()
    metrics: Metrics = Metrics()
    attributes: Attributes = Attributes()
    prices: Prices = Prices()
    # Each is a query every metrics.refresh_seconds.
    budgets: tuple[Budget, ...] = Field(default=(), max_length=100, description="limits of spend")
    log: Log = Log()


def section_in(annotation: Any) -> type[BaseModel] | None:
    """Return the model inside a section or a list of sections, None for a plain value."""
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def fields(
    model: type[BaseModel] = Config, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], FieldInfo]]:
    """Every key with its path, sections before what is in them."""
    for name, field in model.model_fields.items():
        yield (*above, name), field
        inner = section_in(field.annotation)
        if inner is not None:
            yield from fields(inner, (*above, name))


def listeners(config: Config) -> dict[str, Address]:
    """Every address that the service binds, by its key."""
    return {
        "otlp.grpc.listen": config.otlp.grpc.listen,
        "otlp.http.listen": config.otlp.http.listen,
        "web.listen": config.web.listen,
        "sql.listen": config.sql.listen,
    }


def unguarded(config: Config) -> dict[str, Address]:
    """The listeners that other machines can reach and that ask nobody who they are."""
    rights = {right for token in config.auth.tokens for right in token.may}
    writers_known = "write" in rights or config.tls.client_ca_file is not None
    guarded = {
        "otlp.grpc.listen": writers_known,
        "otlp.http.listen": writers_known,
        "web.listen": "read" in rights,
        "sql.listen": bool(config.sql.users)
        and all(user.password.reveal() for user in config.sql.users),
    }
    return {
        key: address
        for key, address in listeners(config).items()
        if not (address.is_loopback or guarded[key])
    }


def warnings(config: Config) -> tuple[str, ...]:
    """What is allowed but deserves a second look, one sentence each."""
    return (
        *(
            f"{key} = {address} can be reached from other machines and asks for no password: "
            f"whoever reaches it can {'write to' if key.startswith('otlp.') else 'read'} the "
            f"ledger. Listen on 127.0.0.1, or let only trusted machines through the firewall."
            for key, address in unguarded(config).items()
        ),
        *(
            f"{key} = {address}: tokens and passwords cross the network in the clear. Set "
            f"tls.cert_file and tls.key_file, or put a proxy with TLS in front."
            for key, address in listeners(config).items()
            if config.tls.cert_file is None
            and not address.is_loopback
            and key not in unguarded(config)
        ),
    )
