-- Who had a number from when until when, and what numbers are searched by.

-- +goose Up
CREATE TABLE number_history (
	company    TEXT   NOT NULL,
	number     TEXT   NOT NULL,
	from_us    BIGINT NOT NULL,
	-- 0: still. The rows of a number follow one another without gap or overlap
	-- for as long as the company has it.
	until_us   BIGINT NOT NULL DEFAULT 0,
	status     TEXT   NOT NULL,
	owner_kind TEXT   NOT NULL DEFAULT '',
	owner_id   TEXT   NOT NULL DEFAULT '',
	-- As it was called then: a place may be gone now.
	owner_name TEXT   NOT NULL DEFAULT '',
	actor_kind TEXT   NOT NULL DEFAULT '',
	actor_id   TEXT   NOT NULL DEFAULT '',
	actor_name TEXT   NOT NULL DEFAULT '',
	reason     TEXT   NOT NULL DEFAULT '',
	PRIMARY KEY (company, number, from_us)
);
-- A number is in one state at a time.
CREATE UNIQUE INDEX number_history_open ON number_history (company, number) WHERE until_us = 0;

-- Before its last change nothing is known of a number that is there already.
INSERT INTO number_history (company, number, from_us, status, owner_kind, owner_id, owner_name)
	SELECT n.company, n.number, n.updated_us, n.status, n.owner_kind, n.owner_id,
		COALESCE((SELECT u.name FROM users u WHERE n.owner_kind = 'user' AND u.company = n.company AND u.id = n.owner_id),
		         (SELECT p.name FROM place p WHERE p.company = n.company AND p.kind = n.owner_kind AND p.id = n.owner_id), '')
	FROM number n;

-- The digits of number from the last to the first: what ends alike lies together.
ALTER TABLE number ADD COLUMN reversed TEXT NOT NULL DEFAULT '';
UPDATE number SET reversed = substr(number, 16, 1) || substr(number, 15, 1) || substr(number, 14, 1) || substr(number, 13, 1) || substr(number, 12, 1)
	|| substr(number, 11, 1) || substr(number, 10, 1) || substr(number, 9, 1) || substr(number, 8, 1) || substr(number, 7, 1)
	|| substr(number, 6, 1) || substr(number, 5, 1) || substr(number, 4, 1) || substr(number, 3, 1) || substr(number, 2, 1);

-- The office of the owner, or '': a copy, so that an office's numbers are one range.
ALTER TABLE number ADD COLUMN office_id TEXT NOT NULL DEFAULT '';
UPDATE number SET office_id = COALESCE(
	(SELECT u.office_id FROM users u WHERE number.owner_kind = 'user' AND u.company = number.company AND u.id = number.owner_id),
	(SELECT CASE p.kind WHEN 'office' THEN p.id ELSE p.office_id END FROM place p WHERE p.company = number.company AND p.kind = number.owner_kind AND p.id = number.owner_id), '');

-- A search reads a range of one of these, in its order, for each status and type
-- that may be in the answer: there are few of both, and so no search reads more
-- than a page of each, however rare what it looks for is.
DROP INDEX number_by_national;
CREATE INDEX number_by_number ON number (company, status, type, number);
CREATE INDEX number_by_national ON number (company, status, type, national, number);
CREATE INDEX number_by_prefix ON number (company, status, type, prefix, number);
CREATE INDEX number_by_end ON number (company, status, type, reversed, number);
DROP INDEX number_by_owner;
CREATE INDEX number_by_owner ON number (company, owner_kind, owner_id, number);
-- With all that a search compares: an office has thousands.
CREATE INDEX number_by_office ON number (company, office_id, number, national, prefix, status, type);
