-- What does this statement give to whom, and for what? A line is one holder's share of one pot.
-- $statement text: the start of its SHA-256, eight digits or more.
-- $as_of time = infinity: answer from what the ledger knew then.
SELECT
    l.line, l.rights_holder, l.right_type, l.basis, (SELECT count(*) FROM works w WHERE w.position = l.position AND w.line = l.line) AS works,
    l.generated_items, l.units, l.score_mass, l.score_error, l.share, l.gross, l.deducted, l.net, s.currency, s.sha256 AS statement
FROM lines l JOIN statements s USING (position)
WHERE length($statement) >= 8 AND starts_with(s.sha256, $statement) AND s.issued_at <= $as_of::TIMESTAMPTZ
ORDER BY l.net DESC, l.line;
