-- There is one item at most of each version of a manifest row; of a training item, of each with its rights holder.
SELECT 'training' AS kind, row_sha256, count(*) AS times FROM training_items GROUP BY row_sha256, rights_holder HAVING count(*) > 1
UNION ALL
SELECT 'generated', row_sha256, count(*) FROM generated_items GROUP BY row_sha256 HAVING count(*) > 1
