-- What share of the money would go to images that the model was never trained on, if these were among the candidates? For each run: each
-- generated item's money is divided among its best candidates, training and held-out images side by side, in proportion to positive scores
-- and within the bounds, which are those of the sample contract, if its unlearning converged; each weighs the same. Beside it stands the share
-- of held-out images among the candidates. A run without held-out images, or of before their scores were kept, is not in the answer, and
-- none that kept fewer of them than `top`, which are the best 100.
-- $run run = : the start of a run's SHA-256; empty for whatever run speaks for each generated item.
-- $top count = 10: how many candidates of each generated item count.
-- $decoy_p_value probability = 0.05: the most that a candidate's p-value against decoys may be; 1 for no bound.
-- $p_value probability = 1: the same against held-out images.
-- $tie_p_value probability = 1: the most that a generated item's tie p may be; 1 for no bound.
-- $as_of time = infinity: answer from what the ledger knew then.
WITH asked AS MATERIALIZED (
    SELECT a.run_id, a.generated_id, r.sha256 AS run, a.held_out, a.candidates AS training
    FROM attributions a JOIN runs r USING (run_id)
    LEFT JOIN speaking_as_of($as_of) s ON s.run_id = a.run_id AND s.generated_id = a.generated_id
    WHERE CASE WHEN $run = '' THEN s.run_id IS NOT NULL ELSE starts_with(r.sha256, $run) AND r.loaded_at <= $as_of::TIMESTAMPTZ END
        AND a.converged AND a.held_out > 0 AND ($top <= 100 OR a.held_out <= 100) AND ($tie_p_value = 1 OR a.tie_p_value <= $tie_p_value)
), candidates AS (
    SELECT run_id, generated_id, false AS unseen, rank, score, p_value, decoy_p_value FROM edges JOIN asked USING (run_id, generated_id) WHERE rank <= $top
    UNION ALL
    SELECT run_id, generated_id, true, rank, score, p_value, decoy_p_value FROM unseen_edges JOIN asked USING (run_id, generated_id) WHERE rank <= $top
), best AS (
    SELECT * FROM candidates QUALIFY row_number() OVER (PARTITION BY run_id, generated_id ORDER BY score DESC, unseen, rank) <= $top
), divided AS (
    SELECT run_id, generated_id, coalesce(sum(score::DOUBLE) FILTER (WHERE unseen), 0) / sum(score::DOUBLE) AS share
    FROM best
    WHERE score > 0 AND ($decoy_p_value = 1 OR decoy_p_value <= $decoy_p_value) AND ($p_value = 1 OR p_value <= $p_value)
    GROUP BY ALL
)
SELECT
    run, avg(share) AS share, any_value(held_out) / (any_value(held_out) + any_value(training)) AS share_of_candidates,
    count(*) AS generated_items, any_value(held_out) AS held_out_items, any_value(training) AS training_items
FROM divided JOIN asked USING (run_id, generated_id)
GROUP BY run_id, run
ORDER BY run_id DESC;
