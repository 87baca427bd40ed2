-- What did an index say of a picture, before anything was measured, and what was measured since? An estimate is no evidence, and is never
-- paid. Training items that screening left out, and pictures that no run speaks for, have nothing measured beside it.
-- $generated text: the id of the picture or generated item, the start of its SHA-256, or the SHA-256 of its row.
-- $top count = 10: how many training items.
-- $as_of time = infinity: answer from what the ledger knew then.
WITH asked AS MATERIALIZED (
    SELECT * FROM provisional_answers
    WHERE (row_sha256 = $generated OR is_called(generated, sha256, $generated)) AND recorded_at <= $as_of::TIMESTAMPTZ
    QUALIFY row_number() OVER (PARTITION BY row_sha256 ORDER BY position DESC) = 1
), fitted AS (
    SELECT sha256 AS index_sha256, any_value(pictures) AS pictures, any_value(spearman) AS spearman FROM indexes GROUP BY ALL
), measured AS (
    SELECT a.row_sha256 AS generated_row, t.row_sha256 AS training_row, e.rank, e.score::DOUBLE AS score, r.sha256 AS run
    FROM asked a JOIN generated_items g USING (row_sha256)
    JOIN speaking_as_of($as_of) s USING (generated_id)
    JOIN edges e USING (run_id, generated_id) JOIN training_items t USING (training_id) JOIN runs r USING (run_id)
)
SELECT
    a.generated, p.rank, p.training, p.predicted::DOUBLE AS predicted, p.low::DOUBLE AS low, p.high::DOUBLE AS high,
    p.among_best::DOUBLE AS among_best, p.likeness::DOUBLE AS likeness, m.rank AS measured_rank, m.score AS measured_score, m.run,
    f.pictures, f.spearman, p.sha256 AS training_sha256, a.index_sha256, a.row_sha256
FROM asked a JOIN provisional_edges p USING (position) LEFT JOIN fitted f USING (index_sha256)
LEFT JOIN measured m ON m.generated_row = a.row_sha256 AND m.training_row = p.row_sha256
WHERE p.rank <= $top
ORDER BY a.position, p.rank;
