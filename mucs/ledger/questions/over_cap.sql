-- Which generated items rest on a rights holder by more than that holder granted? A generated item rests on holders in proportion to the
-- positive scores among its best edges; a holder's cap is the smallest that was said of any image that the holder grants on that day.
-- $day day = today: the day to look at.
-- $top count = 10: how many edges of each generated item count.
-- $as_of time = infinity: answer from what the ledger knew then.
WITH held AS (
    SELECT sha256, rights_holder, cap, standing FROM rights_on($day, $as_of)
), caps AS (
    SELECT rights_holder, min(cap) AS cap FROM held WHERE standing = 'granted' AND cap IS NOT NULL GROUP BY rights_holder
), counted AS (
    SELECT e.generated_id, e.run_id, h.rights_holder, e.score::DOUBLE AS score
    FROM edges e JOIN speaking_as_of($as_of) s USING (run_id, generated_id)
    JOIN training_items t USING (training_id) JOIN held h ON h.sha256 = t.sha256
    WHERE e.rank <= $top AND e.score > 0 AND EXISTS (FROM caps)
), shares AS (
    SELECT
        generated_id, run_id, rights_holder, count(*) AS edges,
        sum(score) / sum(sum(score)) OVER (PARTITION BY generated_id, run_id) AS share
    FROM counted GROUP BY generated_id, run_id, rights_holder
)
SELECT g.id AS generated, s.rights_holder, s.share, c.cap::DOUBLE AS cap, s.edges, left(r.sha256, 16) AS run, g.sha256 AS generated_sha256
FROM shares s JOIN caps c USING (rights_holder) JOIN generated_items g USING (generated_id) JOIN runs r USING (run_id)
WHERE s.share > c.cap
ORDER BY s.share - c.cap DESC, generated, s.rights_holder;
