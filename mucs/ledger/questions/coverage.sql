-- Which generated items have no audit that speaks for them? Those that were used but are not in the ledger, and those in it whose
-- runs were withdrawn or whose unlearning did not converge, with how much they were used.
-- $as_of time = infinity: answer from what the ledger knew then.
WITH called AS (
    SELECT id AS name, generated_id FROM generated_items WHERE recorded_at <= $as_of::TIMESTAMPTZ
    UNION
    SELECT sha256, generated_id FROM generated_items WHERE recorded_at <= $as_of::TIMESTAMPTZ
), used AS (
    SELECT u.generated, min(c.generated_id) AS generated_id, sum(u.units) AS units, min(u.date) AS first_use, max(u.date) AS last_use
    FROM usage u
    JOIN usage_reports r ON r.sha256 = u.usage_report
    LEFT JOIN called c ON c.name = u.generated
    WHERE r.recorded_at <= $as_of::TIMESTAMPTZ
    GROUP BY u.generated
), states AS (
    SELECT
        g.id AS generated, g.generated_id, g.sha256,
        CASE WHEN s.run_id IS NULL THEN 'no run speaks for it' WHEN NOT a.converged THEN 'not converged' END AS state
    FROM generated_items g
    LEFT JOIN speaking_as_of($as_of) s USING (generated_id)
    LEFT JOIN attributions a USING (run_id, generated_id)
    WHERE g.recorded_at <= $as_of::TIMESTAMPTZ
)
SELECT
    coalesce(s.generated, u.generated) AS generated,
    coalesce(s.state, 'not in the ledger') AS state,
    coalesce(u.units, 0) AS units, u.first_use, u.last_use, s.sha256
FROM states s FULL JOIN used u USING (generated_id)
WHERE s.generated_id IS NULL OR s.state IS NOT NULL
ORDER BY units DESC, generated;
