//! Keeps the head, acknowledges what is durable, answers queries on recent data and ships finished windows as blocks.
