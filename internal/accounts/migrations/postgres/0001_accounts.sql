-- Times are Unix time in milliseconds; 0 is never. Keys are how a text is looked up, see identifier.go. Texts are compared byte by byte,
-- as SQLite does, whatever the locale of the database.
CREATE TABLE account (
	id             TEXT   COLLATE "C" PRIMARY KEY, -- random; the subject of sessions and tokens
	email          TEXT,                           -- as typed
	email_key      TEXT   COLLATE "C" UNIQUE,
	email_verified BIGINT NOT NULL,                -- when
	username       TEXT,                           -- as typed
	username_key   TEXT   COLLATE "C" UNIQUE,
	name           TEXT   NOT NULL,
	password       TEXT   NOT NULL,                -- a hash, or '' for none
	epoch          BIGINT NOT NULL,                -- of the credentials: what was signed in under an older one is over
	claims         TEXT   NOT NULL,                -- what else is known of the person: a JSON object
	created        BIGINT NOT NULL,
	disabled       BIGINT NOT NULL,                -- when
	imported       BYTEA                           -- what an import made it from, by a hash: the same again is no other person
);

CREATE INDEX account_created ON account (created, id); -- the order in which they are listed

-- Keys that sign tokens, in the order in which they begin to. They are sealed with the keyring.
CREATE TABLE account_key (
	generation  BIGINT PRIMARY KEY,
	active_from BIGINT NOT NULL,
	sealed      BYTEA  NOT NULL
);

-- Accounts whose sessions are to be ended, by a gateway that has them.
CREATE TABLE account_ending (
	account TEXT   COLLATE "C" PRIMARY KEY,
	since   BIGINT NOT NULL
);

-- Access tokens that were revoked before they end, by a hash of their jti. The row is of no use after that.
CREATE TABLE account_revoked (
	token   BYTEA  PRIMARY KEY,
	expires BIGINT NOT NULL
);

-- Links that were mailed and not used yet.
CREATE TABLE account_link (
	hash    TEXT   COLLATE "C" PRIMARY KEY, -- of the token in it, which is nowhere
	purpose TEXT   NOT NULL,
	account TEXT   COLLATE "C" NOT NULL,    -- '' where the link is to make one
	detail  TEXT   NOT NULL,                -- what it is for: a JSON object
	expires BIGINT NOT NULL
);

CREATE INDEX account_link_expires ON account_link (expires);
CREATE INDEX account_link_account ON account_link (account);

-- Authenticator apps, one for an account (RFC 6238). The secret is sealed with the keyring.
CREATE TABLE account_totp (
	account TEXT   COLLATE "C" PRIMARY KEY,
	sealed  BYTEA  NOT NULL,
	step    BIGINT NOT NULL, -- of the code that was used last: no code is good twice
	created BIGINT NOT NULL
);

-- What is left of the recovery codes, hashed.
CREATE TABLE account_recovery (
	account TEXT  COLLATE "C" NOT NULL,
	hash    BYTEA NOT NULL,
	PRIMARY KEY (account, hash)
);

-- Passkeys. A credential is public: the key that it belongs to never leaves the person's device.
CREATE TABLE account_passkey (
	id         BYTEA  PRIMARY KEY,
	account    TEXT   COLLATE "C" NOT NULL,
	name       TEXT   NOT NULL, -- as the person calls it
	credential BYTEA  NOT NULL, -- JSON of package passkeys, with the counter
	created    BIGINT NOT NULL,
	used       BIGINT NOT NULL
);

CREATE INDEX account_passkey_account ON account_passkey (account, created);
