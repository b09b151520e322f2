-- Keys of role ingest. The table is made anew, for SQLite cannot change a check.

-- +goose Up

CREATE TABLE api_key_2 (
	id         TEXT   NOT NULL PRIMARY KEY,
	hash       TEXT   NOT NULL UNIQUE,
	prefix     TEXT   NOT NULL,
	name       TEXT   NOT NULL,
	role       TEXT   NOT NULL CHECK (role IN ('operator', 'company', 'ingest')),
	company    TEXT   NOT NULL DEFAULT '',
	created_us BIGINT NOT NULL,
	used_us    BIGINT NOT NULL DEFAULT 0,
	revoked_us BIGINT NOT NULL DEFAULT 0,
	CHECK ((role = 'operator') = (company = ''))
);
INSERT INTO api_key_2 (id, hash, prefix, name, role, company, created_us, used_us, revoked_us)
	SELECT id, hash, prefix, name, role, company, created_us, used_us, revoked_us FROM api_key;
DROP TABLE api_key;
ALTER TABLE api_key_2 RENAME TO api_key;
