-- An adjustment is of a dispute of the same contract that was upheld, with its holder and amount, and is made once.
SELECT a.statement, a.dispute, a.rights_holder, a.amount, count(*) OVER (PARTITION BY a.dispute) AS times
FROM adjustments a
JOIN statements s ON s.sha256 = a.statement
LEFT JOIN dispute_steps d ON d.dispute = a.dispute AND d.state = 'upheld' AND d.position < s.position
LEFT JOIN statements of_it ON of_it.sha256 = d.statement
QUALIFY times > 1 OR a.rights_holder IS DISTINCT FROM d.rights_holder OR a.amount IS DISTINCT FROM d.amount
    OR a.contract IS DISTINCT FROM of_it.contract
