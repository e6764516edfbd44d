-- Authenticator apps, one for an account (RFC 6238). The secret is sealed with the keyring.
CREATE TABLE account_totp (
	account TEXT    PRIMARY KEY,
	sealed  BLOB    NOT NULL,
	step    INTEGER NOT NULL, -- of the code that was used last: no code is good twice
	created INTEGER NOT NULL
);

-- What is left of the recovery codes, hashed.
CREATE TABLE account_recovery (
	account TEXT NOT NULL,
	hash    BLOB NOT NULL,
	PRIMARY KEY (account, hash)
);
