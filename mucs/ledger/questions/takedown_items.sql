-- Takedown: which generated items rest on this rights holder or training item, and how far? The share is of the positive scores
-- among the best edges; what a new training run without it would generate, nobody knows.
-- $target target: whoever holds the rights today; or a training item's id or the start of its SHA-256.
-- $top count = 10: how many edges of each generated item count.
-- $as_of time = infinity: answer from what the ledger knew then.
WITH counted AS (
    SELECT
        e.run_id, e.generated_id, e.rank, e.score::DOUBLE AS score,
        e.training_id IN (FROM theirs($target, $as_of)) AS theirs
    FROM edges e JOIN speaking_as_of($as_of) s USING (run_id, generated_id)
    WHERE e.rank <= $top AND e.score > 0
)
SELECT
    g.id AS generated,
    count(*) FILTER (WHERE theirs) AS edges,
    min(rank) FILTER (WHERE theirs) AS best_rank,
    sum(score) FILTER (WHERE theirs) / sum(score) AS share,
    left(c.sha256, 16) AS checkpoint,
    left(r.sha256, 16) AS run,
    g.sha256 AS generated_sha256
FROM counted
JOIN generated_items g USING (generated_id)
JOIN runs r USING (run_id)
JOIN artifacts c ON c.artifact_id = r.checkpoint_id
GROUP BY g.id, g.sha256, r.sha256, c.sha256
HAVING bool_or(theirs)
ORDER BY share DESC, generated;
