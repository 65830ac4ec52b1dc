DROP FUNCTION tombstone_of(bytea);
DROP TABLE tombstones;
DROP TABLE erasure_names;
DROP TABLE erasure_subjects;
DROP TABLE erasures;
