-- The shares of the works that a line rests on sum to the line's share.
SELECT w.statement, w.right_type, w.rights_holder, w.basis, sum(w.share) AS works, any_value(l.share) AS share
FROM statement_works w LEFT JOIN statement_lines l USING (statement, right_type, rights_holder, basis)
GROUP BY ALL
HAVING works IS DISTINCT FROM any_value(l.share)
