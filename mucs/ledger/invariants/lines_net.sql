-- A line's net is its gross less its deductions exactly, and nothing of it is negative.
SELECT statement, right_type, holder, gross, deducted, net
FROM (
    SELECT
        sha256 AS statement, line->>'right_type' AS right_type, line->>'holder' AS holder, (line->>'gross')::DECIMAL(18, 4) AS gross,
        (line->>'deducted')::DECIMAL(18, 4) AS deducted, (line->>'net')::DECIMAL(18, 4) AS net, (line->>'share')::DECIMAL(18, 12) AS share,
        map_values((line->'deductions')::MAP(VARCHAR, DECIMAL(18, 4))) AS deductions
    FROM (SELECT sha256, unnest(((content::JSON)->'lines')::JSON[]) AS line FROM statements)
)
WHERE net <> gross - deducted OR least(gross, net, share) < 0
    OR deducted <> coalesce(list_sum(deductions), 0) OR coalesce(list_min(deductions), 0) < 0
