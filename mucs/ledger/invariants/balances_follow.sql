-- An account carries in what the contract's statement before carried out, so that nothing is lost on the way.
WITH statement AS (
    SELECT sha256, contract, position, lag(sha256) OVER (PARTITION BY contract ORDER BY position) AS before FROM statements
), carried AS (
    SELECT s.sha256 AS statement, b.rights_holder, b.carried_out FROM statement s JOIN balances b ON b.statement = s.before
)
SELECT statement, rights_holder, b.carried_in, c.carried_out AS carried_out_before
FROM balances b FULL JOIN carried c USING (statement, rights_holder)
WHERE coalesce(b.carried_in, 0) <> coalesce(c.carried_out, 0)
