-- The present form of restated calls, on a cluster: by trace, as the entries it is made of.

CREATE OR REPLACE TABLE spanledger.restated{on_cluster} AS spanledger.restated{local}
ENGINE = Distributed({cluster}, spanledger, restated{local}, sipHash64(trace_id));
