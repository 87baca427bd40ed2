-- What is on record of this item, from its file to the statements, in the order in which it was recorded? position is that of the
-- chain's entry; what an entry of a run brought stands at the time of the run.
-- $item item: a training or generated item's id, or the start of its SHA-256.
-- $as_of time = infinity: answer from what the ledger knew then.
WITH training AS MATERIALIZED (
    SELECT training_id, id, sha256, rights_holder, licence, date, row_sha256, recorded_at FROM training_items WHERE is_called(id, sha256, $item)
), generated AS MATERIALIZED (
    SELECT generated_id, id, sha256, row_sha256, recorded_at FROM generated_items WHERE is_called(id, sha256, $item)
), run_entries AS MATERIALIZED (
    SELECT position, entry->'$.body'->>'run' AS run FROM (SELECT position, kind, entry::JSON AS entry FROM entries WHERE kind = 'run')
), events AS (
    SELECT recorded_at, 'training item' AS event, rights_holder || ', ' || licence || ', from ' || date AS detail, row_sha256 AS sha256, NULL AS position
    FROM training
    UNION ALL
    SELECT recorded_at, 'generated item', 'image ' || left(sha256, 16), row_sha256, NULL FROM generated
    UNION ALL
    SELECT
        recorded_at, 'right', standing || ' by ' || rights_holder || ', ' || licence || ', from ' || valid_from || coalesce(' to ' || valid_to, '')
            || coalesce(', for ' || array_to_string(uses, ' '), '') || coalesce(', up to ' || cap || ' of an image', '')
            || coalesce('; said in ' || source, ''),
        sha256, position
    FROM rights WHERE sha256 IN (SELECT sha256 FROM training)
    UNION ALL
    SELECT r.loaded_at, 'run', 'rank ' || min(e.rank) || ' at best, behind ' || count(*) || ' generated items', r.sha256, any_value(n.position)
    FROM edges e JOIN training USING (training_id) JOIN runs r USING (run_id) JOIN run_entries n ON n.run = r.sha256
    GROUP BY r.loaded_at, r.sha256
    UNION ALL
    SELECT
        r.loaded_at, 'run', CASE WHEN a.converged THEN 'converged' ELSE 'not converged' END || ' after ' || a.steps || ' steps, ' || a.survivors || ' edges',
        r.sha256, n.position
    FROM attributions a JOIN generated USING (generated_id) JOIN runs r USING (run_id) JOIN run_entries n ON n.run = r.sha256
    UNION ALL
    SELECT r.loaded_at, 'gate', v.suite || CASE WHEN v.success THEN ' passed' ELSE ' failed' END, v.sha256, NULL
    FROM validations v JOIN runs r USING (run_id)
    WHERE run_id IN (SELECT run_id FROM attributions JOIN generated USING (generated_id))
        OR r.training_set_id IN (SELECT training_set_id FROM members JOIN training USING (training_id))
    UNION ALL
    SELECT w.recorded_at, 'withdrawal', w.reason, r.sha256, w.position
    FROM withdrawals w JOIN runs r USING (run_id)
    WHERE run_id IN (SELECT run_id FROM attributions JOIN generated USING (generated_id))
        OR r.training_set_id IN (SELECT training_set_id FROM members JOIN training USING (training_id))
    UNION ALL
    SELECT r.recorded_at, 'usage', sum(u.units) || ' units', r.sha256, r.position
    FROM usage u JOIN usage_reports r ON r.sha256 = u.usage_report
    WHERE u.generated IN (SELECT id FROM generated UNION SELECT sha256 FROM generated)
    GROUP BY r.recorded_at, r.sha256, r.position
    UNION ALL
    SELECT
        s.issued_at, 'statement', w.rights_holder || ': ' || round(w.gross, 4) || ' ' || w.currency || ' of the ' || w.right_type
            || ' pot of ' || strftime(s.period_start, '%Y-%m') || ', version ' || s.version,
        s.sha256, s.position
    FROM statement_works w JOIN statements s ON s.sha256 = w.statement
    WHERE w.sha256 IN (SELECT sha256 FROM training)
)
SELECT * FROM events WHERE recorded_at <= $as_of::TIMESTAMPTZ ORDER BY recorded_at, position NULLS FIRST, event, detail;
