DROP INDEX IF EXISTS mailing_templates_deleted;
