-- What lies with the training items that were not measured, where an index named candidates? Told from some of them that were measured by
-- chance: of all positive score, and of all positive excess (by how much an item scores higher for this image than for others, less what all
-- do), the share, and between what it lies with 95 %. A rare item that scores high and was not drawn is in no interval.
-- $as_of time = infinity: answer from what the ledger knew then.
SELECT
    g.id AS generated, a.candidates AS training_items, a.survivors AS measured, (a.missed->>'sampled')::INTEGER AS sampled,
    (a.missed->'excess'->>'estimate')::DOUBLE AS excess, (a.missed->'excess'->>'low')::DOUBLE AS excess_low,
    (a.missed->'excess'->>'high')::DOUBLE AS excess_high,
    (a.missed->'score'->>'estimate')::DOUBLE AS score, (a.missed->'score'->>'low')::DOUBLE AS score_low,
    (a.missed->'score'->>'high')::DOUBLE AS score_high,
    r.sha256 AS run, g.sha256 AS generated_sha256
FROM speaking_as_of($as_of) s
JOIN attributions a USING (run_id, generated_id)
JOIN runs r USING (run_id)
JOIN generated_items g USING (generated_id)
WHERE a.missed IS NOT NULL
ORDER BY excess DESC, generated, generated_sha256;
