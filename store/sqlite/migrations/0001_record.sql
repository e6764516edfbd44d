-- Any file of another program has another number here, so that it is never mistaken for ours. "CLKR".
PRAGMA application_id = 0x434c4b52;

-- keys are all of a record's 16-byte keys in a row: what Get returns, and what to remove from record_key.
CREATE TABLE record (
	id       BLOB    NOT NULL UNIQUE CHECK (length(id) = 32),
	version  INTEGER NOT NULL,
	write_id BLOB    NOT NULL CHECK (length(write_id) = 16),
	expires  INTEGER NOT NULL, -- Unix time in milliseconds
	keys     BLOB    NOT NULL,
	meta     BLOB    NOT NULL,
	body     BLOB    NOT NULL
);

CREATE INDEX record_expires ON record (expires);

CREATE TABLE record_key (
	key BLOB NOT NULL,
	id  BLOB NOT NULL,
	PRIMARY KEY (key, id)
) WITHOUT ROWID;

-- Always empty: Ping fills and empties it to prove that the file can grow.
CREATE TABLE probe (filler BLOB NOT NULL);
