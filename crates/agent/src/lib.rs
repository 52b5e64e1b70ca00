//! Stateless intake: discovers and scrapes targets, receives remote write and OTLP, hands samples on.
