//! Random operations beside a model of what must come out.
