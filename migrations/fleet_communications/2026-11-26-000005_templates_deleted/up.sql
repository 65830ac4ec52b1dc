-- For removing templates that were deleted long ago.
CREATE INDEX CONCURRENTLY IF NOT EXISTS mailing_templates_deleted ON mailing_templates (deleted_at)
    WHERE deleted_at IS NOT NULL;
