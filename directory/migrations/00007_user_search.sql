-- Users are searched by their words. user_token is an inverted index: a row per
-- word of a user, and per place and state that a list is narrowed by. Tokens and
-- sort keys are bytes, for text compares as the database's collation likes it:
-- a range over bytes means the same on both engines. BYTEA is PostgreSQL's name;
-- SQLite takes it too and stores what it is given.
-- SQL cannot take words apart: Migrate fills the table afterwards, where the
-- version in user_search is behind the program's.

-- +goose Up
ALTER TABLE users ADD COLUMN voicemail_greeting TEXT NOT NULL DEFAULT '';
-- The folded name: what lists are ordered by.
ALTER TABLE users ADD COLUMN name_key BYTEA NOT NULL DEFAULT '';
CREATE INDEX users_by_name_key ON users (company, name_key, id);
DROP INDEX users_by_name;

CREATE TABLE user_token (
	company  TEXT  NOT NULL,
	token    BYTEA NOT NULL,
	name_key BYTEA NOT NULL,
	user_id  TEXT  NOT NULL,
	PRIMARY KEY (company, token, name_key, user_id)
);

CREATE TABLE user_search (
	version BIGINT NOT NULL
);
INSERT INTO user_search (version) VALUES (0);

-- What an identity provider calls a user (SCIM 2.0), for users that one brought.
CREATE TABLE scim_user (
	company     TEXT NOT NULL,
	user_id     TEXT NOT NULL,
	-- In lower case, for it compares without regard to case (RFC 7643 §4.1.1).
	user_name   TEXT NOT NULL,
	-- As the provider wrote it.
	shown_name  TEXT NOT NULL,
	external_id TEXT NOT NULL DEFAULT '',
	given_name  TEXT NOT NULL DEFAULT '',
	family_name TEXT NOT NULL DEFAULT '',
	PRIMARY KEY (company, user_id),
	FOREIGN KEY (company, user_id) REFERENCES users (company, id)
);
CREATE UNIQUE INDEX scim_user_by_name ON scim_user (company, user_name);
CREATE INDEX scim_user_by_external_id ON scim_user (company, external_id) WHERE external_id <> '';
