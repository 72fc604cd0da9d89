-- The latest state of every price, in force or not.
SELECT *
FROM spanledger.prices
ORDER BY learned_at DESC, book DESC, in_force DESC
LIMIT 1 BY price_id, provider, model, unit
