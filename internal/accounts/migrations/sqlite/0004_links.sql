-- Links that were mailed and not used yet.
CREATE TABLE account_link (
	hash    TEXT    PRIMARY KEY, -- of the token in it, which is nowhere
	purpose TEXT    NOT NULL,
	account TEXT    NOT NULL,    -- '' where the link is to make one
	detail  TEXT    NOT NULL,    -- what it is for: a JSON object
	expires INTEGER NOT NULL
);

CREATE INDEX account_link_expires ON account_link (expires);
CREATE INDEX account_link_account ON account_link (account);
