//! Integration tests: the real server over HTTP, against a real PostgreSQL and the sandbox's
//! stand-ins. `make test` runs them; folders bear the names of the domains and routes they try.

mod fleet_customers;
mod platform;
mod support;
mod upstream;
