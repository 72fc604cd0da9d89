-- The price books with which any price came, changed or went.
SELECT DISTINCT p.book AS book FROM prices AS p
