"""Questions a person asks of the ledger, answered from its views."""
