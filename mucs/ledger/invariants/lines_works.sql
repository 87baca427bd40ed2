-- The shares of the works that a line rests on sum to the line's share.
SELECT position, line, sum(w.share) AS works, any_value(l.share) AS share
FROM said_works w LEFT JOIN said_lines l USING (position, line)
GROUP BY ALL
HAVING works IS DISTINCT FROM any_value(l.share)
