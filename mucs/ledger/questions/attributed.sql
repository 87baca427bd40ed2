-- Which run speaks for the generated item with this manifest row? A picture that was sent is found by its row.
-- $row text: SHA-256 of the row.
-- $as_of time = infinity: answer from what the ledger knew then.
SELECT r.sha256 AS run, g.id AS generated, g.row_sha256
FROM speaking_as_of($as_of) s JOIN generated_items g USING (generated_id) JOIN runs r USING (run_id)
WHERE g.row_sha256 = $row;
