-- What do a run's attributions come to? 'above chance' if one of the ten best edges of a generated item has a p-value of 0.05 or less
-- (against decoys where the run was calibrated, else against held-out images), each taken alone; 'within chance' if none has;
-- 'not compared' without p-values; 'not converged' if unlearning did not forget the item.
-- $run run: the start of the run's SHA-256.
-- $as_of time = infinity: answer from what the ledger knew then.
SELECT g.id AS generated, v.verdict, left(r.sha256, 16) AS run, g.row_sha256
FROM verdicts v JOIN runs r USING (run_id) JOIN generated_items g USING (generated_id)
WHERE starts_with(r.sha256, $run) AND r.loaded_at <= $as_of::TIMESTAMPTZ
ORDER BY generated_id;
