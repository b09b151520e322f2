-- What was changed, by whom: the audit log, the notes on a user's page and the
-- feed that caches follow are one table. n is the directory_version of the
-- change, so that order and completeness are those of the writes.

-- +goose Up
CREATE TABLE journal (
	n             BIGINT NOT NULL,
	i             BIGINT NOT NULL,
	company       TEXT   NOT NULL,
	at_us         BIGINT NOT NULL,
	-- Who: a key, a session of the portal, SCIM or the program itself.
	actor_kind    TEXT   NOT NULL,
	actor_id      TEXT   NOT NULL,
	actor_name    TEXT   NOT NULL,
	-- The proxy session that it was done in, or ''.
	proxy_session TEXT   NOT NULL DEFAULT '',
	action        TEXT   NOT NULL,
	subject_kind  TEXT   NOT NULL,
	subject_id    TEXT   NOT NULL,
	-- The user on whose page this is a note, or ''.
	user_id       TEXT   NOT NULL DEFAULT '',
	text          TEXT   NOT NULL DEFAULT '',
	-- [{"field","old","new"}], or ''.
	fields        TEXT   NOT NULL DEFAULT '',
	PRIMARY KEY (n, i)
);
-- People read it by time, the newest first; who follows it reads by (n, i).
CREATE INDEX journal_by_time ON journal (company, at_us, n, i);
-- What is done to a user is found by user_id, see below.
CREATE INDEX journal_by_subject ON journal (company, subject_kind, subject_id, at_us, n, i) WHERE subject_kind <> 'user';
CREATE INDEX journal_by_action ON journal (company, action, at_us, n, i);
CREATE INDEX journal_by_actor ON journal (company, actor_id, at_us, n, i);
CREATE INDEX journal_by_actor_name ON journal (company, actor_name, at_us, n, i);
CREATE INDEX journal_by_user ON journal (company, user_id, at_us, n, i) WHERE user_id <> '';
-- What people wrote and what was done for a user are few among many changes.
CREATE INDEX journal_notes ON journal (company, at_us, n, i) WHERE action = 'user.note';
CREATE INDEX journal_proxied ON journal (company, at_us, n, i) WHERE proxy_session <> '';
