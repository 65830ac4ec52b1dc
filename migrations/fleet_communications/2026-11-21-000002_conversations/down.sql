DROP TABLE events;
DROP TABLE messages;
DROP TABLE conversations;
DROP TABLE park_streams;
