-- What is turned on for whom, who acts for whom, and who has read what.

-- +goose Up

-- user_id is '' where it is set for the whole company.
CREATE TABLE experiment (
	company     TEXT   NOT NULL REFERENCES company (id),
	user_id     TEXT   NOT NULL DEFAULT '',
	key         TEXT   NOT NULL,
	enabled     BIGINT NOT NULL CHECK (enabled IN (0, 1)),
	description TEXT   NOT NULL DEFAULT '',
	set_by      TEXT   NOT NULL,
	set_us      BIGINT NOT NULL,
	PRIMARY KEY (company, user_id, key)
);
CREATE INDEX experiment_by_key ON experiment (company, key);

-- Every setting of call recording that there ever was: rows are added and never
-- changed, so that what held at any time can be told. '' is a setting taken back.
-- Within a company at_us never goes back, even where a clock does.
CREATE TABLE recording_setting (
	id          BIGINT NOT NULL PRIMARY KEY,
	company     TEXT   NOT NULL REFERENCES company (id),
	at_us       BIGINT NOT NULL,
	level       TEXT   NOT NULL CHECK (level IN ('company', 'office', 'department', 'contact_center', 'user')),
	level_id    TEXT   NOT NULL DEFAULT '',
	-- What the place or user was called then: it may be gone when one asks.
	level_name  TEXT   NOT NULL DEFAULT '',
	was         TEXT   NOT NULL DEFAULT '' CHECK (was IN ('on', 'off', '')),
	setting     TEXT   NOT NULL DEFAULT '' CHECK (setting IN ('on', 'off', '')),
	actor_kind  TEXT   NOT NULL,
	actor_id    TEXT   NOT NULL,
	actor_name  TEXT   NOT NULL,
	reason      TEXT   NOT NULL DEFAULT ''
);
CREATE INDEX recording_setting_by_level ON recording_setting (company, level, level_id, at_us, id);
CREATE INDEX recording_setting_by_time ON recording_setting (company, at_us, id);

CREATE TABLE proxy_session (
	id         TEXT   NOT NULL PRIMARY KEY,
	company    TEXT   NOT NULL,
	user_id    TEXT   NOT NULL,
	reason     TEXT   NOT NULL,
	actor_kind TEXT   NOT NULL,
	actor_id   TEXT   NOT NULL,
	actor_name TEXT   NOT NULL,
	started_us BIGINT NOT NULL,
	expires_us BIGINT NOT NULL,
	ended_us   BIGINT NOT NULL DEFAULT 0,
	FOREIGN KEY (company, user_id) REFERENCES users (company, id)
);
CREATE INDEX proxy_session_by_user ON proxy_session (company, user_id, started_us, id);
CREATE INDEX proxy_session_by_actor ON proxy_session (actor_kind, actor_id, expires_us);

-- Reads of one object by one caller within a few minutes are one row.
CREATE TABLE access_log (
	id            TEXT   NOT NULL PRIMARY KEY,
	company       TEXT   NOT NULL,
	first_us      BIGINT NOT NULL,
	last_us       BIGINT NOT NULL,
	reads         BIGINT NOT NULL,
	actor_kind    TEXT   NOT NULL,
	actor_id      TEXT   NOT NULL,
	actor_name    TEXT   NOT NULL,
	subject_kind  TEXT   NOT NULL,
	subject_id    TEXT   NOT NULL,
	-- Which part of the object: its samples, messages, report, …
	what          TEXT   NOT NULL DEFAULT ''
);
CREATE INDEX access_log_by_time ON access_log (company, first_us, id);
CREATE INDEX access_log_by_subject ON access_log (company, subject_kind, subject_id, first_us, id);
CREATE INDEX access_log_by_actor ON access_log (company, actor_id, first_us, id);
CREATE INDEX access_log_by_actor_name ON access_log (company, actor_name, first_us, id);
CREATE INDEX access_log_by_age ON access_log (first_us);
