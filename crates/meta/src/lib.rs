//! Who owns what and which blocks exist: the catalogue's state machine and its durable log.
