-- What was spent from {since} on by the calls that match every filter; 0 where there are none.
-- Unpriced calls add nothing. A filter that is NULL lets everything pass, an empty one takes the
-- calls that did not say. Every value is a typed parameter: no SQL is built from a filter.

SELECT ifNull(sum(cost_usd), 0) AS spent_usd
FROM spanledger.calls
WHERE start_time >= {since:DateTime64(9, 'UTC')}
    AND ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
    AND ({service:Nullable(String)} IS NULL OR service = {service:Nullable(String)})
    AND ({environment:Nullable(String)} IS NULL OR environment = {environment:Nullable(String)})
    AND ({provider:Nullable(String)} IS NULL OR provider = {provider:Nullable(String)})
    AND ({model:Nullable(String)} IS NULL OR model = {model:Nullable(String)})
    AND ({user_id:Nullable(String)} IS NULL OR user_id = {user_id:Nullable(String)})
    AND ({customer:Nullable(String)} IS NULL OR customer = {customer:Nullable(String)})
    AND ({team:Nullable(String)} IS NULL OR team = {team:Nullable(String)})
    AND ({project:Nullable(String)} IS NULL OR project = {project:Nullable(String)})
    AND ({feature:Nullable(String)} IS NULL OR feature = {feature:Nullable(String)})
    AND ({conversation_id:Nullable(String)} IS NULL OR conversation_id = {conversation_id:Nullable(String)})
    AND ({agent:Nullable(String)} IS NULL OR agent = {agent:Nullable(String)})
    AND ({workflow:Nullable(String)} IS NULL OR workflow = {workflow:Nullable(String)})
    AND ({api_key_alias:Nullable(String)} IS NULL OR api_key_alias = {api_key_alias:Nullable(String)})
