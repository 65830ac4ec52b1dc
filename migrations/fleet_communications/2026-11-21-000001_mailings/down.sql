DROP TABLE mailing_recipients;
DROP TABLE mailing_chunks;
DROP TABLE mailings;
DROP TABLE mailing_templates;
DROP TYPE mailing_status;
DROP TYPE driver_status;
