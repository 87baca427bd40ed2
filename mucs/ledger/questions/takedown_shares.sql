-- Takedown: how would the shares stand without this rights holder or training item? What comes next in each ranking moves up;
-- the scores are those measured with it.
-- $target target: whoever holds the rights today; or a training item's id or the start of its SHA-256.
-- $top count = 10: how many edges of each generated item count.
-- $as_of time = infinity: answer from what the ledger knew then.
WITH counted AS (
    SELECT
        e.run_id, e.generated_id, e.training_id, e.rank, e.score::DOUBLE AS score, t.rights_holder,
        e.training_id IN (FROM theirs($target, $as_of)) AS theirs
    FROM edges e JOIN speaking_as_of($as_of) s USING (run_id, generated_id) JOIN training_items t USING (training_id)
    WHERE e.score > 0 AND e.rank <= $top + (SELECT count(*) FROM theirs($target, $as_of))
), placed AS (
    SELECT *, row_number() OVER (PARTITION BY generated_id, theirs ORDER BY rank) AS place FROM counted
), divided AS (
    SELECT
        *,
        CASE WHEN rank <= $top THEN score END AS now,
        CASE WHEN NOT theirs AND place <= $top THEN score END AS without
    FROM placed
), shares AS (
    SELECT
        rights_holder, run_id,
        now / sum(now) OVER item AS now,
        without / sum(without) OVER item AS without
    FROM divided WINDOW item AS (PARTITION BY generated_id)
), items AS (
    SELECT
        count(DISTINCT generated_id) FILTER (WHERE now IS NOT NULL) AS now,
        count(DISTINCT generated_id) FILTER (WHERE without IS NOT NULL) AS without
    FROM divided
)
SELECT
    s.rights_holder,
    coalesce(sum(s.now), 0) / any_value(i.now) AS share_now,
    coalesce(sum(s.without), 0) / nullif(any_value(i.without), 0) AS share_without,
    coalesce(share_without, 0) - share_now AS difference,
    count(DISTINCT run_id) AS runs
FROM shares s, items i
GROUP BY s.rights_holder
HAVING share_now > 0 OR share_without > 0
ORDER BY abs(difference) DESC, s.rights_holder;
