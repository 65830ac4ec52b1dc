-- For removing old messages.
CREATE INDEX CONCURRENTLY IF NOT EXISTS messages_created ON messages (created_at);
