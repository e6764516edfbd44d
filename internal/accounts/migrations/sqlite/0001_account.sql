-- Times are Unix time in milliseconds; 0 is never. Keys are how a text is looked up, see identifier.go.
CREATE TABLE account (
	id             TEXT    PRIMARY KEY, -- random; the subject of sessions and tokens
	email          TEXT,                -- as typed
	email_key      TEXT    UNIQUE,
	email_verified INTEGER NOT NULL,    -- when
	username       TEXT,                -- as typed
	username_key   TEXT    UNIQUE,
	name           TEXT    NOT NULL,
	password       TEXT    NOT NULL,    -- a hash, or '' for none
	epoch          INTEGER NOT NULL,    -- of the credentials: what was signed in under an older one is over
	claims         TEXT    NOT NULL,    -- what else is known of the person: a JSON object
	created        INTEGER NOT NULL,
	disabled       INTEGER NOT NULL     -- when
);

CREATE INDEX account_created ON account (created, id); -- the order in which they are listed

-- Keys that sign tokens, in the order in which they begin to. They are sealed with the keyring.
CREATE TABLE account_key (
	generation  INTEGER PRIMARY KEY,
	active_from INTEGER NOT NULL,
	sealed      BLOB    NOT NULL
);

-- Accounts whose sessions are to be ended, by a gateway that has them.
CREATE TABLE account_ending (
	account TEXT    PRIMARY KEY,
	since   INTEGER NOT NULL
);
