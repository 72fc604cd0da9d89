"""Switch on the installed OpenTelemetry instrumentations of LLM clients, each call observed once.

Promises: exactly the official GenAI instrumentations are activated, and one that fails stops
neither the app nor the others. Never activates anything named in
``OTEL_PYTHON_DISABLED_INSTRUMENTATIONS``, and never turns the capture of content on.
"""

import importlib.util
import logging
import os
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Final

from opentelemetry.instrumentation.dependencies import DependencyConflictError
from opentelemetry.trace import TracerProvider

log = logging.getLogger("spanledger")

# By module, not by entry point: other vendors' packages use the names "openai" and "anthropic".
ANTHROPIC: Final = "opentelemetry.instrumentation.genai.anthropic"
ANTHROPIC_SWITCH: Final = "ANTHROPIC_OPEN_TELEMETRY"
OFFICIAL: Final = (
    "opentelemetry.instrumentation.genai.openai",
    ANTHROPIC,
    "opentelemetry.instrumentation.google_genai",
    "opentelemetry.instrumentation.botocore",
)


def activate(provider: TracerProvider, *, provider_is_global: bool) -> list[str]:
    """Activate what is installed and return the modules now observing."""
    disabled = {
        name.strip()
        for name in os.environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(",")
    }
    active = []
    for entry in entry_points(group="opentelemetry_instrumentor"):
        module = entry.value.partition(":")[0]
        if module not in OFFICIAL or not disabled.isdisjoint({"*", entry.name}):
            continue
        if module == ANTHROPIC and not _official_observes_anthropic(
            provider_is_global=provider_is_global
        ):
            continue
        if _activate_one(entry, provider):
            active.append(module)
    return active


def _official_observes_anthropic(*, provider_is_global: bool) -> bool:
    """Choose one observer of Anthropic calls, so that no call is booked twice.

    Since 1.14 Anthropic's SDK makes spans of its own, by default, as soon as there is a global
    tracer provider. They know more about money than those of the official instrumentation: the
    split of cache writes into 5 minutes and 1 hour (without it a cost has only bounds), the
    service tier, and that a call through Bedrock is paid to AWS. So theirs are preferred, and the
    official instrumentation stands in where the SDK is older, where its spans are switched off,
    or where they go to a global provider that is not ours.
    """
    official = sys.modules.get(ANTHROPIC)
    if official and official.AnthropicInstrumentor().is_instrumented_by_opentelemetry:
        # Somebody else chose. The SDK reads this variable whenever a client is constructed.
        os.environ.setdefault(ANTHROPIC_SWITCH, "false")
        return False
    switched_off = os.environ.get(ANTHROPIC_SWITCH, "").lower() == "false"
    return switched_off or not provider_is_global or not _sdk_makes_spans()


def _sdk_makes_spans() -> bool:
    # By its file, because importing the SDK takes a second that an app may never need.
    spec = importlib.util.find_spec("anthropic")
    folders = spec.submodule_search_locations if spec else None
    return any(Path(folder, "_tracing.py").is_file() for folder in folders or ())


def _activate_one(entry: EntryPoint, provider: TracerProvider) -> bool:
    try:
        instrumentor: Any = entry.load()()
        if not instrumentor.is_instrumented_by_opentelemetry:
            instrumentor.instrument(tracer_provider=provider, raise_exception_on_conflict=True)
    except (ModuleNotFoundError, DependencyConflictError) as error:
        # The instrumentation is installed, its library is not (or is another version).
        log.debug("spanledger: %s is not activated: %s", entry.value, error)
        return False
    except Exception:
        log.warning(
            "spanledger: could not activate %s; its calls are not recorded",
            entry.value,
            exc_info=True,
        )
        return False
    return True
