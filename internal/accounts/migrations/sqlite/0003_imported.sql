-- What an account was made from by an import, by a hash: the same again is no other person. NULL for those who registered.
ALTER TABLE account ADD COLUMN imported BLOB;
