"""spanledger: OpenTelemetry spans in, an exact LLM cost ledger out.

Importing this loads the OpenTelemetry API and nothing else, so it may stand at the top of any app.
The SDK and its exporters load when ``instrument()`` is called, prices at the first ``estimate()``;
the collector has its own extras.
"""

from typing import TYPE_CHECKING, Any, Final

from spanledger.instrument import attribute, instrument

if TYPE_CHECKING:
    from spanledger.ledger.estimate import Estimate, estimate, estimate_text, tokens_of_text

# ``spanledger.instrument`` is the function from here on. The package of that name is still there
# for ``from spanledger.instrument.x import y``, which never looks at this attribute.
__all__ = [
    "Estimate",
    "__version__",
    "attribute",
    "estimate",
    "estimate_text",
    "instrument",
    "tokens_of_text",
]

__version__: Final = "0.1.0"


if not TYPE_CHECKING:  # a checker would take any name for one of the package

    def __getattr__(name: str) -> Any:
        """Load the estimator when it is first asked for: most instrumented apps never do."""
        if name not in {"Estimate", "estimate", "estimate_text", "tokens_of_text"}:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from spanledger.ledger import estimate as estimator  # noqa: PLC0415 - see above

        globals()[name] = getattr(estimator, name)  # found without us from now on
        return globals()[name]
