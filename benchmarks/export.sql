-- {rows} calls from {first} on, 50 a second, three lines each.
INSERT INTO spanledger.entries
    (kind, tenant, trace_id, span_id, start_time, duration_ns, service, environment, provider,
     request_model, response_model, model, operation, user_id, customer, feature, conversation_id,
     response_id, status, input_tokens, output_tokens, cache_read_tokens, convention, calls,
     cost_usd, cost_low_usd, cost_high_usd, list_cost_usd, cost_class, lines, price_book, known_at)
WITH
    toUInt64({first:UInt64} + number) AS n,
    toDateTime64('2026-11-01 00:00:00', 9, 'UTC') + INTERVAL 20 * n MILLISECOND AS at,
    toDecimal128(100 + n % 5000, 18) AS tokens,
    tokens * 25 / 10000000 AS cost_in,
    tokens * 125 / 100000000 AS cost_cached,
    tokens / 100000 AS cost_out,
    cost_in + cost_cached + cost_out AS cost
SELECT
    'charge',
    'default',
    CAST(reinterpretAsFixedString(sipHash128(n)) AS FixedString(16)),
    CAST(reinterpretAsFixedString(sipHash64(n)) AS FixedString(8)),
    at,
    1500000000,
    'checkout',
    'production',
    'openai',
    'gpt-4o',
    'gpt-4o-2024-08-06',
    'gpt-4o',
    'chat',
    concat('user-', toString(n % 1000)),
    concat('customer-', toString(n % 50)),
    'assistant',
    concat('conversation-', toString(intDiv(n, 6))),
    concat('chatcmpl-', toString(n)),
    'ok',
    toInt64(tokens) * 2,
    toInt64(tokens),
    toInt64(tokens),
    'declared',
    1,
    cost,
    cost,
    cost,
    cost,
    'exact',
    [
        ('input_tokens', tokens, 2.5, 1000000, cost_in, 'genai-prices/openai/gpt-4o/standard#input_mtok'),
        ('cache_read_tokens', tokens, 1.25, 1000000, cost_cached, 'genai-prices/openai/gpt-4o/standard#cache_read_mtok'),
        ('output_tokens', tokens, 10, 1000000, cost_out, 'genai-prices/openai/gpt-4o/standard#output_mtok')
    ],
    'bench',
    at + INTERVAL 2 SECOND
FROM numbers({rows:UInt64})
