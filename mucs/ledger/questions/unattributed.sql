-- How many generated items rest on nothing that stands out from chance? Those whose verdict is not 'above chance': whose unlearning did
-- not converge, which have no p-values, or none of whose ten best edges has one of 0.05 or less.
-- $as_of time = infinity: answer from what the ledger knew then.
SELECT
    left(r.sha256, 16) AS run,
    count(*) AS generated_items,
    count(*) FILTER (WHERE verdict = 'not converged') AS not_converged,
    count(*) FILTER (WHERE verdict = 'not compared') AS not_compared,
    count(*) FILTER (WHERE verdict = 'within chance') AS within_chance,
    count(*) FILTER (WHERE verdict <> 'above chance') / count(*) AS unattributed_share
FROM speaking_as_of($as_of) s JOIN verdicts v USING (run_id, generated_id) JOIN runs r USING (run_id)
GROUP BY run_id, r.sha256
ORDER BY run_id;
