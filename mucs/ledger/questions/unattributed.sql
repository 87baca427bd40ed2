-- How many generated items rest on nothing that stands out from chance? Those whose unlearning did not converge, or none of whose
-- best edges has a p-value as small as the bound: against decoys where the run was calibrated, else against held-out look-alikes.
-- $bound number = 0.05: the largest p-value that stands out.
-- $top integer = 100: how many edges of each generated item are looked at.
-- $as_of time = infinity: answer from what the ledger knew then.
WITH outcomes AS (
    SELECT s.run_id, s.generated_id, a.converged, coalesce(min(e.decoy_p_value), min(e.p_value)) AS best
    FROM speaking_as_of($as_of) s
    JOIN attributions a USING (run_id, generated_id)
    LEFT JOIN edges e ON e.run_id = s.run_id AND e.generated_id = s.generated_id AND e.rank <= $top
    GROUP BY ALL
)
SELECT
    left(r.sha256, 16) AS run,
    count(*) AS generated_items,
    count(*) FILTER (WHERE NOT converged) AS not_converged,
    count(*) FILTER (WHERE converged AND best IS NULL) AS without_p_values,
    count(*) FILTER (WHERE converged AND best > $bound) AS within_chance,
    count(*) FILTER (WHERE NOT converged OR best IS NULL OR best > $bound) / count(*) AS unattributed_share
FROM outcomes JOIN runs r USING (run_id)
GROUP BY run_id, r.sha256
ORDER BY run_id;
