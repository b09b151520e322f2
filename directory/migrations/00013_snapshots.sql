-- Calls as they were at a moment, for tickets that outlive what the store keeps.

-- +goose Up

CREATE TABLE snapshot (
	-- The link: 130 bits that nobody guesses.
	id         TEXT   NOT NULL PRIMARY KEY,
	company    TEXT   NOT NULL REFERENCES company (id),
	call_id    TEXT   NOT NULL,
	-- Of what was frozen: an unchanged call is frozen once.
	digest     TEXT   NOT NULL,
	note       TEXT   NOT NULL,
	created_us BIGINT NOT NULL,
	actor_kind TEXT   NOT NULL,
	actor_id   TEXT   NOT NULL,
	actor_name TEXT   NOT NULL,
	-- Length of content.
	bytes      BIGINT NOT NULL,
	-- Whoever froze it wrote JSON; this is it in zstd. BYTEA is PostgreSQL's name;
	-- SQLite takes it too. It stands last: lists do not read over it.
	content    BYTEA  NOT NULL
);
CREATE UNIQUE INDEX snapshot_once ON snapshot (company, call_id, digest);
CREATE INDEX snapshot_by_time ON snapshot (company, created_us, id);
CREATE INDEX snapshot_by_call ON snapshot (company, call_id, created_us, id);

-- Users who are named in a snapshot.
CREATE TABLE snapshot_user (
	company  TEXT NOT NULL,
	user_id  TEXT NOT NULL,
	snapshot TEXT NOT NULL REFERENCES snapshot (id),
	PRIMARY KEY (company, user_id, snapshot)
);
CREATE INDEX snapshot_user_by_snapshot ON snapshot_user (snapshot);

-- Users whose telemetry is to be erased from the store. A row stays as long as
-- something of the time before may still come, and is then what was done.
CREATE TABLE erasure (
	company      TEXT   NOT NULL REFERENCES company (id),
	user_id      TEXT   NOT NULL,
	reason       TEXT   NOT NULL,
	-- What was measured up to here is erased.
	requested_us BIGINT NOT NULL,
	actor_kind   TEXT   NOT NULL,
	actor_id     TEXT   NOT NULL,
	actor_name   TEXT   NOT NULL,
	-- 0: not yet.
	done_us      BIGINT NOT NULL DEFAULT 0,
	-- The last time that it was looked for, with or without success.
	looked_us    BIGINT NOT NULL DEFAULT 0,
	last_error   TEXT   NOT NULL DEFAULT '',
	calls        BIGINT NOT NULL DEFAULT 0,
	snapshots    BIGINT NOT NULL DEFAULT 0,
	PRIMARY KEY (company, user_id)
);
