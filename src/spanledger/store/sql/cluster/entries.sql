-- The whole ledger, on a cluster: by trace, so that a retry meets its twin wherever it arrives.

CREATE OR REPLACE TABLE spanledger.entries{on_cluster} AS spanledger.entries{local}
ENGINE = Distributed({cluster}, spanledger, entries{local}, sipHash64(trace_id));
