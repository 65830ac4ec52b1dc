DROP FUNCTION line_end;
DROP TABLE schedules;
DROP TABLE tasks;
