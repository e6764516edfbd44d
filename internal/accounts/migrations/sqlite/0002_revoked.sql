-- Access tokens that were revoked before they end, by a hash of their jti. The row is of no use after that.
CREATE TABLE account_revoked (
	token   BLOB    PRIMARY KEY,
	expires INTEGER NOT NULL
);
