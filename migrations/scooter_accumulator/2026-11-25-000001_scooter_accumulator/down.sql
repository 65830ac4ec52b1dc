DROP TABLE applied_events, accumulator_moves, commands, booking_cells, bookings, accumulators, cells,
    cabinets;
DROP FUNCTION distance_m;
DROP TYPE move_kind, command_status, booking_status, booking_kind, cell_state;
