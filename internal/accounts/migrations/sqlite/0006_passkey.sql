-- Passkeys. A credential is public: the key that it belongs to never leaves the person's device.
CREATE TABLE account_passkey (
	id         BLOB    PRIMARY KEY,
	account    TEXT    NOT NULL,
	name       TEXT    NOT NULL, -- as the person calls it
	credential BLOB    NOT NULL, -- JSON of package passkeys, with the counter
	created    INTEGER NOT NULL,
	used       INTEGER NOT NULL
);

CREATE INDEX account_passkey_account ON account_passkey (account, created);
