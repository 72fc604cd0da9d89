-- restatements: every correction of the ledger: when, why, how many entries it took back and what it
-- changed. Reasons: settled (observations of one call were booked as one), settled_anew (one more
-- came, the former booking was taken back), repriced (priced anew with today's prices).
CREATE OR REPLACE VIEW spanledger.restatements{on_cluster} AS
SELECT
    e.run AS run,
    e.reason AS reason,
    e.tenant AS tenant,
    min(e.start_time) AS start_time,
    countIf(e.leg IN (1, 3)) AS entries_taken_back,
    countIf(e.leg IN (2, 4)) AS entries_booked,
    sum(e.calls) AS calls_change,
    sumIf(e.cost_usd, e.leg IN (1, 3)) AS taken_back_usd,
    sumIf(e.cost_usd, e.leg IN (2, 4)) AS booked_usd,
    ifNull(sum(e.cost_usd), 0) AS cost_change_usd,
    max(e.known_at) AS known_at
FROM spanledger.entries AS e FINAL
WHERE e.kind = 'restatement'
GROUP BY e.tenant, e.run, e.reason;
