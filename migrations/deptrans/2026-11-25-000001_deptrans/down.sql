DROP TABLE krt_outages, krt_pace, krt_token, dead_letters, status_queue, session_status_history,
    session_statuses, profiles, feeds;
DROP TYPE session_status, driver_status;
