-- A row of the search index also says, in 64 bits, by which other words and
-- places its user is found: what two words have in common is read from the
-- rows of one, without looking at the users of all the others. It stands in the
-- key, for both engines answer from the key's index alone. Migrate fills the
-- table, as before.

-- +goose Up
DROP TABLE user_token;
CREATE TABLE user_token (
	company   TEXT   NOT NULL,
	token     BYTEA  NOT NULL,
	name_key  BYTEA  NOT NULL,
	user_id   TEXT   NOT NULL,
	signature BIGINT NOT NULL,
	PRIMARY KEY (company, token, name_key, user_id, signature)
);
