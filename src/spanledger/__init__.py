"""spanledger: OpenTelemetry spans in, an exact LLM cost ledger out.

Importing this loads the OpenTelemetry API and nothing else, so it may stand at the top of any app.
The SDK and its exporters load when ``instrument()`` is called; the collector has its own extras.
"""

from typing import Final

from spanledger.instrument import attribute, instrument

# ``spanledger.instrument`` is the function from here on. The package of that name is still there
# for ``from spanledger.instrument.x import y``, which never looks at this attribute.
__all__ = ["__version__", "attribute", "instrument"]

__version__: Final = "0.1.0"
