-- What devices prove with that they may register (RFC 7616, RFC 8760). Of a
-- secret only its hashes are kept; those stand for it in digest authentication
-- and are as secret as it was.

-- +goose Up
CREATE TABLE device_credentials (
	id         TEXT   NOT NULL PRIMARY KEY,
	company    TEXT   NOT NULL,
	user_id    TEXT   NOT NULL,
	device_id  TEXT   NOT NULL,
	-- As in table aor: user@host, or user alone for any host.
	aor        TEXT   NOT NULL,
	username   TEXT   NOT NULL,
	realm      TEXT   NOT NULL,
	-- HA1 in hexadecimal: H(username ":" realm ":" secret).
	ha1_md5    TEXT   NOT NULL,
	ha1_sha256 TEXT   NOT NULL,
	created_us BIGINT NOT NULL,
	-- A revoked row stays: its address goes on asking for credentials.
	revoked_us BIGINT NOT NULL DEFAULT 0,
	FOREIGN KEY (company, user_id) REFERENCES users (company, id)
);
CREATE INDEX device_credentials_by_user ON device_credentials (company, user_id, device_id);
CREATE INDEX device_credentials_by_aor ON device_credentials (company, aor);
-- A device has one set of credentials at a time.
CREATE UNIQUE INDEX device_credentials_in_use ON device_credentials (company, user_id, device_id) WHERE revoked_us = 0;
