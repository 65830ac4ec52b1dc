DROP TABLE recurring_routes;
DROP TABLE favourite_locations;
DROP TABLE customers;
DROP TABLE parks;
