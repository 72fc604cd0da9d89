-- As spend, for filters that the rollups know: what lies before the first whole hour is summed from
-- the calls, the rest from costs_hourly.
SELECT ifNull(sum(cost_usd), 0) AS spent_usd
FROM
(
    SELECT tenant, service, environment, provider, model, customer, team, project, feature, agent,
        workflow, api_key_alias, cost_usd
    FROM spanledger.calls
    WHERE start_time >= {since:DateTime64(9, 'UTC')}
        AND start_time < toStartOfHour({since:DateTime64(9, 'UTC')} + INTERVAL 3599999999999 NANOSECOND)
    UNION ALL
    SELECT tenant, service, environment, provider, model, customer, team, project, feature, agent,
        workflow, api_key_alias, cost_usd
    FROM spanledger.costs_hourly
    WHERE hour >= toStartOfHour({since:DateTime64(9, 'UTC')} + INTERVAL 3599999999999 NANOSECOND)
)
WHERE ({tenant:Nullable(String)} IS NULL OR tenant = {tenant:Nullable(String)})
    AND ({service:Nullable(String)} IS NULL OR service = {service:Nullable(String)})
    AND ({environment:Nullable(String)} IS NULL OR environment = {environment:Nullable(String)})
    AND ({provider:Nullable(String)} IS NULL OR provider = {provider:Nullable(String)})
    AND ({model:Nullable(String)} IS NULL OR model = {model:Nullable(String)})
    AND ({customer:Nullable(String)} IS NULL OR customer = {customer:Nullable(String)})
    AND ({team:Nullable(String)} IS NULL OR team = {team:Nullable(String)})
    AND ({project:Nullable(String)} IS NULL OR project = {project:Nullable(String)})
    AND ({feature:Nullable(String)} IS NULL OR feature = {feature:Nullable(String)})
    AND ({agent:Nullable(String)} IS NULL OR agent = {agent:Nullable(String)})
    AND ({workflow:Nullable(String)} IS NULL OR workflow = {workflow:Nullable(String)})
    AND ({api_key_alias:Nullable(String)} IS NULL OR api_key_alias = {api_key_alias:Nullable(String)})
