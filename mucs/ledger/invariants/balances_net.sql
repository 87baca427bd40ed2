-- An account's net is the sum of its lines, its difference is to the net of the superseded version, and its adjustments are those listed.
WITH line AS (
    SELECT s.sha256 AS statement, l.rights_holder, sum(l.net) AS net FROM said_lines l JOIN statements s USING (position) GROUP BY ALL
), before AS (
    SELECT s.sha256 AS statement, b.rights_holder, b.net FROM statements s JOIN balances b ON b.statement = s.supersedes
), adjusted AS (
    SELECT statement, rights_holder, sum(amount) AS amount FROM adjustments GROUP BY ALL
)
SELECT statement, rights_holder, b.net, line.net AS lines, before.net AS superseded, b.difference, b.adjustments, adjusted.amount
FROM balances b
FULL JOIN line USING (statement, rights_holder)
FULL JOIN before USING (statement, rights_holder)
FULL JOIN adjusted USING (statement, rights_holder)
WHERE coalesce(b.net, 0) <> coalesce(line.net, 0)
    OR coalesce(b.difference, 0) <> coalesce(line.net, 0) - coalesce(before.net, 0)
    OR coalesce(b.adjustments, 0) <> coalesce(adjusted.amount, 0)
